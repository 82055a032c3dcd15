"""Detectors of transformers with a fixed list of classes: RT-DETRv2, D-FINE, RF-DETR, DEIMv2, and
the older classes with the same interface (RT-DETR, LW-DETR, DETR, YOLOS).

What their labels mean for roadwork is in a vocabulary. Those trained on COCO know no cone and give
weak evidence; D-FINE on Objects365 does.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

from natix_miner.errors import ModelError
from natix_miner.experts.detection import Detections, DetectorExpert, Vocabulary
from natix_miner.experts.detection.saved_detectors import (
    Loaded,
    SavedDetectorSettings,
    detected,
    load_saved_detector,
)
from natix_miner.experts.detection.vocabulary import vocabulary_of
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.weights.locating import locate
from natix_miner.experts.weights.shared import Shared
from natix_miner.images.frame import Pixels
from natix_miner.torch_stack import torch_stack


class TransformersDetectorSettings(SavedDetectorSettings):
    """A saved detector, by its folder or its key in the catalogue."""

    type: Literal["transformers-detector"] = "transformers-detector"


class TransformersDetector(DetectorExpert):
    """One forward pass over all pictures that the processor brings to one size."""

    def __init__(
        self, name: str, settings: TransformersDetectorSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings, surroundings)
        self._settings = settings
        self._shared: Shared[Loaded] | None = None
        self._key: Hashable = None

    def load_detector(self) -> tuple[Vocabulary, str]:
        torch_stack(self.name)
        place = locate(self.name, self._settings, self._surroundings)
        self._give_back()
        wanted = ("device", "precision", "compile", "image_size", "runtime", "threads")
        key = (self._settings.type, place, *(getattr(self._settings, each) for each in wanted))
        self._shared = self._surroundings.models.acquire(
            key, lambda: load_saved_detector(self.name, self._settings, place)
        )
        self._key = key
        loaded = self._shared.value
        try:
            _, meaning = vocabulary_of(loaded.names.values(), self._settings.vocabulary, self.name)
        except ModelError:
            self._give_back()
            raise
        return meaning, loaded.digest

    def detect(self, pictures: list[Pixels]) -> list[Detections]:
        if self._shared is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        with self._shared.lock:
            return detected(self._shared.value, pictures, self._settings.threshold)

    async def close(self) -> None:
        await super().close()
        self._give_back()

    def _give_back(self) -> None:
        if self._shared is not None:
            self._surroundings.models.release(self._key)
        self._shared = None


FAMILY = Family(
    type="transformers-detector",
    settings=TransformersDetectorSettings,
    build=TransformersDetector,
)
