"""Heads: the small fitted part that turns a backbone's features into log-odds of roadwork.

A head is a safetensors file of the tensors (float32)

- `mean`, `std` (d,): features are brought to (x - mean) / std first,
- `weight` (1, d) and `bias` (1,) of a `linear` head, or `weight` (1, h d) of an `attentive` one,
- `query` (h, d) of an attentive head of h attention heads,

with metadata that say what they belong to. An attentive head pools the patch tokens x_t (t of them)
by one learned query a head: a_t = softmax_t(query . x_t / sqrt(d)), pooled = sum_t a_t x_t; the
h pooled vectors, one after the other, go through the linear part. With a single query the key and
value projections of multi-head attention (Vaswani et al., 2017) fold into `query` and `weight`
exactly, and the key's bias drops out of the softmax: there is nothing else to store.

`scripts/fit_head.py` makes the file; nothing but numpy and safetensors is needed to use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from natix_miner.atomic import write_whole
from natix_miner.errors import MissingExtraError, ModelError

FORMAT, FORMAT_VERSION = "natix-miner/head", "1"

Kind = Literal["linear", "attentive"]
#: What of the backbone a head looks at: its pooled output, the class token, the mean of the patch
#: tokens, or all patch tokens.
Feature = Literal["pooler", "cls", "mean", "tokens"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A fitted head. `backbone` is the digest of the weights it was fitted on; `notes` hold figures
    and settings of the fit, for people."""

    kind: Kind
    feature: Feature
    backbone: str
    mean: Floats
    std: Floats
    weight: Floats
    bias: Floats
    query: Floats | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """Length d of the feature vectors it takes."""
        return len(self.mean)

    @property
    def version(self) -> str:
        """Digest of all but the notes. Not of the file, in which metadata come in any order."""
        digest = hashlib.sha256(f"{self.kind} {self.feature} {self.backbone}".encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(name.encode())
            digest.update(tensor.tobytes())
        return digest.hexdigest()[:16]

    def log_odds(self, features: NDArray[np.floating]) -> Floats:
        """Natural log-odds (n,) of features (n, d), or of tokens (n, t, d)."""
        normal = (np.asarray(features, np.float32) - self.mean) / self.std
        if self.query is not None:
            shares = _softmax(normal @ self.query.T / np.sqrt(self.dimension))
            pooled = np.einsum("nth,ntd->nhd", shares, normal)
            normal = pooled.reshape(len(pooled), -1)
        return np.asarray((normal @ self.weight.T + self.bias)[:, 0], np.float32)

    def save(self, path: Path) -> None:
        """Write the file, all of it or nothing."""
        from safetensors.numpy import save

        metadata = {
            **{f"note.{key}": value for key, value in self.notes.items()},
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "feature": self.feature,
            "dimension": str(self.dimension),
            "backbone": self.backbone,
        }
        write_whole(path, save(self._tensors(), metadata))

    def _tensors(self) -> dict[str, Floats]:
        held = {"mean": self.mean, "std": self.std, "weight": self.weight, "bias": self.bias}
        if self.query is not None:
            held["query"] = self.query
        return {name: np.ascontiguousarray(value, np.float32) for name, value in held.items()}

    @classmethod
    def load(cls, path: Path) -> Head:
        """Read and check a file; raises ModelError with what is wrong with it."""
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError as error:
            raise MissingExtraError(
                f"reading {path} needs safetensors: pip install 'natix-miner[detectors]'"
            ) from error
        try:
            with safe_open(path, framework="numpy") as file:
                told = dict(file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except OSError as error:
            raise ModelError(
                f"cannot read the head {path}: {error.strerror or error}; correct the path or make "
                "it with scripts/fit_head.py"
            ) from error
        except SafetensorError as error:
            raise ModelError(f"{path} is torn, or no safetensors file: {error}") from error
        _check(path, told, tensors)
        return cls(
            kind=told["kind"],
            feature=told["feature"],
            backbone=told["backbone"],
            mean=tensors["mean"],
            std=tensors["std"],
            weight=tensors["weight"],
            bias=tensors["bias"],
            query=tensors.get("query"),
            notes={key[5:]: value for key, value in told.items() if key.startswith("note.")},
        )


def _check(path: Path, told: Mapping[str, str], tensors: Mapping[str, Floats]) -> None:
    if (told.get("format"), told.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise ModelError(
            f"{path} is no head of version {FORMAT_VERSION}: its format is "
            f"{told.get('format')!r} {told.get('format_version')!r}; make it with "
            "scripts/fit_head.py"
        )
    kind, feature = told.get("kind"), told.get("feature")
    attentive = kind == "attentive"
    fitting = feature in get_args(Feature) and (feature == "tokens") == attentive
    if kind not in get_args(Kind) or not fitting or not told.get("backbone"):
        raise ModelError(
            f"{path} is no head: kind {kind!r}, feature {feature!r}, backbone "
            f"{told.get('backbone')!r} do not belong together"
        )
    length = int(told["dimension"]) if told.get("dimension", "").isdigit() else 0
    heads = len(tensors["query"]) if attentive and "query" in tensors else 1
    wanted = {"mean": (length,), "std": (length,), "weight": (1, heads * length), "bias": (1,)}
    if attentive:
        wanted["query"] = (heads, length)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != wanted or not length or not heads:
        raise ModelError(f"{path} is no {kind} head: its tensors are {found}, not {wanted}")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError(f"{path} holds values that are not finite; fit it anew")
    if not (tensors["std"] > 0).all():
        raise ModelError(f"{path}: `std` must be positive everywhere; fit it anew")


def _softmax(scores: Floats) -> Floats:
    """Over the tokens: (n, t, h)."""
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True), np.float32)
