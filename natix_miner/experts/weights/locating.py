"""From what a profile calls a model to the folder or the pinned repository it is loaded from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natix_miner.catalogue import load_catalogue, located
from natix_miner.errors import CatalogueError, ModelError
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Place:
    """`location` is a folder (then `local`) or a repository of the model hub at `revision`."""

    location: str
    revision: str | None = None

    @property
    def local(self) -> bool:
        """Whether nothing has to be downloaded."""
        return self.revision is None

    def arguments(self) -> dict[str, Any]:
        """What `from_pretrained` is told beside the location. Never runs code of a repository."""
        where = {"local_files_only": True} if self.local else {"revision": self.revision}
        return {**where, "trust_remote_code": False}


def locate(name: str, settings: ModelSettings, surroundings: Surroundings) -> Place:
    """Where the weights of the expert `name` lie.

    A `folder`; a key of the catalogue: the folder beside the catalogue when it was fetched there,
    else its repository at the pinned revision; a repository that the catalogue does not know, at
    the `revision` of the profile.

    Raises ModelError: no such folder, no saved model in it, unknown model, or nothing pins it.
    """
    if settings.folder is not None:
        where = (surroundings.folder / settings.folder).resolve()
        if not (where / "config.json").is_file():
            raise ModelError(
                f"no saved model in {where}: config.json is missing; expert {name!r} "
                "wants a folder as save_pretrained() writes it"
            )
        return Place(str(where))
    model, revision = str(settings.model), settings.revision
    try:
        known = load_catalogue(surroundings.catalogue)
        if revision and re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not _has(known, model):
            return Place(model, revision)
        found = located(known.entry(model), revision, surroundings.catalogue)
    except CatalogueError as error:
        raise ModelError(f"expert {name!r}: {error}") from error
    if not found.pinned:
        raise ModelError(
            f"expert {name!r}: nothing pins the weights of {model} on the hub; fetch them once "
            f"(natix-miner models fetch {found.key}), or give a `revision`"
        )
    return Place(found.location, found.revision)


def _has(known: Any, model: str) -> bool:
    try:
        known.row(model)
    except CatalogueError:
        return False
    return True


def folder_of(place: Place) -> Path | None:
    """The folder of a local place."""
    return Path(place.location) if place.local else None
