"""Who holds a port or a file, by /proc; as far as this user may look."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from natix_miner.serving import procfs

_LISTENS = "0A"
_WORDS = 120


def listeners_of(port: int) -> list[str]:
    """The processes that listen on a TCP port, as "pid 12 (command line)"; empty where nobody does
    or where they are not ours to see."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port)}
    return _named(lambda target: target in wanted) if wanted else []


def users_of(path: Path) -> list[str]:
    """The other processes that have a file open."""
    wanted = str(path.resolve())
    return _named(lambda target: target == wanted, but=os.getpid())


def _inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _named(held: Callable[[str], bool], but: int | None = None) -> list[str]:
    found = []
    for process in procfs.all_processes():
        pid = process.id.pid
        if pid != but and any(held(target) for target in _targets(pid)):
            found.append(f"pid {pid} ({_command(pid)})")
    return found


def _targets(pid: int) -> Iterator[str]:
    folder = Path("/proc", str(pid), "fd")
    try:
        names = os.listdir(folder)
    except OSError:  # another user's, or gone
        return
    for name in names:
        try:
            yield os.readlink(folder / name)
        except OSError:  # closed meanwhile
            continue


def _command(pid: int) -> str:
    try:
        words = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    line = " ".join(word.decode(errors="replace") for word in words if word)
    return line if len(line) <= _WORDS else line[: _WORDS - 1] + "…"
