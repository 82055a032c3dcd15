"""Files that engines make in /dev/shm and, killed hard, leave there: gigabytes of main memory.

A file is known by name and inode, and belongs to a server when its processes map it, it was not
there before the server was started, and its name is of a kind that engines make (a model's weights
that somebody keeps in /dev/shm are mapped too, and are never touched). Semaphores must be found by
inode: /proc/PID/maps shows them under the name of the draft that they were linked from.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from natix_miner.serving import procfs

FOLDER = Path("/dev/shm")
#: Of Python's shared memory and semaphores, vLLM, torch, NCCL, CUDA and OpenMP.
KINDS = ("psm_", "sem.", "vllm", "torch_", "nccl-", "cuda.shm.", "__KMP_REGISTERED_LIB_")

#: Name to inode.
Files = Mapping[str, int]


def present() -> dict[str, int]:
    """All files of the kinds that engines make."""
    found = {}
    try:
        entries = list(os.scandir(FOLDER))
    except OSError:
        return {}  # no shared memory here, or none that we may see: none to clean
    for entry in entries:
        if entry.name.startswith(KINDS):
            try:
                if entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.inode()
            except FileNotFoundError:
                continue  # gone while we looked
    return found


def mapped_by(pids: Iterable[int]) -> dict[str, int]:
    """Those of them that at least one of these processes maps."""
    files = present()
    if not files:
        return {}
    device = FOLDER.stat().st_dev
    mapped: set[int] = set()
    for pid in pids:
        mapped |= procfs.mapped_inodes(pid, device)
    return {name: inode for name, inode in files.items() if inode in mapped}


def unlink_unused(files: Files) -> list[str]:
    """Unlink those that still are what they were and that no living process maps; their names."""
    left = {name for name, inode in present().items() if files.get(name) == inode}
    if not left:
        return []
    in_use = mapped_by(process.id.pid for process in procfs.all_processes() if process.lives)
    gone = []
    for name in sorted(left - in_use.keys()):
        try:
            found = os.stat(FOLDER / name, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_ino == files[name]:
                os.unlink(FOLDER / name)
                gone.append(name)
        except (FileNotFoundError, PermissionError):
            continue  # taken away by somebody else, or theirs
    return gone
