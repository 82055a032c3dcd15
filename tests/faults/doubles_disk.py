"""A disk that can be full, and another process that locks a journal."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10.0)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
connection.close()
"""


class SmallDisk:
    """A folder with room for so many bytes: a tmpfs of that size where mounting is allowed, else a
    limit on the size of every file that this process writes (`way` says which)."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.way = "tmpfs"
        self._size = size
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder)]
        try:
            mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            mounted = False
        if not mounted:
            self.way = "file-size-limit"
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._limits[1]))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.way == "tmpfs":
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    @property
    def loss(self) -> str:
        """How the journal calls it: too large a file is an I/O error to SQLite, not a full disk."""
        return "disk-full" if self.way == "tmpfs" else "io-error"

    def make_room(self, size: int = 64 * 2**20) -> None:
        """Let there be room again."""
        if self.way == "tmpfs":
            options = f"remount,size={size}"
            subprocess.run(["mount", "-o", options, str(self.folder)], check=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@contextmanager
def locked_elsewhere(journal: Path) -> Iterator[None]:
    """While the block lasts another process holds SQLite's lock for writing."""
    command = [sys.executable, "-I", "-S", "-c", _LOCK, str(journal)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        said = holder.stdout.readline().strip()
        if said != "held":
            raise RuntimeError(f"the journal could not be locked: {said!r}")
        try:
            yield
        finally:
            holder.stdin.close()
            holder.wait(20.0)
