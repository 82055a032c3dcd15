"""From what a profile calls a model to what a server is told to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from natix_miner.catalogue.catalogue import Entry, load_catalogue
from natix_miner.catalogue.manifest import Manifest, read_manifest
from natix_miner.errors import CatalogueError

CONFIGURATION = "config.json"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """`location` is a folder (then `local`, and `revision` None) or a repository of the model hub;
    without a `revision` nothing pins what is loaded from there. `key` is the catalogue's, None for
    a folder of somebody's own. `served_name` is what the server calls it."""

    location: str
    revision: str | None
    served_name: str
    local: bool
    key: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether it is certain which weights are loaded."""
        return self.local or self.revision is not None


def resolve_model(
    model: str, revision: str | None, *, catalogue: Path, folder: Path
) -> ResolvedModel:
    """What `model` of a profile in `folder` means.

    - A path (`./x`, `../x`, `/x`, or one with a slash that is there, counted from `folder`): a
      folder with config.json.
    - A key of the catalogue, or a repository that stands in it: the folder of that key beside the
      catalogue when it was fetched there, else the repository at `revision`, or at the revision
      that the catalogue pins.

    Raises CatalogueError: no such folder, unknown, non-existent, or nothing that a server loads.
    """
    if is_path(model, folder):
        return _folder(model, revision, folder)
    entry = load_catalogue(catalogue).entry(model)
    if entry.model.loads_with.vllm is None:
        other = entry.model.loads_with
        raise CatalogueError(
            f"no server loads {entry.model.name}, a {entry.model.kind} model; what does: "
            f"{other.package or other.transformers or 'see its row'}"
        )
    return located(entry, revision, catalogue)


def located(entry: Entry, revision: str | None, catalogue: Path) -> ResolvedModel:
    """Where a checkpoint lies: in its folder beside the catalogue when it was fetched there, else
    in its repository at `revision`, or at the revision that the catalogue pins.

    Raises CatalogueError when what was fetched is of another revision.
    """
    pinned = revision or entry.checkpoint.revision
    fetched = fetched_to(entry, catalogue.parent)
    if fetched is None:
        return ResolvedModel(entry.checkpoint.repository, pinned, entry.key, False, entry.key)
    where, manifest = fetched
    if pinned is not None and manifest.revision != pinned:
        raise CatalogueError(
            f"{where} holds revision {manifest.revision} of {entry.key}, wanted is {pinned}: "
            f"fetch it anew (natix-miner models fetch {entry.key}) or take the folder away"
        )
    return ResolvedModel(str(where), None, entry.key, True, entry.key)


def is_path(model: str, folder: Path) -> bool:
    """Whether `model` means a folder rather than a name."""
    if model.startswith(("/", "./", "../")):
        return True
    return "/" in model and (folder / model).is_dir()


def fetched_to(entry: Entry, beside: Path) -> tuple[Path, Manifest] | None:
    """Where `natix-miner models fetch` put a checkpoint, None when it has not (completely)."""
    where = (beside / entry.key).resolve()
    manifest = read_manifest(where)
    return None if manifest is None else (where, manifest)


def _folder(model: str, revision: str | None, folder: Path) -> ResolvedModel:
    where = (folder / model).resolve()
    if revision is not None:
        raise CatalogueError(f"{model!r} is a folder and has no revision; take {revision!r} out")
    if not where.is_dir():
        raise CatalogueError(f"no model folder {where} ({model!r}, counted from {folder})")
    if not (where / CONFIGURATION).is_file():
        raise CatalogueError(
            f"{where} is no model: {CONFIGURATION} is missing; give a folder as save_pretrained() "
            "or `natix-miner models fetch` writes it"
        )
    return ResolvedModel(str(where), None, where.name, True)
