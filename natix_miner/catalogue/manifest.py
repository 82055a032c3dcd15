"""What was fetched: a list of files with digests beside them, and checking it again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import NonNegativeInt, ValidationError

from natix_miner.atomic import write_whole
from natix_miner.errors import CatalogueError
from natix_miner.sections import Section

MANIFEST = "fetched.json"
#: Where the download library keeps half-loaded files; not part of what was fetched.
SCRATCH = ".cache"


class FetchedFile(Section):
    """One file: its size in bytes and the SHA-256 of its content."""

    bytes: NonNegativeInt
    sha256: str


class Manifest(Section):
    """`checked` are the files whose content the hub vouches for by a digest of its own."""

    key: str
    repository: str
    revision: str
    pinned: bool
    files: dict[str, FetchedFile]
    checked: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of a fetched folder; all three empty: nothing has changed."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether every file is as it was fetched. Files added since are only told."""
        return not self.missing and not self.changed


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where nothing was fetched (completely).

    Raises CatalogueError when there is one that cannot be read.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise CatalogueError(
            f"{path} is no manifest of a fetched model ({error}); take the folder away and fetch "
            "it anew"
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Last of all, so that its presence means that the rest is there."""
    write_whole(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def verify(folder: Path, on_file: Callable[[str], None] | None = None) -> Verification:
    """Hash everything anew. Raises CatalogueError when nothing was fetched into the folder."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise CatalogueError(f"nothing was fetched into {folder}: {MANIFEST} is missing")
    missing, changed = [], []
    for name, file in sorted(manifest.files.items()):
        path = folder / name
        if not path.is_file():
            missing.append(name)
        elif path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
            changed.append(name)
        if on_file is not None:
            on_file(name)
    added = sorted(set(_files_in(folder)) - set(manifest.files))
    return Verification(tuple(missing), tuple(changed), tuple(added))


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_sha1_of(path: Path) -> str:
    """What git calls a file of this content, the hub's digest of files that are not in LFS."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _files_in(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] != SCRATCH and str(name) != MANIFEST:
            yield name.as_posix()
