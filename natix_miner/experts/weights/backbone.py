"""Backbones: frozen networks that were trained on pictures without labels, as features.

DINOv3, DINOv2, SigLIP 2, CLIP, ConvNeXt and the like in the format of transformers, and timm's
networks (PE-Core and others). Two experts on one backbone share its weights.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.head import Feature
from natix_miner.experts.weights.locating import Place, locate
from natix_miner.experts.weights.placement import digest_of
from natix_miner.experts.weights.runtimes import Run, runner, runtime_of, tensors_only
from natix_miner.experts.weights.saved import Saved, load_saved
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.images.frame import Pixels

Floats = NDArray[np.float32]

_CLASS_TOKENS = ("cls_token", "class_embedding", "class_token")
_REGISTERS = ("register_tokens", "reg_token")
_OTHER_TOKENS = ("distillation_token", "dist_token")


@dataclass(frozen=True, slots=True)
class Tower:
    """A loaded backbone: what is shared.

    The first `prefix` tokens are no patches (class token, registers); `features` are those it has,
    of `dimension` numbers each; `side` is the longer side in pixels of what it sees.
    """

    saved: Saved
    run: Run
    digest: str
    prefix: int
    features: tuple[Feature, ...]
    dimension: int
    side: int

    def see(self, feature: Feature, pictures: list[Pixels]) -> Floats:
        """(n, d), or (n, t, d) of `tokens`."""
        outputs = self.run(self.saved.inputs(pictures))
        if feature == "pooler":
            return outputs[1].reshape(len(outputs[1]), -1)
        tokens = _as_tokens(outputs)
        if feature == "cls":
            return tokens[:, 0]
        patches = tokens[:, self.prefix :]
        return patches if feature == "tokens" else np.asarray(patches.mean(axis=1), np.float32)


class Backbone:
    """One feature of a frozen network, as `Features` wants it; nothing is scaled to length 1."""

    def __init__(
        self, tower: Tower, feature: Feature, batch: int, surroundings: Surroundings, key: Hashable
    ) -> None:
        self._tower = tower
        self.feature = feature
        self._batch = batch
        self._surroundings = surroundings
        self._key: Hashable | None = key

    @classmethod
    def load(
        cls,
        name: str,
        settings: ModelSettings,
        surroundings: Surroundings,
        feature: Feature | None = None,
    ) -> Backbone:
        """Load for the expert `name`, or join those who have loaded the same; `feature` left out
        is the pooled output, where the network has one, else the mean of the patch tokens.

        Raises ModelError: no such weights, no backbone, or one without that feature.
        """
        place = locate(name, settings, surroundings)
        key = (
            *("backbone", place, settings.device, settings.precision),
            *(settings.compile, runtime_of(settings), settings.threads),
        )
        models = surroundings.models
        tower: Tower = models.acquire(key, lambda: _load(name, settings, place)).value
        chosen = feature or ("pooler" if "pooler" in tower.features else "mean")
        if chosen not in tower.features:
            models.release(key)
            raise ModelError(
                f"expert {name!r} wants the feature {chosen!r} of {place.location}, which has "
                f"{', '.join(tower.features)}"
            )
        return cls(tower, chosen, settings.batch, surroundings, key)

    @property
    def digest(self) -> str:
        """Digest of the weights alone, the same at every precision and on every runtime."""
        return self._tower.digest

    @property
    def version(self) -> str:
        """Digest of the weights, and the feature: others make vectors that cannot be compared."""
        return f"{self._tower.digest}:{self.feature}"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._tower.dimension

    @property
    def side(self) -> int:
        """Longer side in pixels of what the network sees."""
        return self._tower.side

    def of(self, pictures: list[Pixels]) -> Floats:
        """Vectors (n, d) of n RGB pictures (h, w, 3), of any sizes; of the feature `tokens`
        matrices (n, t, d), one row a patch, line by line."""
        parts = [
            self._tower.see(self.feature, pictures[start : start + self._batch])
            for start in range(0, len(pictures), self._batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), np.float32)

    def close(self) -> None:
        """Give the weights back; may be called twice."""
        if self._key is not None:
            self._surroundings.models.release(self._key)
            self._key = None


def _load(name: str, settings: ModelSettings, place: Place) -> Tower:
    saved = load_saved(name, "a backbone", "AutoModel", place, may_lack=("pooler.",))
    model = saved.model
    if saved.missing:
        model.pooler = None  # saved as a classifier, it has none; the library made one up
    digest = digest_of(model)
    prefix, has_class = _prefix(model)
    example = saved.inputs([np.zeros((224, 224, 3), np.uint8)])
    run = runner(name, tensors_only(model, _hidden), example, settings)
    outputs = run(example)
    features: list[Feature] = ["pooler"] if len(outputs) > 1 else []
    size = example["pixel_values"].shape[2:]
    # Where pictures differ in their number of patches, patches are padded: nothing to average.
    if len(size) == 2:
        features += ["cls", "mean", "tokens"] if has_class else ["mean", "tokens"]
    if not features:
        raise ModelError(f"expert {name!r}: the network in {place.location} has no feature to use")
    return Tower(
        Saved(None, saved.processor),  # the runtime holds the weights
        run,
        digest,
        prefix,
        tuple(features),
        dimension=int(outputs[1].shape[1] if len(outputs) > 1 else _as_tokens(outputs).shape[-1]),
        side=max(size) if len(size) == 2 else 224,
    )


def _hidden(output: Any) -> Any:
    pooled = getattr(output, "pooler_output", None)
    last = output.last_hidden_state
    return (last,) if pooled is None else (last, pooled)


def _as_tokens(outputs: list[Floats]) -> Floats:
    """The last hidden state as (n, t, d): convolutional networks give a map."""
    last = outputs[0]
    if last.ndim == 3:
        return last
    pooled = outputs[1].shape[1] if len(outputs) > 1 else last.shape[1]
    if last.shape[1] != pooled and last.shape[-1] == pooled:  # (n, h, w, d), some of timm's
        return last.reshape(len(last), -1, last.shape[-1])
    return np.asarray(last.reshape(*last.shape[:2], -1).transpose(0, 2, 1))


def _prefix(model: Any) -> tuple[int, bool]:
    """How many tokens stand before the patches, and whether the first is the class token."""
    named = {name.rpartition(".")[2]: value for name, value in model.named_parameters()}
    has_class = any(name in named for name in _CLASS_TOKENS)
    inner = getattr(model, "timm_model", None)
    if inner is not None:
        return int(getattr(inner, "num_prefix_tokens", 0)), has_class
    registers = sum(int(named[name].shape[1]) for name in _REGISTERS if name in named)
    others = sum(name in named for name in _OTHER_TOKENS)
    return int(has_class) + registers + others, has_class
