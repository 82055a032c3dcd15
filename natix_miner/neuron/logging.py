"""Logs: short lines on the terminal, whole traces as JSON lines in a rotated file.

Neither a key nor a picture nor a header of a sender ever goes into a log.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

_TERMINAL = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> {message}"
_ROTATE_BYTES = 50_000_000
_KEEP_FILES = 10


class _ToLoguru(logging.Handler):
    """Hands records of the standard library's loggers to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        known = {"CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"}
        level: str | int = record.levelname if record.levelname in known else record.levelno
        bound = logger.opt(depth=6, exception=record.exc_info).bind(source=record.name)
        bound.log(level, "{}: {}", record.name, record.getMessage())


def intercept(name: str, level: int = logging.WARNING) -> None:
    """Send one stdlib logger (and those below it) to loguru from `level` on, and nowhere else."""
    target = logging.getLogger(name)
    target.handlers = [_ToLoguru()]
    target.propagate = False
    target.setLevel(level)


def set_up_logs(level: str, file: Path | None) -> None:
    """Configure loguru for the miner process.

    `file` gets every record of at least DEBUG as one JSON object a line: time, level, message and,
    for an answered query, its trace. It is rotated at 50 MB, ten files are kept.
    """
    logger.remove()
    logger.add(sys.stderr, level=level.upper(), format=_TERMINAL, backtrace=False, diagnose=False)
    if file is not None:
        logger.add(
            file,
            level="DEBUG",
            format=_json_line,
            rotation=_ROTATE_BYTES,
            retention=_KEEP_FILES,
            backtrace=False,
            diagnose=False,
        )
    for name in ("uvicorn.error", "asyncio"):
        intercept(name, logging.ERROR)


def _json_line(record: Record) -> str:
    document: dict[str, Any] = {
        "time": record["time"].isoformat(),
        "level": record["level"].name,
        "message": record["message"],
    }
    document |= {name: value for name, value in record["extra"].items() if name != "json"}
    if record["exception"] is not None:
        document["exception"] = repr(record["exception"].value)
    record["extra"]["json"] = json.dumps(document, default=str)
    return "{extra[json]}\n"
