"""Experts that judge every view of a frame by itself and pool what they found."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.looking import cut_views
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.weights.runtimes import RuntimeSettings
from natix_miner.images import Frame, View
from natix_miner.images.frame import Pixels
from natix_miner.log_odds import expit


class ByViewSettings(RuntimeSettings):
    """Of several views the average log-odds counts (`combine: mean`) or the most alarming (`max`).

    At most `batch` pictures go through the network at once.
    """

    combine: Literal["mean", "max"] = "mean"


class ByViewExpert(InProcessExpert):
    """Subclasses write `load` and `log_odds`, and set `side` once they know it."""

    #: The longer side in pixels of what the network sees.
    side = 224

    def __init__(self, name: str, settings: ByViewSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, settings.batch_limits(), clock)
        self._looking = settings

    @abstractmethod
    def log_odds(self, pictures: list[Pixels]) -> NDArray[np.floating]:
        """Natural log-odds (n,) of roadwork in n RGB pictures (h, w, 3) of any sizes."""

    def views(self, frame: Frame) -> list[View]:
        # The network's own processor shrinks best; only tiles must be told how much to hold.
        tiled = "tiles" in self._looking.views
        return cut_views(
            frame, self._looking, 2 * self.side if tiled else max(frame.width, frame.height)
        )

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        cut = [self.views(frame) for frame in frames]
        pictures = [view.pixels for views in cut for view in views]
        size = self._looking.batch
        odds = iter(
            np.concatenate(
                [
                    self.log_odds(pictures[start : start + size])
                    for start in range(0, len(pictures), size)
                ]
            ).tolist()
        )
        return [self._pooled([(view, next(odds)) for view in views]) for views in cut]

    def _pooled(self, seen: list[tuple[View, float]]) -> Look:
        odds = [found for _, found in seen]
        pooled = max(odds) if self._looking.combine == "max" else sum(odds) / len(odds)
        if len(seen) == 1:
            return Look(probability=expit(pooled))
        view, strongest = max(seen, key=lambda pair: pair[1])
        left, top, right, bottom = view.box
        evidence = Evidence(view.name, expit(strongest), (left, top, right, bottom))
        return Look(probability=expit(pooled), evidence=(evidence,))
