"""Fetching a checkpoint: nothing that runs code unless it was allowed, everything checked."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from natix_miner.catalogue.catalogue import Entry
from natix_miner.catalogue.hub import Hub, RemoteFile, Snapshot
from natix_miner.catalogue.manifest import (
    FetchedFile,
    Manifest,
    git_blob_sha1_of,
    read_manifest,
    sha256_of,
    write_manifest,
)
from natix_miner.catalogue.resolve import CONFIGURATION
from natix_miner.errors import CatalogueError

#: Unpickling runs whatever the file says.
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib", "*.npy", "*.npz")
CODE = ("*.py", "*.so", "*.sh")
WEIGHTS = ("*.safetensors",)
#: What configurations, tokenizers and terms of use are made of.
REST = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.md", "LICENSE*", "NOTICE*")

#: Told after each file: which, and whether it had to be fetched.
OnFile = Callable[[RemoteFile, bool], None]


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the user has allowed: pickles; remote code, by key; licences, by name."""

    pickles: bool = False
    remote_code: frozenset[str] = frozenset()
    licences: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Choice:
    """Of the files of a snapshot, those that are fetched and those that are not."""

    wanted: tuple[RemoteFile, ...]
    left_out: tuple[str, ...]


def fetch(
    entry: Entry,
    into: Path,
    hub: Hub,
    permissions: Permissions = Permissions(),
    *,
    revision: str | None = None,
    on_choice: Callable[[Choice], None] | None = None,
    on_file: OnFile | None = None,
) -> Manifest:
    """Put a checkpoint into `into`/KEY, at `revision` or the catalogue's pin, and list it there.

    Files that are there and right are not fetched again. Raises CatalogueError: not allowed, not to
    be had, too large for the disk, or not what the hub says it is (then the file is removed).
    """
    refuse_unpermitted(entry, permissions)
    folder = into / entry.key
    repository, wanted = entry.checkpoint.repository, revision or entry.checkpoint.revision
    snapshot = hub.snapshot(repository, wanted)
    _refuse_other_commit(entry, folder, snapshot, wanted)
    choice = choose(entry, snapshot, permissions)
    if on_choice is not None:
        on_choice(choice)
    folder.mkdir(parents=True, exist_ok=True)
    missing = {file.path for file in choice.wanted if not is_right(folder / file.path, file)}
    _refuse_full_disk(folder, choice, missing)
    for file in choice.wanted:
        if file.path in missing:
            # A wrong file in the way would be taken for what was fetched earlier.
            (folder / file.path).unlink(missing_ok=True)
            hub.download(repository, snapshot.commit, file.path, folder)
            _refuse_wrong_content(folder / file.path, file)
        if on_file is not None:
            on_file(file, file.path in missing)
    manifest = Manifest(
        key=entry.key,
        repository=repository,
        revision=snapshot.commit,
        pinned=wanted is not None,
        files={file.path: _recorded(folder / file.path) for file in choice.wanted},
        checked=tuple(file.path for file in choice.wanted if file.sha256 or file.git_sha1),
        left_out=choice.left_out,
    )
    write_manifest(folder, manifest)
    return manifest


def refuse_unpermitted(entry: Entry, permissions: Permissions) -> None:
    """Raise CatalogueError where terms or code of the model were not allowed by name."""
    model = entry.model
    if model.must_accept and model.licence.name not in permissions.licences:
        binding = ", ".join(model.traps) or "nobody has read its terms"
        raise CatalogueError(
            f"{entry.key} is under {model.licence.name!r} ({binding}): read the terms at "
            f"{entry.checkpoint.repository}, then say --accept-licence {model.licence.name!r}"
        )
    if model.remote_code and entry.key not in permissions.remote_code:
        raise CatalogueError(
            f"{entry.key} brings Python code of its own that runs when it is loaded: read it, then "
            f"say --allow-remote-code {entry.key}"
        )


def choose(entry: Entry, snapshot: Snapshot, permissions: Permissions) -> Choice:
    """Which files to fetch. Raises CatalogueError on names that lead out of the folder, and where
    nothing that may be loaded is left."""
    allowed = [*WEIGHTS, *REST]
    if permissions.pickles:
        allowed += PICKLES
    if entry.key in permissions.remote_code:
        allowed += CODE
    for file in snapshot.files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or "\\" in file.path:
            raise CatalogueError(
                f"{entry.checkpoint.repository} names a file outside its folder: {file.path!r}"
            )
    wanted = tuple(file for file in snapshot.files if _matches(file.path, allowed))
    names = {file.path for file in wanted}
    if not any(_matches(name, [*WEIGHTS, *PICKLES]) for name in names):
        pickled = sorted(f.path for f in snapshot.files if _matches(f.path, PICKLES))
        hint = (
            f"; its weights are pickles ({', '.join(pickled[:3])}): --allow-pickle"
            if pickled
            else ""
        )
        raise CatalogueError(f"{entry.checkpoint.repository} holds no safetensors{hint}")
    if CONFIGURATION not in names:
        raise CatalogueError(f"{entry.checkpoint.repository} holds no {CONFIGURATION}")
    left_out = sorted(file.path for file in snapshot.files if file.path not in names)
    return Choice(wanted, tuple(left_out))


def is_right(path: Path, file: RemoteFile) -> bool:
    """Whether a file is there with the size and the digest that the hub gives."""
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    if file.sha256 is not None:
        return sha256_of(path) == file.sha256
    return file.git_sha1 is None or git_blob_sha1_of(path) == file.git_sha1


def _refuse_other_commit(
    entry: Entry, folder: Path, snapshot: Snapshot, wanted: str | None
) -> None:
    if wanted is not None and snapshot.commit != wanted:
        raise CatalogueError(
            f"{entry.checkpoint.repository}: asked for {wanted}, the hub gave {snapshot.commit}"
        )
    there = read_manifest(folder)
    if there is not None and there.revision != snapshot.commit:
        raise CatalogueError(
            f"{folder} holds revision {there.revision}, wanted is {snapshot.commit}: take the "
            "folder away first, since files of both would be loaded together"
        )


def _refuse_full_disk(folder: Path, choice: Choice, missing: set[str]) -> None:
    needed = sum(file.bytes for file in choice.wanted if file.path in missing)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CatalogueError(
            f"{folder} needs {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free"
        )


def _refuse_wrong_content(path: Path, file: RemoteFile) -> None:
    if not is_right(path, file):
        path.unlink(missing_ok=True)
        raise CatalogueError(
            f"{file.path} came with another content than the hub's digest says; it was removed, "
            "the same command fetches it anew"
        )


def _recorded(path: Path) -> FetchedFile:
    return FetchedFile(bytes=path.stat().st_size, sha256=sha256_of(path))


def _matches(name: str, patterns: list[str] | tuple[str, ...]) -> bool:
    file = name.rsplit("/", 1)[-1]
    return any(fnmatch.fnmatchcase(file.lower(), pattern.lower()) for pattern in patterns)
