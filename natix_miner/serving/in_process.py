"""Experts that the miner itself runs: what their weights take, and what they leave of a GPU."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from natix_miner.catalogue import Catalogue, Entry
from natix_miner.catalogue.model import BYTES_PER_PARAMETER
from natix_miner.errors import CatalogueError, PlanError
from natix_miner.experts.family import ExpertSettings
from natix_miner.serving.sizes import size_of_folder

#: CUDA context, workspaces and activations of the miner's own process, once for each GPU it uses.
PROCESS_GB = 1.5
#: For an expert whose weights nobody knows: about ten times the largest shipped classifier.
UNKNOWN_GB = 3.0
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
#: Bytes of a parameter in the precisions that an expert's section knows.
WIDTHS = {"bf16": 2.0, "fp16": 2.0, "fp32": 4.0}


@dataclass(frozen=True, slots=True)
class Weights:
    """One model of an expert. `place` says all that makes it one, so that experts that name the
    same share it; `device` is where it lies; `gigabytes` (10^9 bytes) are those of its weights as
    the expert holds them and `pass_gigabytes` those of a batch on its way through, None and 0 where
    nobody knows."""

    place: tuple[str, ...]
    device: str
    gigabytes: float | None
    pass_gigabytes: float = 0.0


def taken_by_experts(
    experts: Mapping[str, ExpertSettings], catalogue: Catalogue, folder: Path
) -> dict[int, float]:
    """GB (10^9 bytes) by GPU that experts with a `device: cuda:N` take in the miner's process.

    Their weights, by files or by the catalogue, each model once for all that share it; what a batch
    takes on its way where the catalogue knows; and a share for the process itself. A model whose
    weights are not known counts 3 GB. `folder` is the profile's.
    """
    held: dict[int, dict[tuple[str, ...], float]] = {}
    passing: dict[int, float] = {}
    for settings in experts.values():
        for weights in weights_of(settings, catalogue, folder):
            found = re.fullmatch(r"cuda(?::(\d+))?", weights.device)
            if not found:
                continue
            index = int(found[1] or 0)
            size = UNKNOWN_GB if weights.gigabytes is None else weights.gigabytes
            held.setdefault(index, {})[weights.place] = size
            passing[index] = passing.get(index, 0.0) + weights.pass_gigabytes
    return {
        index: PROCESS_GB + sum(models.values()) + passing.get(index, 0.0)
        for index, models in held.items()
    }


def weights_of(settings: ExpertSettings, catalogue: Catalogue, folder: Path) -> list[Weights]:
    """The models that a section names, nested sections (`depth`, `classifier`) included: those run
    on the expert's device in its precision unless they say otherwise."""
    precision = str(getattr(settings, "precision", "fp32"))
    device = str(getattr(settings, "device", "cpu"))
    found = []
    for section in _sections(settings):
        its = str(getattr(section, "precision", precision))
        where = str(getattr(section, "device", device))
        if (file := _path_of(section)) is not None:
            path = folder / file
            size = _of_folder(path, its) if path.is_dir() else _of_file(path, its)
            found.append(Weights((str(path), its), where, size))
        elif isinstance(model := getattr(section, "model", None), str):
            place = (model, str(getattr(section, "revision", None)), its)
            size, passing = _of_catalogue(model, its, settings.batch, catalogue)
            found.append(Weights(place, where, size, passing))
    return found


def _sections(settings: BaseModel) -> Iterator[BaseModel]:
    yield settings
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        if isinstance(value, BaseModel):
            yield from _sections(value)


def _path_of(section: BaseModel) -> Path | None:
    """Weights on the disk: a saved model's `folder`, the `file` of ultralytics, the `model` of the
    embedded experts."""
    for name in ("folder", "file", "model"):
        value = getattr(section, name, None)
        if isinstance(value, Path):
            return value
    return None


def _of_folder(folder: Path, precision: str) -> float | None:
    try:
        return size_of_folder(folder, DTYPES.get(precision)).weights / 1e9
    except PlanError:  # not there yet, or not in a format that is measured: told by the figure
        return None


def _of_file(path: Path, precision: str) -> float | None:
    """By the file's size; ultralytics saves in half precision, which fp32 doubles."""
    try:
        size = path.stat().st_size / 1e9
    except OSError:
        return None
    return size * (WIDTHS.get(precision, 4.0) / 2.0 if path.suffix == ".pt" else 1.0)


def _of_catalogue(
    model: str, precision: str, batch: int, catalogue: Catalogue
) -> tuple[float | None, float]:
    try:
        entry = catalogue.entry(model)
    except CatalogueError:  # unknown here, or of no hub: told by the figure itself
        return None, 0.0
    passing = (entry.model.pass_gb or 0.0) * batch * WIDTHS.get(precision, 4.0) / 4.0
    return _as_loaded(entry, precision), passing


def _as_loaded(entry: Entry, precision: str) -> float | None:
    """A checkpoint's GB in the precision that the expert turns it into."""
    counted = entry.model.gigabytes_as(precision if precision != "fp16" else "bf16")
    if counted is not None or entry.gigabytes is None:
        return counted
    return entry.gigabytes * WIDTHS[precision] / BYTES_PER_PARAMETER[entry.checkpoint.format]
