"""Licences that bind whoever runs a model: asked for once, in the profile (`accept_licences`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel

from natix_miner.catalogue import Catalogue, Model, is_path, load_catalogue
from natix_miner.catalogue.manifest import read_manifest
from natix_miner.errors import CatalogueError, LicenceError
from natix_miner.profile.profile import Profile


@dataclass(frozen=True, slots=True)
class Need:
    """One licence that somebody of a profile is under: `who` (expert 'x', server 'y'), by what."""

    who: str
    what: str
    licence: str
    terms: str

    def line(self) -> str:
        """As it stands in the error."""
        return f"{self.who}: {self.what} is under {self.licence} ({self.terms})"


def refuse_unaccepted(profile: Profile) -> None:
    """Raise LicenceError, once and listing all, where the profile uses what it does not accept."""
    missing = [need for need in needs_of(profile) if need.licence not in profile.accept_licences]
    if not missing:
        return
    names = sorted({*profile.accept_licences, *(need.licence for need in missing)})
    lines = "\n".join(f"  {need.line()}" for need in missing)
    raise LicenceError(
        f"profile {profile.name!r} uses models whose terms it does not accept:\n{lines}\n"
        "read the terms (natix-miner models show KEY names the sources); where you accept them, "
        "say so in the profile, or take these experts and servers out:\n"
        f"accept_licences: [{', '.join(names)}]"
    )


def needs_of(profile: Profile) -> list[Need]:
    """Every licence that has to be accepted before the profile's experts and servers are started.

    Counted are: a section whose family is under a licence itself (`licence` of its settings),
    whatever the weights; a model that the catalogue knows and whose row has to be accepted, whether
    it is named by key, by repository or as a folder that `natix-miner models fetch` filled. What
    the catalogue does not know is its owner's own matter.
    """
    known = _Known(profile)
    found: list[Need] = []
    for name, settings in profile.experts.items():
        who = f"expert {name!r}"
        for section in _sections(settings):
            licence = getattr(type(section), "licence", None)
            if isinstance(licence, str):
                what = f"what runs it ({getattr(section, 'type', type(section).__name__)})"
                found.append(Need(who, what, licence, "code and weights of this family"))
            found += known.needs(who, getattr(section, "model", None))
            found += known.needs_of_folder(who, getattr(section, "folder", None))
    for name, server in profile.servers.items():
        if not server.remote:
            found += known.needs(f"server {name!r}", server.model)
    return list(dict.fromkeys(found))


def _sections(value: object) -> Iterator[BaseModel]:
    """A settings object and all that are nested in it."""
    if isinstance(value, BaseModel):
        yield value
        for field in type(value).model_fields:
            yield from _sections(getattr(value, field))
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _sections(part)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes | Path):
        for part in value:
            yield from _sections(part)


class _Known:
    """What the profile's catalogue knows; read when the first model is looked up."""

    def __init__(self, profile: Profile) -> None:
        self._folder = profile.folder
        self._path = profile.path(profile.catalogue)

    @cached_property
    def _catalogue(self) -> Catalogue:
        """A catalogue that is not there is an empty one: models may all be folders."""
        if not self._path.is_file():
            return Catalogue(as_of="never", models={})
        return load_catalogue(self._path)

    def needs(self, who: str, model: object) -> list[Need]:
        """What a `model` of a section needs: a key, a repository or (servers) a folder."""
        if not isinstance(model, str):
            return []
        if is_path(model, self._folder):
            return self.needs_of_folder(who, Path(model))
        known = self._catalogue
        try:
            key, row = known.row(model)
        except CatalogueError:  # unknown: whoever loads it says so
            return []
        return _of_row(who, model if model == key else f"{model} ({row.name})", row)

    def needs_of_folder(self, who: str, folder: object) -> list[Need]:
        """What a folder needs: nothing, unless it was fetched and the catalogue knows of what."""
        if not isinstance(folder, Path):
            return []
        manifest = read_manifest(self._folder / folder)
        if manifest is None:
            return []
        known = self._catalogue
        try:
            _, row = known.row(manifest.repository)
        except CatalogueError:
            return []
        return _of_row(who, f"{folder} ({row.name})", row)


def _of_row(who: str, what: str, row: Model) -> list[Need]:
    return [Need(who, what, row.licence.name, row.terms)] if row.must_accept else []
