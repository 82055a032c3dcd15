"""The one result type of all detectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from natix_miner.experts.detection.vocabulary import Vocabulary
from natix_miner.images import View

Outline = tuple[tuple[float, float], ...]

#: Corners of an outline lie at most so many pixels beside the mask's edge.
OUTLINE_TOLERANCE = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found in one picture, of n boxes.

    `boxes` (n, 4) are left, top, right, bottom in pixels (continuous, the upper left corner of the
    picture is 0, 0); `scores` (n,) in [0, 1] on the detector's own scale; `labels` as the model
    names them; `outlines` are polygons of masks in the same pixels, empty where there is none.
    Adapters make them in pixels of the view, `placed` brings them to the frame.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: tuple[str, ...]
    outlines: tuple[Outline, ...]

    @classmethod
    def of(
        cls,
        boxes: object,
        scores: object,
        labels: Sequence[str],
        outlines: Sequence[Outline] | None = None,
    ) -> Detections:
        """Checked and brought to shape; rows that hold a value that is not finite, or no area, are
        left out, scores are clipped to [0, 1].

        Raises ValueError when the lengths differ.
        """
        found = np.asarray(boxes, np.float64).reshape(-1, 4)
        sure = np.asarray(scores, np.float64).reshape(-1)
        drawn = tuple(outlines) if outlines is not None else ((),) * len(found)
        if not len(found) == len(sure) == len(labels) == len(drawn):
            raise ValueError(
                f"{len(found)} boxes, {len(sure)} scores, {len(labels)} labels and {len(drawn)} "
                "outlines do not belong together"
            )
        good = np.isfinite(found).all(1) & np.isfinite(sure)
        good &= (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
        return cls(found, np.clip(sure, 0.0, 1.0), tuple(labels), drawn).chosen(good)

    @classmethod
    def none(cls) -> Detections:
        """No objects."""
        return cls(np.zeros((0, 4)), np.zeros(0), (), ())

    @classmethod
    def joined(cls, several: Iterable[Detections]) -> Detections:
        """All objects of several results, one after the other."""
        parts = [part for part in several if len(part)]
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            tuple(label for part in parts for label in part.labels),
            tuple(outline for part in parts for outline in part.outlines),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """Those of a mask (n,) or of indices, in that order."""
        indices = np.flatnonzero(which) if which.dtype == np.bool_ else which
        return Detections(
            self.boxes[indices],
            self.scores[indices],
            tuple(self.labels[index] for index in indices),
            tuple(self.outlines[index] for index in indices),
        )

    def known_to(self, vocabulary: Vocabulary) -> Detections:
        """Those whose label means something for roadwork."""
        known = [vocabulary.class_of(label) is not None for label in self.labels]
        return self.chosen(np.array(known, np.bool_))

    def at_least(self, score: float) -> Detections:
        """Those with at least this score."""
        return self.chosen(self.scores >= score)

    def placed(self, view: View, width: int, height: int) -> Detections:
        """The same in pixels of the frame (`width` x `height`) that the view was cut from, clipped
        to it; what lies outside of it is left out."""
        size = (width, height)
        boxes = view.placed_boxes(self.boxes).clip(0, size * 2)
        outlines = [
            tuple((float(x), float(y)) for x, y in view.placed(np.array(line)).clip(0, size))
            if line
            else ()
            for line in self.outlines
        ]
        return Detections.of(boxes, self.scores, self.labels, outlines)


def worded(label: str, plausible: float = 1.0) -> str:
    """How the trace names an object; one of a doubtful size says by which factor it counts less."""
    return label if plausible >= 1.0 else f"{label} (size {plausible:.2f})"


def unworded(what: str) -> tuple[str, float]:
    """Label and factor of what the trace says of an object."""
    found = re.fullmatch(r"(.*) \(size ([01]\.\d\d)\)", what, re.DOTALL)
    return (found[1], float(found[2])) if found else (what, 1.0)


def outline_of(mask: NDArray[np.bool_]) -> Outline:
    """The polygon around the largest part of a mask (h, w), in its pixels; empty where the mask is,
    or where it is thinner than two pixels."""
    found, _ = cv2.findContours(
        np.ascontiguousarray(mask, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    if not found:
        return ()
    largest = max(found, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, OUTLINE_TOLERANCE, closed=True).reshape(-1, 2)
    if len(simple) < 3:
        return ()
    return tuple((float(x) + 0.5, float(y) + 0.5) for x, y in simple)
