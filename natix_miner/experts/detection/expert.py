"""The expert behind every detector: views in, boxes merged, one probability out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.clock import Deadline
from natix_miner.errors import ModelError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.merging import merged
from natix_miner.experts.detection.rule import BoxRule, Found, cause, load_rule, probability_of
from natix_miner.experts.detection.settings import DetectionSettings
from natix_miner.experts.detection.vocabulary import Vocabulary
from natix_miner.experts.family import Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.looking import cut_views, is_tile
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.images import Frame, View
from natix_miner.images.frame import Pixels

#: So many objects go into the trace, those that weigh most.
TRACED = 8
#: What is kept back of the time for merging, rule and answer.
SPARE_SECONDS = 0.05


class DetectorExpert(InProcessExpert):
    """Subclasses write `load_detector` and `detect`; everything else is the same for all vendors.

    A coarse pass over the views that show the picture as a whole; then, for large frames that left
    it unsure, the tiles, as far as time allows. What was given up is in the opinion's `detail`.
    """

    #: The longer side of a view where the profile names none.
    view_size = 1280

    def __init__(
        self,
        name: str,
        settings: DetectionSettings,
        surroundings: Surroundings,
    ) -> None:
        super().__init__(name, settings.batch_limits(), surroundings.clock)
        self._detection = settings
        self._surroundings = surroundings
        self._rule_file = surroundings.folder / settings.rule
        self._rule: BoxRule | None = None
        self._meaning: Vocabulary | None = None
        self._remark = ""
        self._seconds_per_view = 0.0

    @abstractmethod
    def load_detector(self) -> tuple[Vocabulary, str]:
        """Load the model; the vocabulary of its labels and the digest of its weights.

        Raises ModelError."""

    @abstractmethod
    def detect(self, pictures: list[Pixels]) -> list[Detections]:
        """Objects in each RGB picture (h, w, 3), of any sizes, in pixels of that picture, in order.

        Scores below the threshold need not be told."""

    def load(self) -> None:
        self._rule = load_rule(self._rule_file)
        self._meaning, digest = self.load_detector()
        self.version = f"{digest}:{self._rule.digest()}"
        if self._meaning.weak:
            self._remark = "weak evidence: the model's classes know no roadwork"
        self._timed(self.detect, [np.zeros((224, 224, 3), np.uint8)])

    def views(self, frame: Frame) -> list[View]:
        return cut_views(frame, self._detection, self.view_size)

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        return self.look_within(frames, [Deadline(float("inf"), self._clock)] * len(frames))

    def look_within(
        self, frames: list[Frame], deadlines: list[Deadline]
    ) -> Sequence[Look | Exception]:
        cut = [self.views(frame) for frame in frames]
        coarse = [[v for v in views if not is_tile(v)] or views for views in cut]
        seen = self._detect_all(frames, coarse)
        looks = [self._look_of(f, found, "") for f, found in zip(frames, seen, strict=True)]
        for number, (frame, views, due) in enumerate(zip(frames, cut, deadlines, strict=True)):
            fine = [view for view in views if view not in coarse[number]]
            if not fine:
                continue
            first = looks[number].probability or 0.0
            if first >= self._detection.sure_at:
                continue
            fitting = self._fitting(len(fine), due)
            if fitting:
                seen[number] += self._detect_all([frame], [fine[:fitting]])[0]
            given_up = len(fine) - fitting
            remark = f"no time for {given_up} of {len(fine)} tiles" if given_up else ""
            looks[number] = self._look_of(frame, seen[number], remark)
        return looks

    def _fitting(self, wanted: int, due: Deadline) -> int:
        """How many of so many views can be looked at before the deadline."""
        if self._seconds_per_view <= 0.0:
            return wanted
        left = due.remaining() - SPARE_SECONDS
        return int(max(0.0, min(wanted, left / self._seconds_per_view)))

    def _detect_all(self, frames: list[Frame], cut: list[list[View]]) -> list[list[Detections]]:
        """What each view of each frame shows, in pixels of the frame; all views in one batch."""
        views = [view for views in cut for view in views]
        limit = max(1, self._detection.batch)
        found: list[Detections] = []
        for start in range(0, len(views), limit):
            part = views[start : start + limit]
            found += self._timed(self.detect, [np.ascontiguousarray(v.pixels) for v in part])
        results = iter(zip(views, found, strict=True))
        return [
            [
                seen.placed(view, frame.width, frame.height)
                for view, seen in (next(results) for _ in views_of_frame)
            ]
            for frame, views_of_frame in zip(frames, cut, strict=True)
        ]

    def _timed(self, detect: Any, pictures: list[Pixels]) -> list[Detections]:
        begun = self._clock.monotonic()
        found: list[Detections] = detect(pictures)
        each = (self._clock.monotonic() - begun) / len(pictures)
        # The slower of the last and the one before: a busy machine must not be trusted too soon.
        self._seconds_per_view = max(each, 0.5 * (each + self._seconds_per_view))
        return found

    def _look_of(self, frame: Frame, seen: list[Detections], remark: str) -> Look:
        settings, rule, meaning = self._detection, self._rule, self._meaning
        if rule is None or meaning is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        strong = [part.at_least(settings.threshold) for part in seen]
        every = merged(strong, frame.width, frame.height, settings.merge_iou)
        known = np.array([meaning.class_of(label) is not None for label in every.labels], bool)
        kept = every.chosen(np.flatnonzero(known)[: settings.most_boxes])
        plausible, told = self.plausibility(frame, kept)
        objects = [
            _found(frame, box, float(score), meaning.class_of(label) or "", likely)
            for box, score, label, likely in zip(
                kept.boxes, kept.scores, kept.labels, plausible, strict=True
            )
        ]
        weighing = sorted(range(len(objects)), key=lambda number: -cause(objects[number], rule))
        evidence = tuple(
            Evidence(
                what=kept.labels[number]
                + (f" (size {plausible[number]:.2f})" if plausible[number] < 1.0 else ""),
                score=float(kept.scores[number]),
                box=tuple(float(side) for side in kept.boxes[number]),  # type: ignore[arg-type]
                outline=kept.outlines[number],
            )
            for number in weighing[:TRACED]
        )
        return Look(
            probability=probability_of(objects, rule),
            evidence=evidence,
            detail="; ".join(part for part in (self._remark, told, remark) if part),
        )

    def plausibility(self, frame: Frame, found: Detections) -> tuple[NDArray[np.float64], str]:
        """Factors in [0, 1] by which each object counts, and a remark for the trace."""
        return np.ones(len(found)), ""


def _found(frame: Frame, box: NDArray[np.float64], score: float, kind: str, likely: float) -> Found:
    """A box as the rule sees it: shares of the picture proper, padding left out."""
    geometry = frame.geometry
    width = frame.width - geometry.padding_left - geometry.padding_right
    height = frame.height - geometry.padding_top - geometry.padding_bottom
    area = (box[2] - box[0]) * (box[3] - box[1]) / max(1, width * height)
    bottom = (box[3] - geometry.padding_top) / max(1, height)
    return Found(
        kind,
        score,
        area=float(min(1.0, area)),
        bottom=float(min(1.0, max(0.0, bottom))),
        plausible=float(likely),
    )
