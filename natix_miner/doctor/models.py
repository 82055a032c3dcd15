"""Is everything there that a profile names, and is it what was fetched?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from natix_miner.assembly import build_consensus
from natix_miner.catalogue import Catalogue, is_path, load_catalogue, located
from natix_miner.catalogue.manifest import read_manifest, sha256_of, verify
from natix_miner.doctor.row import Finding, fail, ok, warn, worst_of
from natix_miner.errors import CatalogueError, NatixMinerError
from natix_miner.profile import Profile


def check_models(profile: Profile) -> Finding:
    """Every file, folder and model of the catalogue that experts, servers and the consensus name.

    What was fetched is hashed against its list; a network with a card beside it against that;
    other files only have to be there (the row `deadline` loads them).
    """
    findings = list(_files(profile))
    findings += list(_named(profile))
    try:
        build_consensus(profile)
    except NatixMinerError as error:
        findings.append(fail(str(error), "fit it again, or correct `consensus.fitted`"))
    bad = [finding for finding in findings if finding.advice]
    if bad:
        return worst_of(bad)
    checked = sum("as fetched" in finding.detail for finding in findings)
    return ok(f"{len(findings)} files and models are there, {checked} of them checked by digest")


def _files(profile: Profile) -> Iterator[Finding]:
    named: dict[Path, str] = {}
    for name, settings in profile.experts.items():
        for path in _paths(settings):
            named.setdefault((profile.folder / path).resolve(), f"expert {name!r}")
    for path, who in named.items():
        yield _file(path, who)


def _file(path: Path, who: str) -> Finding:
    if not path.exists():
        return fail(
            f"{who} names {path}, which is not there",
            f"fetch or copy it (natix-miner models fetch KEY), or take {who} out of the profile",
        )
    if path.is_dir():
        return _folder(path, who)
    if (expected := _carded(path)) is not None:
        if sha256_of(path) != expected:
            return fail(
                f"{path} is not the file that {path.with_suffix('.json').name} beside it is about",
                "copy both again from where they came",
            )
        return ok(f"{path}: as fetched")
    return ok(f"{path}: there")


def _carded(path: Path) -> str | None:
    """The digest that a card beside a network tells, None without a card."""
    card = path.with_suffix(".json")
    if path.suffix != ".onnx" or not card.is_file():
        return None
    try:
        told = json.loads(card.read_bytes())
    except (OSError, ValueError):
        return None
    version = told.get("version") if isinstance(told, Mapping) else None
    return version if isinstance(version, str) and len(version) == 64 else None


def _folder(folder: Path, who: str) -> Finding:
    if read_manifest(folder) is None:
        return ok(f"{folder}: there")
    found = verify(folder)
    if found.intact:
        return ok(f"{folder}: as fetched")
    changed = ", ".join((*found.missing, *found.changed))
    return fail(
        f"{folder} ({who}) is not as it was fetched: {changed}",
        f"natix-miner models fetch {folder.name}",
    )


def _named(profile: Profile) -> Iterator[Finding]:
    """Models by name: of the catalogue, or of the hub."""
    path = profile.path(profile.catalogue)
    known = load_catalogue(path) if path.is_file() else Catalogue(as_of="never", models={})
    wanted: dict[tuple[str, str | None], str] = {}
    for name, settings in profile.experts.items():
        for section in _sections(settings):
            model = getattr(section, "model", None)
            if isinstance(model, str):
                key = (model, getattr(section, "revision", None))
                wanted.setdefault(key, f"expert {name!r}")
    for name, server in profile.servers.items():
        if server.remote:
            continue
        if is_path(server.model, profile.folder):
            yield _file((profile.folder / server.model).resolve(), f"server {name!r}")
        else:
            wanted.setdefault((server.model, server.revision), f"server {name!r}")
    for (model, revision), who in wanted.items():
        yield _of_catalogue(model, revision, who, known, path)


def _of_catalogue(
    model: str, revision: str | None, who: str, known: Catalogue, path: Path
) -> Finding:
    try:
        found = located(known.entry(model), revision, path)
    except CatalogueError as error:
        if revision is not None and "/" in model:
            return warn(
                f"{who} names {model}, which the catalogue does not know",
                "it is loaded from the hub at start: see that it is in the hub's cache",
            )
        return fail(f"{who}: {error}", "natix-miner models lists those that there are")
    if found.local:
        return _folder(Path(found.location), who)
    return warn(
        f"{who}: {model} is not fetched; it would be loaded from the hub when the miner starts",
        f"natix-miner models fetch {found.key}",
    )


def _paths(value: object) -> Iterator[Path]:
    for section in _sections(value):
        for field in type(section).model_fields:
            yield from _paths_in(getattr(section, field))


def _paths_in(value: object) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _paths_in(part)


def _sections(value: object) -> Iterator[BaseModel]:
    """A settings object and all that are nested in it."""
    if isinstance(value, BaseModel):
        yield value
        for field in type(value).model_fields:
            yield from _sections(getattr(value, field))
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _sections(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _sections(part)
