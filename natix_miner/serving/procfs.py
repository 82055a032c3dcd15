"""What Linux tells about processes under /proc; whatever has just ended is simply not there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process and no later one of the same number: `started` is in clock ticks since boot."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class ProcessState:
    """`state` is the kernel's letter (Z: ended, not yet collected by its parent)."""

    id: ProcessId
    state: str
    parent: int
    session: int

    @property
    def lives(self) -> bool:
        """False for a zombie."""
        return self.state != "Z"


def state_of(pid: int) -> ProcessState | None:
    """A process by number, None when there is none (proc(5), /proc/PID/stat)."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command in brackets may hold anything; what follows the last bracket does not.
    fields = stat.rpartition(")")[2].split()
    return ProcessState(
        id=ProcessId(pid, int(fields[19])),
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
    )


def all_processes() -> Iterator[ProcessState]:
    """Every process that we can see."""
    for entry in os.listdir(_PROC):
        if entry.isdigit() and (found := state_of(int(entry))):
            yield found


def lives(process: ProcessId) -> bool:
    """Whether exactly this process still runs."""
    found = state_of(process.pid)
    return found is not None and found.id == process and found.lives


def below(root: int) -> list[ProcessState]:
    """All living descendants of a process."""
    everybody = list(all_processes())
    known, layer = [], {root}
    while layer:
        children = [process for process in everybody if process.parent in layer]
        known += children
        layer = {process.id.pid for process in children}
    return [process for process in known if process.lives]


def environment_value(pid: int, name: str) -> str | None:
    """A variable from the environment that a process was started with; None where it is not set,
    or not ours to read."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    prefix = f"{name}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def mapped_inodes(pid: int, device: int) -> set[int]:
    """Inodes of the files of one device that a process has mapped; empty where we may not look."""
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}"
    found = set()
    try:
        with (_PROC / str(pid) / "maps").open() as maps:
            for line in maps:
                fields = line.split(None, 5)
                if fields[3] == wanted:
                    found.add(int(fields[4]))
    except OSError:
        pass  # ended meanwhile, or another user's
    return found


def namespace() -> str:
    """The namespace that our process ids belong to; those of another say nothing here."""
    return os.readlink(_PROC / "self" / "ns" / "pid")


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it has ended, or is not ours to signal."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not lives(process):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(handle)
