"""Where snapshots of the chain come from, and the one of them that is a file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from natix_miner.errors import SnapshotError
from natix_miner.neuron.snapshot import ChainSnapshot, read_snapshot


class SnapshotSource(Protocol):
    """Where snapshots come from."""

    def fetch(self) -> ChainSnapshot | None:
        """The present snapshot, or None when nothing has changed. Bounded in time.

        Raises ChainError for everything that can go wrong.
        """
        ...

    def describe(self) -> str:
        """The source in words."""
        ...


class FileSource:
    """A JSON file about one subnet, read again whenever it changes."""

    def __init__(self, path: Path, netuid: int) -> None:
        self._path = path
        self._netuid = netuid
        self._seen: tuple[int, int, int] | None = None

    def fetch(self) -> ChainSnapshot | None:
        """The file's snapshot when it is not the one that was read last."""
        try:
            stat = self._path.stat()
        except OSError as error:
            self._seen = None
            raise SnapshotError(
                f"chain snapshot {self._path} cannot be read ({error.strerror}); put it back"
            ) from error
        mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if mark == self._seen:
            return None
        snapshot = read_snapshot(self._path)
        if snapshot.netuid != self._netuid:
            raise SnapshotError(
                f"chain snapshot {self._path} is of subnet {snapshot.netuid}, not {self._netuid};"
                " give the file of this subnet or another --netuid"
            )
        self._seen = mark
        return snapshot

    def describe(self) -> str:
        """The path."""
        return f"file {self._path}"
