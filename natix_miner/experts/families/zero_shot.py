"""Image-text models as a first, cheap look: which of two phrases fits a picture better.

The rule. Let l be the model's logit of a picture and a phrase. Of a pair the log-odds are
l(roadwork) - l(none), so P = sigmoid(l(roadwork) - l(none)). For CLIP, which was trained by
softmax over phrases, this is its softmax over the two. For SigLIP, which gives every phrase a
sigmoid of its own, the formula is the same for another reason: of two independent events with
p = sigmoid(l(roadwork)) and q = sigmoid(l(none)), given that exactly one happens, the first is it
with p (1 - q) / (p (1 - q) + q (1 - p)), whose log-odds are the difference of the logits. SigLIP's
bias falls out of it. That is wanted: it makes every single phrase improbable, as it stands for the
thousands of other phrases of a training batch, while a gate has to choose between two.

The ensemble is the mean of the log-odds over the pairs, then over the views (`combine: mean`) or
that of the view that speaks most for roadwork (`max`, for tiles). A phrase in several templates has
the mean of their unit vectors, brought to length 1 (CLIP's paper, section 3.1.4).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from natix_miner.errors import ModelError
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.image_text import ImageTextModel, PromptPair, Prompts, load_prompts
from natix_miner.experts.image_text.model import Vectors
from natix_miner.experts.image_text.prompts import AS_IT_IS, Template
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.looking import cut_views, is_tile
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.weights.locating import locate
from natix_miner.experts.weights.placement import Placement
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.experts.weights.shared import Shared
from natix_miner.images import Frame, View
from natix_miner.log_odds import expit
from natix_miner.torch_stack import torch_stack

#: The side of a tile, in sides of the model's input.
TILE_SIDES = 2
#: The side of the input of most of these models; taken as long as none is loaded.
USUAL_SIDE = 224


class ZeroShotSettings(ModelSettings):
    """`prompts` is a file of pairs of phrases, or `pairs` are given here, in `templates`; `combine`
    makes one vote of several views.

    CLIP's own preprocessing keeps the middle square of a wide frame only: with the view `tiles` the
    sides of the road are seen as well. SigLIP's sees all of it.
    """

    type: Literal["zero-shot"] = "zero-shot"
    prompts: Path | None = None
    pairs: tuple[PromptPair, ...] = ()
    templates: tuple[Template, ...] = ()
    combine: Literal["mean", "max"] = "mean"

    @model_validator(mode="after")
    def _one_ensemble(self) -> ZeroShotSettings:
        if (self.prompts is None) == (not self.pairs):
            raise ValueError(
                "give either `prompts` (a file, such as prompts/zero-shot.yaml) or `pairs` of "
                "phrases, not both"
            )
        if self.templates and self.prompts is not None:
            raise ValueError("`templates` go with `pairs`; those of a file of prompts stand in it")
        return self


class ZeroShot(InProcessExpert):
    """P(roadwork) of an image-text model by an ensemble of pairs of phrases; not calibrated."""

    def __init__(
        self, name: str, settings: ZeroShotSettings, prompts: Prompts, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings.batch_limits(), surroundings.clock)
        self._settings = settings
        self._prompts = prompts
        self._surroundings = surroundings
        self._key: Hashable | None = None
        self._shared: Shared[ImageTextModel] | None = None
        self._placement: Placement | None = None
        self._directions: NDArray[np.float64] = np.zeros((0, 0))
        self._side = USUAL_SIDE

    def load(self) -> None:
        settings, models = self._settings, self._surroundings.models
        place = locate(self.name, settings, self._surroundings)
        torch_stack(self.name)
        placement = Placement.of(settings)
        key = ("image-text", place, settings.device, settings.precision, settings.compile)
        shared = models.acquire(key, lambda: ImageTextModel(self.name, place, placement))
        self._key, self._shared, self._placement = key, shared, placement
        model = shared.value
        with shared.lock:
            self._directions = self._embedded(model, placement)
            if models.users(key) == 1:
                model.forget_texts()
        self._side = model.side
        self.version = f"{model.digest}:{self._prompts.digest()}"
        model.images([np.zeros((USUAL_SIDE, USUAL_SIDE, 3), np.uint8)], placement)

    def _embedded(self, model: ImageTextModel, placement: Placement) -> NDArray[np.float64]:
        """Of each pair the vector (pairs, d) whose product with a picture's are the log-odds."""
        prompts = self._prompts
        phrases = [p for pair in prompts.pairs for p in (pair.roadwork, pair.none)]
        sentences = [sentence for phrase in phrases for sentence in prompts.sentences(phrase)]
        vectors = _mean_of_templates(model.texts(sentences, placement), len(prompts.templates))
        return model.scale * (vectors[0::2] - vectors[1::2])

    def views(self, frame: Frame) -> list[View]:
        # The model's own processor shrinks best; only tiles must be told how much to hold.
        tiled = "tiles" in self._settings.views
        size = TILE_SIDES * self._side if tiled else max(frame.width, frame.height)
        return cut_views(frame, self._settings, size)

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        cut = [self.views(frame) for frame in frames]
        said = self._log_odds([view for views in cut for view in views])
        ends = np.cumsum([len(views) for views in cut])[:-1]
        return [
            self._look_of(views, part)
            for views, part in zip(cut, np.split(said, ends), strict=True)
        ]

    def _log_odds(self, views: list[View]) -> NDArray[np.float64]:
        """Log-odds (views, pairs) of roadwork."""
        if self._shared is None or self._placement is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        batch = self._settings.batch
        vectors = [
            self._shared.value.images([v.pixels for v in views[at : at + batch]], self._placement)
            for at in range(0, len(views), batch)
        ]
        return np.concatenate(vectors).astype(np.float64) @ self._directions.T

    def _look_of(self, views: list[View], said: NDArray[np.float64]) -> Look:
        by_view = said.mean(axis=1)
        box = None
        if self._settings.combine == "max":
            best = int(by_view.argmax())
            log_odds, by_pair = float(by_view[best]), said[best]
            if is_tile(views[best]):
                left, top, right, bottom = views[best].box
                box = (float(left), float(top), float(right), float(bottom))
        else:
            log_odds, by_pair = float(by_view.mean()), said.mean(axis=0)
        spoke = int(by_pair.argmax())
        phrase = self._prompts.pairs[spoke].roadwork
        return Look(
            probability=expit(log_odds),
            evidence=(Evidence(phrase, expit(float(by_pair[spoke])), box),),
        )

    async def close(self) -> None:
        await super().close()
        if self._key is not None:
            self._surroundings.models.release(self._key)
            self._key = self._shared = None


def _mean_of_templates(vectors: Vectors, templates: int) -> NDArray[np.float64]:
    """From (phrases * templates, d) to (phrases, d), of length 1."""
    means = vectors.astype(np.float64).reshape(-1, templates, vectors.shape[1]).mean(axis=1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def build(name: str, settings: ZeroShotSettings, surroundings: Surroundings) -> ZeroShot:
    """One expert; raises ConfigurationError for prompts that are not there or wrong."""
    if settings.prompts is not None:
        prompts = load_prompts(surroundings.folder / settings.prompts)
    else:
        prompts = Prompts(pairs=settings.pairs, templates=settings.templates or (AS_IT_IS,))
    return ZeroShot(name, settings, prompts, surroundings)


FAMILY = Family(type="zero-shot", settings=ZeroShotSettings, build=build)
