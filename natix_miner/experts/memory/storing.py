"""An index on disk: `index.json`, and beside it the safetensors file that it names.

The numbers are written under a name of their own, then `index.json` is replaced: a reader finds
the old index or the new one, never half of each.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from natix_miner.atomic import write_whole
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.memory.card import IndexCard
from natix_miner.experts.memory.index import Index, Scale

CARD = "index.json"
_ANEW = "build it anew (natix-miner memory build)"


def save_index(index: Index, folder: Path) -> IndexCard:
    """Write an index into `folder`, replacing what is there; its card.

    Raises ModelError when that cannot be written.
    """
    data = _safetensors().save(
        {
            "vectors": np.ascontiguousarray(index.vectors),
            "labels": index.labels,
            "reliabilities": index.reliabilities,
            "hashes": index.hashes,
            "centre": index.scale.centre,
            "spread": index.scale.spread,
            "own": np.ascontiguousarray(index.own),
            "probe": index.probe,
        }
    )
    digest = hashlib.sha256(data).hexdigest()
    name = f"vectors-{digest[:16]}.safetensors"
    card = index.card.model_copy(update={"vectors": name, "vectors_sha256": digest})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, data)
        write_whole(folder / CARD, (card.model_dump_json(indent=1) + "\n").encode())
        for older in folder.glob("vectors-*.safetensors"):
            if older.name != name:
                older.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"the index cannot be written to {folder}: {error.strerror}; give another folder"
        ) from error
    return card


def load_card(folder: Path) -> IndexCard:
    """Read what an index says of itself; raises ModelError."""
    path = folder / CARD
    try:
        return IndexCard.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"no index of labelled pictures in {folder}: {CARD} is missing; "
            "make one (natix-miner memory build)"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; correct the path") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(
            f"{path} is no index of this version: {where}: {first['msg']}; {_ANEW}"
        ) from None


def load_index(folder: Path) -> Index:
    """Read an index; raises ModelError for one that is missing, torn or of another format."""
    card = load_card(folder)
    path = folder / card.vectors
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the vectors {path}: {error.strerror}; {_ANEW}") from error
    if hashlib.sha256(data).hexdigest() != card.vectors_sha256:
        raise ModelError(f"{path} is not the file that {CARD} was written for; {_ANEW}")
    library = _safetensors()
    from safetensors import SafetensorError

    try:
        held = library.load(data)
        index = Index(
            card,
            Scale(card.scaling, held["centre"], held["spread"]),
            vectors=held["vectors"],
            labels=held["labels"],
            reliabilities=held["reliabilities"],
            hashes=held["hashes"],
            own=held["own"],
            probe=held["probe"],
        )
    except (KeyError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path} holds no index: {error}; {_ANEW}") from error
    _check(index, path)
    return index


def _check(index: Index, path: Path) -> None:
    count = len(index.card.ids)
    shapes = {
        "vectors": (index.vectors.shape, (count, index.card.dimension)),
        "labels": (index.labels.shape, (count,)),
        "reliabilities": (index.reliabilities.shape, (count,)),
        "hashes": (index.hashes.shape, (count,)),
        "probe": (index.probe.shape, (index.card.dimension,)),
        "centre": (index.scale.centre.shape, (index.card.dimension,)),
        "spread": (index.scale.spread.shape, (index.card.dimension,)),
    }
    for name, (found, wanted) in shapes.items():
        if found != wanted:
            raise ModelError(f"{path}: {name} has the shape {found}, not {wanted}; {_ANEW}")
    if index.own.ndim != 2 or not index.own.size:
        raise ModelError(f"{path}: own has the shape {index.own.shape}; {_ANEW}")
    if index.hashes.dtype != np.uint64 or not set(np.unique(index.labels)) <= {0, 1}:
        raise ModelError(f"{path}: hashes or labels are not of the kind they should be; {_ANEW}")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError(
            "the index of labelled pictures needs safetensors: pip install 'natix-miner[memory]'"
        ) from error
    return safetensors.numpy
