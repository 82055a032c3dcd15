"""What the planner knows of a server's model: from the catalogue, or from a folder of weights."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natix_miner.catalogue import Catalogue, Entry, Model, is_path
from natix_miner.errors import CatalogueError, PlanError
from natix_miner.serving.memory import GB, ModelSize
from natix_miner.serving.settings import ServerSettings

VISION_PREFIXES = ("visual.", "vision", "model.visual.", "model.vision")
BYTES_OF = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
SERVED_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
#: A safetensors file begins with the length of its header, and no sane header is longer.
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Unplannable:
    """A model that cannot be placed, and why. `floor_gb` is the least that a model of the size its
    name claims could take, None when nobody knows."""

    reason: str
    floor_gb: float | None = None


def size_of(
    settings: ServerSettings, catalogue: Catalogue, folder: Path
) -> ModelSize | Unplannable:
    """The size of a server's model. `folder` is the profile's, which relative paths count from.

    What is wrong with the model (unknown, non-existent, unreadable) comes back as a value, since a
    plan lists all that is wrong with a profile at once.
    """
    try:
        if is_path(settings.model, folder):
            return size_of_folder((folder / settings.model).resolve(), settings.arguments.dtype)
        _, row = catalogue.row(settings.model)
        if not row.exists:
            why = f"{row.name} does not exist: {row.why}{catalogue.instead_of(row)}"
            return Unplannable(why, row.floor_gigabytes)
        entry = catalogue.entry(settings.model)
        if row.loads_with.vllm is None:
            return Unplannable(f"no server loads {row.name}, a {row.kind} model")
        return size_of_entry(entry, settings.arguments.quantization)
    except (CatalogueError, PlanError) as error:
        return Unplannable(str(error))


def size_of_entry(entry: Entry, quantization: str | None = None) -> ModelSize:
    """The size of a checkpoint; `quantization` fp8 of a bf16 one is done while loading.

    Raises PlanError where the catalogue knows no size.
    """
    model = entry.model
    gigabytes = entry.gigabytes
    if entry.checkpoint.format == "bf16" and (quantization or "").startswith("fp8"):
        gigabytes = model.gigabytes_as("fp8")
    if gigabytes is None:
        raise PlanError(
            f"the catalogue has neither bytes nor parameters of {entry.key}: fetch it and name its "
            "folder, then the files are measured"
        )
    vision = (model.parameters.vision if model.parameters else 0.0) * 2
    shape = model.shape
    if shape is None:
        return ModelSize(entry.key, gigabytes * GB, vision * GB, floor=_floor(model))
    return ModelSize(
        name=entry.key,
        weights=gigabytes * GB,
        vision=vision * GB,
        elements_per_token=shape.cache_elements_per_token(),
        kv_heads=shape.kv_heads,
        state_bytes=shape.state_megabytes * 1e6,
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        vocabulary=shape.vocabulary,
        vision_hidden=shape.vision_hidden or 0,
        context=shape.context,
        floor=_floor(model),
    )


def size_of_folder(folder: Path, dtype: str | None) -> ModelSize:
    """The size of a saved model: its safetensors files and its config.json.

    `dtype` is what the server is told to compute in: floats are turned into it while loading.
    Raises PlanError when either cannot be read.
    """
    try:
        configuration = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(f"no model in {folder}: config.json: {error}") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise PlanError(f"no model in {folder}: no *.safetensors")
    text = configuration.get("text_config") or configuration.get("llm_config") or configuration
    served = SERVED_BYTES.get(
        dtype if dtype not in (None, "auto") else _stored(configuration, text)
    )
    weights = vision = 0.0
    for file in files:
        for name, size in _tensors(file, served):
            weights += size
            vision += size if name.startswith(VISION_PREFIXES) else 0.0
    heads = int(text.get("num_attention_heads") or 1)
    hidden = int(text.get("hidden_size") or 0)
    kv_heads = int(text.get("num_key_value_heads") or heads)
    head_dim = int(text.get("head_dim") or hidden // heads)
    return ModelSize(
        name=folder.name,
        weights=weights,
        vision=vision,
        elements_per_token=2 * _cached_layers(text) * kv_heads * head_dim,
        kv_heads=kv_heads,
        hidden=hidden,
        intermediate=int(text.get("intermediate_size") or 0),
        vocabulary=int(text.get("vocab_size") or 0),
        vision_hidden=int((configuration.get("vision_config") or {}).get("hidden_size") or 0),
        context=text.get("max_position_embeddings"),
    )


def _floor(model: Model) -> float | None:
    return None if model.floor_gigabytes is None else model.floor_gigabytes * GB


def _cached_layers(text: dict[str, Any]) -> int:
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return sum(kind != "linear_attention" for kind in kinds)
    return int(text.get("num_hidden_layers") or 0)


def _stored(configuration: dict[str, Any], text: dict[str, Any]) -> str:
    for key in ("dtype", "torch_dtype"):
        for part in (text, configuration):
            if part.get(key):
                return str(part[key])
    return ""


def _tensors(file: Path, served: int | None) -> list[tuple[str, float]]:
    """Names and bytes of the tensors of a safetensors file, by its header alone; floating-point
    ones count with the width they are served in."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= LONGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header: dict[str, Any] = json.loads(opened.read(length))
        return [
            (name, math.prod(tensor["shape"]) * _width(str(tensor["dtype"]), served))
            for name, tensor in header.items()
            if name != "__metadata__"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"{file} is no safetensors file: {error!r}") from error


def _width(kind: str, served: int | None) -> float:
    return served if served and kind in FLOATS else BYTES_OF.get(kind, 1)
