"""What must be known to clean up after a server when everything that knew it has been killed.

One small JSON file a server in the servers' folder, named by server and miner, so that two miners
may share the folder: the miner, the server's processes and its files in shared memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from natix_miner.atomic import write_whole
from natix_miner.serving.mark import Mark
from natix_miner.serving.procfs import ProcessId

_SUFFIX = ".record.json"


@dataclass(frozen=True, slots=True)
class Record:
    """`shared_memory` maps names in /dev/shm to inodes."""

    mark: Mark
    processes: tuple[ProcessId, ...]
    shared_memory: dict[str, int]


class RecordFile:
    """The record of one server. Writing replaces the file as a whole; a disk that does not take it
    costs a warning (then only a killed warden leaves something that nobody finds)."""

    def __init__(self, folder: Path, mark: Mark) -> None:
        owner = mark.owner.process
        self.path = folder / f"{mark.server}.{owner.pid}-{owner.started}{_SUFFIX}"
        self._written: Record | None = None

    def write(self, record: Record) -> None:
        """Keep what is known now; does nothing when it is what was written last."""
        if record == self._written:
            return
        text = json.dumps(
            {
                "mark": str(record.mark),
                "processes": [[process.pid, process.started] for process in record.processes],
                "shared_memory": record.shared_memory,
            }
        )
        try:
            write_whole(self.path, text)
        except OSError as error:
            logger.warning("cannot keep the record {}: {}", self.path, error.strerror)
            return
        self._written = record

    def remove(self) -> None:
        """Nothing is left to clean."""
        self._written = None
        self.path.unlink(missing_ok=True)


def records_in(folder: Path) -> Iterator[tuple[Path, Record]]:
    """All records of a folder; those that cannot be read are named in the log and left alone."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            yield path, _parse(path.read_text())
        except FileNotFoundError:
            continue  # its miner has just stopped
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("{} is no record of a server ({!r}); delete it", path, error)


def _parse(text: str) -> Record:
    read = json.loads(text)
    mark = Mark.parse(read["mark"])
    if mark is None:
        raise ValueError(f"mark {read['mark']!r}")
    return Record(
        mark=mark,
        processes=tuple(ProcessId(int(pid), int(started)) for pid, started in read["processes"]),
        shared_memory={str(name): int(inode) for name, inode in read["shared_memory"].items()},
    )
