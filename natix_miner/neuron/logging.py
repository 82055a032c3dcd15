"""Logs: short lines on the terminal, whole traces as JSON lines in a rotated file.

Neither a key nor a picture nor a header of a sender ever goes into a log. Whatever a message holds
all the same, the terminal gets no control characters, and known secrets are hidden (`hiding.py`).
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger

from natix_miner.neuron.hiding import Hiding, one_line
from natix_miner.neuron.log_file import LogFile

if TYPE_CHECKING:
    from loguru import Record

_TERMINAL = "<dim>{time:HH:mm:ss}</dim> <level>{level: <7}</level> {extra[_line]}\n{extra[_fault]}"
#: What the formats below put into a record for themselves.
_OWN = {"_line", "_fault", "_json"}
#: Characters of one message, of the text of one exception, and lines of its traceback.
_MOST_MESSAGE, _MOST_FAULT, _MOST_LINES = 2000, 500, 60

_hiding = Hiding()


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


def hide_in_logs(secrets: Iterable[str]) -> None:
    """Replace these in everything that is logged from now on."""
    _hiding.also(secrets)


def set_up_logs(level: str, file: Path | None) -> None:
    """Configure loguru for the miner process.

    The terminal gets colours when it is one. `file` gets every record of at least DEBUG as one JSON
    object a line: time, level, message and, for an answered query, its trace. It is rotated at
    50 MB, ten files are kept.

    Raises OSError when the file cannot be opened.
    """
    logger.remove()
    logger.add(
        sys.stderr,
        level=level.upper(),
        format=_terminal_line,
        colorize=sys.stderr.isatty(),
        backtrace=False,
        diagnose=False,
    )
    if file is not None:
        logger.add(LogFile(file), level="DEBUG", format=_json_line, backtrace=False, diagnose=False)
    for name in ("uvicorn.error", "asyncio"):
        intercept(name, logging.ERROR)
    # Libraries that nobody asked about: what they warn of would else be printed as it is.
    intercept("", logging.WARNING)


def _terminal_line(record: Record) -> str:
    record["extra"]["_line"] = one_line(_hiding.clean(record["message"]), _MOST_MESSAGE)
    record["extra"]["_fault"] = _traceback(record)
    return _TERMINAL


def _traceback(record: Record) -> str:
    """The traceback, set off so that no line of it can pass for a line of the log."""
    fault = record["exception"]
    if fault is None or fault.value is None:
        return ""
    told = traceback.TracebackException(
        type(fault.value), fault.value, fault.traceback, max_group_width=3, max_group_depth=3
    )
    lines = [line for part in told.format() for line in part.rstrip("\n").split("\n")]
    shown = (one_line(_hiding.clean(line), _MOST_FAULT) for line in lines[-_MOST_LINES:])
    return "".join(f"         | {line}\n" for line in shown)


def _json_line(record: Record) -> str:
    document: dict[str, Any] = {
        "time": record["time"].isoformat(),
        "level": record["level"].name,
        "message": record["message"][:_MOST_MESSAGE],
    }
    document |= {name: value for name, value in record["extra"].items() if name not in _OWN}
    fault = record["exception"]
    if fault is not None:
        # Not its repr: that of a UnicodeDecodeError holds all the bytes.
        document["exception"] = f"{type(fault.value).__name__}: {fault.value}"[:_MOST_FAULT]
    record["extra"]["_json"] = _hiding.clean(json.dumps(document, default=str))
    return "{extra[_json]}\n"
