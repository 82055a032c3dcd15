"""Phrases for open-vocabulary models, with the embeddings that their text model once made of them.

The file, one of two kinds:

- `.safetensors` with one tensor `embeddings` (n, d), a row a phrase, and in its metadata `phrases`,
  the n phrases as a JSON list. Optionally `model`, the stem of the checkpoint's file without
  "-seg": other checkpoints are then refused.
- `.npz` as `YOLOE.save_prompt_embeddings` of ultralytics writes it.

For YOLOE the rows are what `YOLOE.get_text_pe(phrases)` returns for that very checkpoint, for
YOLO-World CLIP's text features of length one. Both are made once, on a machine that may download
the text model; here it never is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import MissingExtraError, ModelError


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """Phrases and their embeddings (n, d); `model` names the checkpoint they were made for."""

    names: tuple[str, ...]
    rows: NDArray[np.float32]
    model: str | None = None

    def only(self, wanted: Iterable[str], file: Path) -> Phrases:
        """Those wanted, in that order; raises ModelError naming the ones that `file` lacks."""
        wanted = tuple(wanted)
        if missing := [phrase for phrase in wanted if phrase not in self.names]:
            raise ModelError(
                f"{file} has no embeddings of {missing}; it has those of {list(self.names)}"
            )
        return Phrases(wanted, self.rows[[self.names.index(p) for p in wanted]], self.model)


def read_phrases(name: str, file: Path) -> Phrases:
    """The phrases of a file; raises ModelError saying what is wrong with it."""
    reading = {".safetensors": _safetensors, ".npz": _npz}.get(file.suffix)
    if reading is None:
        raise ModelError(f"`phrase_embeddings` of expert {name!r} is {file}: .safetensors or .npz")
    try:
        names, rows, model = reading(file)
        rows = np.asarray(rows, np.float32)
    except ImportError as error:
        raise MissingExtraError(
            f"expert {name!r} needs safetensors ({error}): pip install 'natix-miner[ultralytics]'"
        ) from error
    except Exception as error:  # the readers of damaged files raise errors of many kinds
        raise ModelError(f"expert {name!r} cannot read phrases from {file}: {error}") from error
    sound = len(names) > 0 and rows.ndim == 2 and len(rows) == len(names) == len(set(names))
    if not sound or not np.isfinite(rows).all():
        raise ModelError(
            f"{file} has embeddings of shape {rows.shape} for {len(names)} phrases: it must be one "
            "row a phrase, all finite, no phrase twice"
        )
    return Phrases(tuple(names), rows, model)


def _safetensors(file: Path) -> tuple[list[str], Any, str | None]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as content:
        metadata = content.metadata() or {}
        names = json.loads(metadata.get("phrases", "null"))
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise ValueError("its metadata has no `phrases`, a JSON list of strings")
        return names, content.get_tensor("embeddings").float().numpy(), metadata.get("model")


def _npz(file: Path) -> tuple[list[str], Any, str | None]:
    with np.load(file, allow_pickle=False) as content:
        return content["names"].tolist(), content["embeddings"][0], str(content["model"].item())


def give_phrases(name: str, package: Any, model: Any, file: Path, phrases: Phrases | None) -> None:
    """Make an open-vocabulary model look for `phrases`, or leave it its own labels with None.

    Raises ModelError: no such model, embeddings of another length or for another checkpoint, or
    none at all where the model has nothing of its own to look for.
    """
    tasks = package.nn.tasks
    module = model.model
    head = module.model[-1]
    yoloe = isinstance(module, getattr(tasks, "YOLOEModel", ()))
    world = isinstance(module, getattr(tasks, "WorldModel", ()))
    own = hasattr(head, "lrpc") or getattr(head, "is_fused", False)
    if phrases is None:
        if yoloe and not own and getattr(module, "pe", None) is None:
            raise ModelError(
                f"expert {name!r}: {file} looks for what it is told, and was told nothing; give "
                "`phrase_embeddings` (phrases alone would download a text model)"
            )
        return
    if not (yoloe or world) or own:
        raise ModelError(
            f"expert {name!r}: {file} has labels of its own and takes no phrases; take "
            "`phrase_embeddings` out"
        )
    stem = file.stem.removesuffix("-seg")
    if phrases.model not in (None, stem):
        raise ModelError(
            f"expert {name!r}: the embeddings were made for {phrases.model!r}, {file} is {stem!r}"
        )
    length = head.embed if yoloe else module.txt_feats.shape[-1]
    if phrases.rows.shape[1] != length:
        raise ModelError(
            f"expert {name!r}: the embeddings have length {phrases.rows.shape[1]}, {file} "
            f"wants {length}"
        )
    _set(model, phrases, yoloe)


def _set(model: Any, phrases: Phrases, yoloe: bool) -> None:
    import torch

    rows = torch.from_numpy(phrases.rows.copy())[None]
    if yoloe:
        model.set_classes(list(phrases.names), rows)
        return
    # YOLOWorld.set_classes takes words only and fetches CLIP for them; this is the rest of it.
    model.model.txt_feats = rows
    model.model.model[-1].nc = len(phrases.names)
    model.model.names = dict(enumerate(phrases.names))
