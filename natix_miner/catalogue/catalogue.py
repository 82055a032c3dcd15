"""The catalogue of models as read from its file, and finding a model in it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from natix_miner.catalogue.model import Checkpoint, Evidence, Model
from natix_miner.errors import CatalogueError
from natix_miner.sections import Section, faults

Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]


@dataclass(frozen=True, slots=True)
class Entry:
    """A model and one of its checkpoints; `key` names both, `model_key` the row."""

    key: str
    model_key: str
    model: Model
    checkpoint: Checkpoint

    @property
    def gigabytes(self) -> float | None:
        """Size of the weights: as stated, else by parameter counts."""
        return self.checkpoint.gigabytes or self.model.gigabytes_as(self.checkpoint.format)


class Catalogue(Section):
    """All rows by key.

    A checkpoint's key is its model's and its format: `qwen3-vl-8b-fp8`. The model's key alone is
    short for its first checkpoint, the one its authors published first.
    """

    as_of: str
    models: dict[Key, Model]

    @field_validator("models", mode="after")
    @classmethod
    def _keys_mean_one_thing(cls, models: dict[str, Model]) -> dict[str, Model]:
        for key, model in models.items():
            for checkpoint in model.checkpoints:
                if (full := f"{key}-{checkpoint.format}") in models:
                    raise ValueError(f"{full} is a row and a checkpoint of {key}")
        return models

    @model_validator(mode="after")
    def _replacements_are_there(self) -> Catalogue:
        for key, model in self.models.items():
            for other in model.instead:
                if other not in self.keys() or not self._row(other).exists:
                    raise ValueError(f"{key}: `instead` names {other!r}, which is no model here")
        return self

    @cached_property
    def _checkpoints(self) -> dict[str, tuple[str, Checkpoint]]:
        found: dict[str, tuple[str, Checkpoint]] = {}
        for key, model in self.models.items():
            for checkpoint in model.checkpoints:
                found[f"{key}-{checkpoint.format}"] = (key, checkpoint)
        return found

    def keys(self) -> set[str]:
        """Every key that means something: rows and their checkpoints."""
        return set(self.models) | set(self._checkpoints)

    def _row(self, key: str) -> Model:
        return self.models[key] if key in self.models else self.models[self._checkpoints[key][0]]

    def row(self, key: str) -> tuple[str, Model]:
        """The row of a key or of a repository, with the row's own key; raises CatalogueError with
        close matches where there is none."""
        if key in self.models:
            return key, self.models[key]
        if key in self._checkpoints:
            row = self._checkpoints[key][0]
            return row, self.models[row]
        for row, model in self.models.items():
            if any(checkpoint.repository == key for checkpoint in model.checkpoints):
                return row, model
        raise CatalogueError(f"no model {key!r} in the catalogue{self._close_to(key)}")

    def entry(self, key: str) -> Entry:
        """The checkpoint that a key or a repository means.

        Raises CatalogueError: unknown (with close matches), does not exist (with why and what to
        take instead), or nothing to download.
        """
        row, model = self.row(key)
        if not model.exists:
            raise CatalogueError(
                f"{model.name} does not exist: {model.why}{self.instead_of(model)}"
            )
        for checkpoint in model.checkpoints:
            if key in (f"{row}-{checkpoint.format}", checkpoint.repository):
                return Entry(f"{row}-{checkpoint.format}", row, model, checkpoint)
        if not model.checkpoints:
            how = model.loads_with.package or model.note or "see its row"
            raise CatalogueError(f"{model.name} has no weights on a model hub: {how}")
        first = model.checkpoints[0]
        return Entry(f"{row}-{first.format}", row, model, first)

    def entries(self, row: str) -> tuple[Entry, ...]:
        """All checkpoints of a row."""
        model = self.models[row]
        return tuple(Entry(f"{row}-{c.format}", row, model, c) for c in model.checkpoints)

    def size_of(self, row: str) -> tuple[float, Evidence] | None:
        """GB of a row's first checkpoint, or of its file that lies on no hub, and where the figure
        comes from; None where nobody knows."""
        model = self.models[row]
        for entry in self.entries(row)[:1]:
            size = entry.gigabytes
            return None if size is None else (size, entry.checkpoint.size)
        return None if model.asset is None else (model.asset.gigabytes, model.asset.size)

    def instead_of(self, model: Model) -> str:
        """The end of a sentence: what to take instead, or nothing."""
        return f"; instead: {', '.join(model.instead)}" if model.instead else ""

    def _close_to(self, key: str) -> str:
        names = {name.lower(): name for name in self.keys()}
        names |= {row.name.lower(): found for found, row in self.models.items()}
        names |= {
            checkpoint.repository.lower(): full
            for full, (_, checkpoint) in self._checkpoints.items()
        }
        close = difflib.get_close_matches(key.lower(), names, n=4, cutoff=0.6)
        keys = list(dict.fromkeys(names[name] for name in close))
        return f"; close to it: {', '.join(keys)}" if keys else ""


def load_catalogue(path: Path) -> Catalogue:
    """Read and check a catalogue; raises CatalogueError naming every fault with row and field."""
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise CatalogueError(
            f"no catalogue of models at {path}; the shipped one is models/catalogue.yaml"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CatalogueError(f"catalogue {path} cannot be read as YAML: {error}") from error
    try:
        return Catalogue.model_validate(content)
    except ValidationError as error:
        told = "".join(f"\n  {fault}" for fault in faults(error, "catalogue"))
        raise CatalogueError(f"catalogue {path} has faults:{told}") from error


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that stands twice, which YAML would silently let win."""


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice", key_node.start_mark
            )
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
