"""The rotated log file, and what happens when it cannot be written."""

from __future__ import annotations

import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

ROTATE_BYTES = 50_000_000
KEEP_FILES = 10
_TELL_SECONDS = 60.0


class LogFile(RotatingFileHandler):
    """Appends lines that come with their own end; rotates to `NAME.1`, `NAME.2` and so on.

    A line that cannot be written (a full disk) is lost and counted; standard error says so at most
    once a minute, where the standard handler would print a traceback for each.
    Raises OSError when the file cannot be opened.
    """

    terminator = ""

    def __init__(self, file: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(file, maxBytes=rotate_bytes, backupCount=KEEP_FILES, encoding="utf-8")
        self.lost = 0
        self._told_at: float | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The line as it was made: nothing is added to it, no traceback either."""
        return record.getMessage()

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a lost line."""
        self.lost += 1
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            error = sys.exc_info()[1]
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            print(
                f"log file {self.baseFilename} cannot be written ({why}): {self.lost} lines lost",
                file=sys.stderr,
            )
