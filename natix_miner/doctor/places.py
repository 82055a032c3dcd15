"""Files that the miner writes: is there room, and may it write there?"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from natix_miner.doctor.row import Finding, fail, ok, skipped, warn, worst_of

#: Below so many free bytes nothing is safe; the log alone takes half of it.
LEAST_BYTES = 1e9


def check_disk(
    places: Mapping[str, tuple[Path, float]],
    usage: Callable[[Path], Any] = shutil.disk_usage,
) -> Finding:
    """Is there room? `places` are paths by what lies there, each with the bytes that it may still
    grow by; those on one file system are added up."""
    by_device: dict[int, tuple[Path, list[str], float]] = {}
    for what, (path, growth) in places.items():
        there = nearest(path)
        device = there.stat().st_dev
        first, names, sum_ = by_device.get(device, (there, [], 0.0))
        by_device[device] = (first, [*names, what], sum_ + growth)
    return worst_of(
        _room(usage(there).free, names, growth, there)
        for there, names, growth in by_device.values()
    )


def _room(free: float, names: list[str], growth: float, there: Path) -> Finding:
    told = f"{free / 1e9:.1f} GB free for {', '.join(names)} ({there})"
    if free < LEAST_BYTES:
        return fail(told, f"make room on the file system of {there}")
    if free < growth + LEAST_BYTES:
        return warn(
            f"{told}; they may grow by {growth / 1e9:.1f} GB",
            "make room, or lower keep_gigabytes and keep_days of the profile's journal",
        )
    return ok(told)


def check_writable_file(path: Path | None, option: str) -> Finding:
    """Could this file be written? Opens it for appending, or tries its folder; leaves nothing."""
    if path is None:
        return skipped("none is written")
    why = why_not_writable(path)
    if why:
        return fail(f"{path}: {why}", remedy_of(path, option))
    return ok(f"{path} can be written")


def check_writable_folder(path: Path, option: str) -> Finding:
    """Could files be made in this folder?"""
    why = why_not_folder(path)
    if why:
        return fail(f"{path}: {why}", remedy_of(path, option))
    return ok(f"{path} can be written")


def why_not_writable(path: Path) -> str:
    """Why a file cannot be written, empty when it can: by its mode (root is not held by it, the
    user of the miner is), and by trying."""
    if not path.exists():
        return why_not_folder(path.parent)
    if not path.is_file():
        return "is no file"
    if marked := _marked(path):
        return marked
    try:
        with path.open("ab"):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def remedy_of(path: Path, option: str) -> str:
    """What to do so that it could be written."""
    there = nearest(path)
    if there != path.absolute() and not there.is_dir():
        return f"give another {option}: {there} is a file"
    return (
        f"chmod u+w {there} and see that it belongs to the miner's user (mount and lsattr tell the"
        f" rest), or give another {option}"
    )


def nearest(path: Path) -> Path:
    """The path itself, or the nearest thing above it that exists."""
    path = path.expanduser().absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def why_not_folder(folder: Path) -> str:
    """Why no file can be made in a folder, empty when one can: tries it."""
    there = nearest(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    if marked := _marked(there):
        return marked
    try:
        with tempfile.TemporaryFile(dir=there) as trial:
            trial.write(bytes(4096))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        return f"{there}: {error.strerror or error}"
    return ""


def _marked(path: Path) -> str:
    """Said where nobody at all has the right to write; root would be let through all the same."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o222:
        return f"{path} is read-only (mode {mode:o}: nobody may write)"
    return "" if os.access(path, os.W_OK) else f"{path} is read-only for this user (mode {mode:o})"
