"""The folder of logs and records, which two miners may share."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from natix_miner.errors import ServingError
from natix_miner.serving.process import LogFile

_MOST_MINERS = 64


class ServersFolder:
    """A place of our own in the folder: the first miner there logs to NAME.log, a second one beside
    it to NAME-2.log. Raises ServingError when it cannot be written."""

    def __init__(self, path: Path, log_bytes: int, log_files: int) -> None:
        self.path = path
        self._log_bytes = log_bytes
        self._log_files = log_files
        self._lock = -1
        self._suffix = ""

    def open(self) -> None:
        """Make the folder and take the first free place; it is given back by `close`, or by the
        kernel when we are killed."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for number in range(1, _MOST_MINERS + 1):
                self._lock = os.open(self.path / f".miner-{number}", os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.close()
                    continue
                self._suffix = "" if number == 1 else f"-{number}"
                return
        except OSError as error:
            raise ServingError(
                f"the servers' folder {self.path} cannot be used: {error.strerror}; correct "
                "`serving.folder`"
            ) from error
        raise ServingError(f"{_MOST_MINERS} miners share {self.path}; choose another folder")

    def log(self, server: str) -> LogFile:
        """Where a server of ours logs to."""
        path = self.path / f"{server}{self._suffix}.log"
        return LogFile(path, self._log_bytes, self._log_files)

    def close(self) -> None:
        """Leave the place to others; may be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
