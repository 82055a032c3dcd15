"""The ultralytics family: YOLO26, YOLO11, YOLOE, YOLO-World and RT-DETR from their .pt files.

The package and its weights are under AGPL-3.0. Checkpoints of the forks YOLOv13 and YOLO-Master run
where the fork is installed in place of the package.
"""

from __future__ import annotations

from typing import Any

from natix_miner.errors import ModelError
from natix_miner.experts.base import Expert
from natix_miner.experts.detection import Detections, DetectorExpert, Vocabulary, outline_of
from natix_miner.experts.detection.vocabulary import vocabulary_of
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.ultralytics.borrowed import Borrowed
from natix_miner.experts.ultralytics.classifier import UltralyticsClassifier
from natix_miner.experts.ultralytics.settings import UltralyticsSettings
from natix_miner.images.frame import Pixels


class UltralyticsDetector(DetectorExpert):
    """Boxes and outlines of a detecting or segmenting checkpoint."""

    def __init__(
        self, name: str, settings: UltralyticsSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings, surroundings)
        self._settings = settings
        self._borrowed = Borrowed(name, settings, surroundings)
        self._wanted: list[int] = []

    def load_detector(self) -> tuple[Vocabulary, str]:
        self._check_phrases()
        runner = self._borrowed.load()
        # What is cut to the network's own size is not scaled a second time.
        self.view_size = self._borrowed.size
        try:
            meaning = self._meaning_of(runner.names)
        except ModelError:
            self._borrowed.give_back()
            raise
        self._wanted = [
            number
            for number, label in enumerate(runner.names)
            if meaning.class_of(label) is not None
        ]
        return meaning, runner.version

    def _check_phrases(self) -> None:
        """Looking for what counts nothing would cost time and change nothing."""
        known = self._rule.weights if self._rule is not None else {}
        if unknown := {p: kind for p, kind in self._settings.phrases.items() if kind not in known}:
            raise ModelError(
                f"expert {self.name!r}: {unknown} name roadwork classes without a weight in "
                f"{self._rule_file}; it weighs {', '.join(known)}"
            )

    def _meaning_of(self, labels: tuple[str, ...]) -> Vocabulary:
        if self._settings.phrases:
            return Vocabulary(classes=self._settings.phrases, source="the profile")
        return vocabulary_of(labels, self._settings.vocabulary, self.name)[1]

    def detect(self, pictures: list[Pixels]) -> list[Detections]:
        results = self._borrowed.look(pictures, self._settings.threshold, self._wanted)
        return [_found(each) for each in results]

    async def close(self) -> None:
        await super().close()
        self._borrowed.give_back()


def _found(result: Any) -> Detections:
    """A result of the package, in pixels of its picture."""
    boxes = result.boxes
    outlines = None
    if result.masks is not None:
        outlines = [outline_of(mask) for mask in result.masks.data.cpu().numpy() > 0.5]
    return Detections.of(
        boxes.xyxy.float().cpu().numpy(),
        boxes.conf.float().cpu().numpy(),
        [str(result.names[int(number)]) for number in boxes.cls.tolist()],
        outlines,
    )


def build(name: str, settings: UltralyticsSettings, surroundings: Surroundings) -> Expert:
    """A detector or a classifier, as the settings' `task` says."""
    kind = UltralyticsClassifier if settings.task == "classify" else UltralyticsDetector
    return kind(name, settings, surroundings)


FAMILY = Family(type="ultralytics", settings=UltralyticsSettings, build=build)
