"""Conditions of the frame, told and not voted on: darkness, haze, blur, and weather by a model.

The consensus may add a bias for each (`condition_bias` of its fitted file), the trace shows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from pydantic import model_validator

from natix_miner.experts.conditions import (
    ALL,
    RULES_VERSION,
    SIDE,
    ClassifierSettings,
    ConditionClassifier,
    ConditionName,
    measured,
    told,
)
from natix_miner.experts.family import ExpertSettings, Family, Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.looking import cut_views
from natix_miner.experts.opinion import Look
from natix_miner.experts.weights.locating import locate
from natix_miner.experts.weights.shared import Shared
from natix_miner.images import Frame, View, upright


class ConditionsSettings(ExpertSettings):
    """`tell` are the conditions that are measured on the frame itself; `classifier` is a model
    whose classes' shares are told as well, by their names."""

    type: Literal["conditions"] = "conditions"
    tell: tuple[ConditionName, ...] = ALL
    classifier: ClassifierSettings | None = None

    @model_validator(mode="after")
    def _tells_something(self) -> ConditionsSettings:
        if not self.tell and self.classifier is None:
            raise ValueError("with an empty `tell` and no `classifier` there is nothing to tell")
        if len(set(self.tell)) < len(self.tell):
            raise ValueError(f"tell holds the same twice: {list(self.tell)}")
        return self


class Conditions(InProcessExpert):
    """Names conditions of a frame and gives no probability."""

    votes = False

    def __init__(self, name: str, settings: ConditionsSettings, surroundings: Surroundings) -> None:
        super().__init__(name, settings.batch_limits(), surroundings.clock)
        self._settings = settings
        self._surroundings = surroundings
        self._key: Hashable | None = None
        self._classifier: Shared[ConditionClassifier] | None = None

    def load(self) -> None:
        digest = hashlib.sha256(repr((RULES_VERSION, self._settings.tell)).encode())
        if (settings := self._settings.classifier) is not None:
            place = locate(self.name, settings, self._surroundings)
            key = (
                "condition-classifier",
                place,
                settings.runtime,
                settings.device,
                settings.precision,
                settings.compile,
                settings.threads,
            )
            self._classifier = self._surroundings.models.acquire(
                key, lambda: ConditionClassifier(self.name, place, settings)
            )
            self._key = key
            digest.update(self._classifier.value.digest.encode())
        self.version = digest.hexdigest()[:16]

    def views(self, frame: Frame) -> list[View]:
        return [*([upright(frame, SIDE)] if self._settings.tell else []), *self._classified(frame)]

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        tell = self._settings.tell
        named = [told(measured(frame), tell) if tell else {} for frame in frames]
        shares = self._shares(frames)
        return [
            Look(probability=None, conditions={**measures, **classes})
            for measures, classes in zip(named, shares, strict=True)
        ]

    def _classified(self, frame: Frame) -> list[View]:
        """What the classifier looks at; its own processor shrinks whole frames best."""
        if (settings := self._settings.classifier) is None:
            return []
        return cut_views(frame, settings, max(frame.width, frame.height))

    def _shares(self, frames: list[Frame]) -> list[dict[str, float]]:
        """The share of each class, averaged over the views of a frame."""
        if self._classifier is None or self._settings.classifier is None:
            return [{} for _ in frames]
        classifier, batch = self._classifier.value, self._settings.classifier.batch
        cut = [self._classified(frame) for frame in frames]
        pictures = [view.pixels for views in cut for view in views]
        found = np.concatenate(
            [classifier.shares(pictures[at : at + batch]) for at in range(0, len(pictures), batch)]
        )
        parts = np.split(found, np.cumsum([len(views) for views in cut])[:-1])
        return [
            dict(zip(classifier.names, part.mean(axis=0).clip(0.0, 1.0).tolist(), strict=True))
            for part in parts
        ]

    async def close(self) -> None:
        await super().close()
        if self._key is not None:
            self._surroundings.models.release(self._key)
            self._key = self._classifier = None


FAMILY = Family(type="conditions", settings=ConditionsSettings, build=Conditions, votes=False)
