"""Processes and shared memory that outlived the miner they belong to, found and taken away.

The warden of a server ends it when the miner dies. Should the warden be killed too, its processes
are found by their mark (see `mark`), by the server's record, or by sharing a session with one that
was found so; each engine has a session of its own. Only what belongs to a miner that is known to
be dead is touched: never another living miner's, nor that of a miner in another container.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from natix_miner.serving import procfs, shared_memory
from natix_miner.serving.mark import Mark
from natix_miner.serving.procfs import ProcessId
from natix_miner.serving.record import records_in

#: How long a SIGKILL may take; a driver that hangs can hold a process for ever.
DYING_SECONDS = 10.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How much was left: processes, and files in shared memory."""

    processes: int = 0
    files: int = 0


def clean(folder: Path) -> Cleaned:
    """Kill what dead miners left running, and unlink the shared memory in the records they left in
    this folder. Blocks, up to DYING_SECONDS when something does not die."""
    records = [(path, record) for path, record in records_in(folder) if record.mark.owner.is_dead]
    recorded = [process for _, record in records for process in record.processes]
    killed = kill(lambda mark: mark.owner.is_dead, recorded)
    files: list[str] = []
    for path, record in records:
        files += shared_memory.unlink_unused(record.shared_memory)
        path.unlink(missing_ok=True)
    if killed or files:
        logger.warning(
            "cleaned up after a killed miner: {} server processes, {} files in shared memory",
            len(killed),
            len(files),
        )
    return Cleaned(len(killed), len(files))


def kill(
    is_ours: Callable[[Mark], bool], recorded: Iterable[ProcessId] = ()
) -> frozenset[ProcessId]:
    """SIGKILL for all processes whose mark is ours or that were recorded, and for those in their
    sessions, until none is left. What was killed. Blocks."""
    recorded = tuple(recorded)
    killed: set[ProcessId] = set()
    patience = time.monotonic() + DYING_SECONDS
    while found := _found(is_ours, recorded):
        for process in found:
            if procfs.send(process, signal.SIGKILL):
                killed.add(process)
        if time.monotonic() >= patience:
            pids = [process.pid for process in found]
            logger.error("server processes {} do not die of SIGKILL; they are left behind", pids)
            break
        time.sleep(_LOOK_SECONDS)
    return frozenset(killed)


def _found(is_ours: Callable[[Mark], bool], recorded: tuple[ProcessId, ...]) -> list[ProcessId]:
    here = os.getsid(0)
    others = [
        process
        for process in procfs.all_processes()
        if process.lives and process.session not in (0, here)
    ]
    known = {
        process
        for process in others
        if process.id in recorded
        or ((mark := Mark.of(process.id.pid)) is not None and is_ours(mark))
    }
    sessions = {process.session for process in known}
    return [process.id for process in others if process.session in sessions]
