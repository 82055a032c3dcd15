"""Experts that the miner itself runs on a GPU: what they leave of it for the servers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from natix_miner.catalogue import Catalogue
from natix_miner.errors import CatalogueError, PlanError
from natix_miner.experts.family import ExpertSettings
from natix_miner.serving.sizes import size_of_entry, size_of_folder

#: CUDA context, workspaces and activations of the miner's own process, once for each GPU it uses.
PROCESS_GB = 1.5
#: For an expert whose weights nobody knows: about ten times the largest shipped classifier.
UNKNOWN_GB = 3.0
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def taken_by_experts(
    experts: Mapping[str, ExpertSettings], catalogue: Catalogue, folder: Path
) -> dict[int, float]:
    """GB (10^9 bytes) by GPU that experts with a `device: cuda:N` take in the miner's process.

    Weights from the expert's folder or the catalogue, with a share for the process itself; an
    expert whose weights are not known counts 3 GB. `folder` is the profile's.
    """
    taken: dict[int, float] = {}
    for settings in experts.values():
        found = re.fullmatch(r"cuda(?::(\d+))?", str(getattr(settings, "device", "")))
        if found:
            index = int(found[1] or 0)
            taken[index] = taken.get(index, PROCESS_GB) + _weights(settings, catalogue, folder)
    return taken


def _weights(settings: ExpertSettings, catalogue: Catalogue, folder: Path) -> float:
    dtype = DTYPES.get(str(getattr(settings, "precision", "")))
    try:
        where = getattr(settings, "folder", None)
        if where is not None:
            return size_of_folder(folder / where, dtype).weights / 1e9
        return size_of_entry(catalogue.entry(str(getattr(settings, "model", "")))).weights / 1e9
    except (CatalogueError, PlanError):  # not there yet, or nobody's: told by the figure itself
        return UNKNOWN_GB
