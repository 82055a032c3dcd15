"""A detector that sees what a test tells it, and a clock that it moves on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.expert import DetectorExpert
from natix_miner.experts.detection.settings import DetectionSettings
from natix_miner.experts.detection.vocabulary import Vocabulary, vocabulary_named
from natix_miner.experts.family import Surroundings

ROOT = Path(__file__).parents[3]
RULE = ROOT / "models" / "detection" / "rule.json"


class HandClock:
    """Time passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now


class ToldDetector(DetectorExpert):
    """Sees what `sees` says of a picture; each picture takes `seconds`, the very first `first`."""

    def __init__(
        self,
        settings: DetectionSettings,
        surroundings: Surroundings,
        sees: Callable[[np.ndarray], Detections],
        meaning: Vocabulary,
        seconds: float = 0.0,
        first: float = 0.0,
    ) -> None:
        super().__init__("told", settings, surroundings)
        self.calls: list[list[tuple[int, ...]]] = []
        self.seconds, self._first = seconds, first
        self._sees, self._known = sees, meaning

    def load_detector(self) -> tuple[Vocabulary, str]:
        return self._known, "digest"

    def detect(self, pictures: list[np.ndarray]) -> list[Detections]:
        passed = self.seconds * len(pictures) + self._first
        self._first = 0.0
        self.calls.append([picture.shape for picture in pictures])
        self._clock.now += passed
        return [self._sees(picture) for picture in pictures]


def blobs(picture: np.ndarray) -> Detections:
    """Cones where the picture is red, drums where it is blue; the score is 0.6."""
    import cv2

    boxes, labels = [], []
    grey = picture[..., 1] > 60
    for label, channel in (("Cone", 0), ("Drum", 2)):
        other = picture[..., 2 - channel]
        mask = ((picture[..., channel] > 200) & (other < 60) & ~grey).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        for left, top, wide, high, _ in stats[1:]:
            boxes.append((left, top, left + wide, top + high))
            labels.append(label)
    return Detections.of(boxes, [0.6] * len(boxes), labels)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def told(clock: HandClock) -> Callable[..., ToldDetector]:
    """Makes loaded detectors that are told what they see; keys of settings by their names."""

    def make(
        sees: Callable[[np.ndarray], Detections] = blobs,
        meaning: Vocabulary | None = None,
        seconds: float = 0.0,
        first: float = 0.0,
        **section: Any,
    ) -> ToldDetector:
        settings = DetectionSettings(**{"type": "told", "rule": RULE, "view_size": 400, **section})
        made = ToldDetector(
            settings,
            Surroundings(Path(), clock=clock),
            sees,
            meaning or vocabulary_named("roadwork-19"),
            seconds,
            first,
        )
        made.load()
        made.calls.clear()
        return made

    return make
