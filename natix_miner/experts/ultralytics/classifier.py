"""Classifying checkpoints of the ultralytics family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from natix_miner.errors import ModelError
from natix_miner.experts.family import Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.looking import cut_views
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.ultralytics.borrowed import Borrowed
from natix_miner.experts.ultralytics.settings import UltralyticsSettings
from natix_miner.images import Frame, View
from natix_miner.images.frame import Pixels
from natix_miner.log_odds import expit, logit


class UltralyticsClassifier(InProcessExpert):
    """The share of the positive classes; of several views the mean log-odds, or the highest."""

    def __init__(
        self, name: str, settings: UltralyticsSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings.batch_limits(), surroundings.clock)
        self._settings = settings
        self._borrowed = Borrowed(name, settings, surroundings)
        self._positive: list[int] = []

    def load(self) -> None:
        runner = self._borrowed.load()
        wanted = {name.casefold() for name in self._settings.classify_positive}
        self._positive = [
            number for number, label in enumerate(runner.names) if label.casefold() in wanted
        ]
        if not self._positive or len(self._positive) == len(runner.names):
            self._borrowed.give_back()
            raise ModelError(
                f"expert {self.name!r}: the model's classes are {', '.join(runner.names[:20])}, of "
                f"which `classify_positive` names {list(self._settings.classify_positive)}: that "
                "must be some of them, not none and not all"
            )
        self.version = runner.version
        self._shares([np.zeros((64, 64, 3), np.uint8)])

    def views(self, frame: Frame) -> list[View]:
        # The package shrinks and crops by itself; only tiles must be told how much to hold.
        tiled = "tiles" in self._settings.views
        side = 2 * self._borrowed.size if tiled else max(frame.width, frame.height)
        return cut_views(frame, self._settings, side)

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        cut = [self.views(frame) for frame in frames]
        pictures = [view.pixels for views in cut for view in views]
        size = self._settings.batch
        shares: list[float] = []
        for start in range(0, len(pictures), size):
            shares += self._shares(pictures[start : start + size])
        said = iter(shares)
        return [self._pooled([(view, next(said)) for view in views]) for views in cut]

    def _pooled(self, seen: list[tuple[View, float]]) -> Look:
        """One opinion of all views of a frame, with the most alarming one as evidence."""
        view, highest = max(seen, key=lambda pair: pair[1])
        if len(seen) == 1:
            return Look(probability=highest)
        odds = [logit(share) for _, share in seen]
        alone = self._settings.combine == "max"
        left, top, right, bottom = view.box
        return Look(
            probability=highest if alone else expit(sum(odds) / len(odds)),
            evidence=(Evidence(view.name, highest, (left, top, right, bottom)),),
        )

    def _shares(self, pictures: list[Pixels]) -> list[float]:
        """The positive classes' probability in each picture."""
        found = self._borrowed.look(pictures, threshold=0.0)
        # Rounding may lift the sum of a few above one.
        return [
            min(1.0, float(each.probs.data.float()[self._positive].sum().item())) for each in found
        ]

    async def close(self) -> None:
        await super().close()
        self._borrowed.give_back()
