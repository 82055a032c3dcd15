"""The expert behind every detector: views in, boxes merged, one probability out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from natix_miner.clock import Deadline
from natix_miner.errors import ModelError
from natix_miner.experts.detection.detections import Detections, worded
from natix_miner.experts.detection.merging import distinct, merged, need_fusion
from natix_miner.experts.detection.plausibility import SizeCheck
from natix_miner.experts.detection.rule import (
    Box,
    BoxRule,
    Found,
    cause,
    load_rule,
    probability_of,
    proper_of,
)
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
#: The side of the square on which the time of one view is measured first, at most.
TIMED_SIDE = 1280


class DetectorExpert(InProcessExpert):
    """Subclasses write `load_detector` and `detect`; everything else is the same for all vendors.

    A coarse pass over the views that show the picture as a whole (where only tiles are asked for:
    over the first of them); then, for large frames that left it unsure, the tiles, as far as time
    allows. What was given up is in the opinion's `detail`.
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
        self._sizes: SizeCheck | None = None
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
        self.version = f"{digest}:{self._rule.digest()}:{self._meaning.digest()}"
        if self._detection.depth is not None:
            self._sizes = SizeCheck.load(self.name, self._detection.depth, self._surroundings)
            self.version += f":{self._sizes.version}"
        if self._meaning.weak:
            self._note("weak evidence: the model's classes know no roadwork")
        self._warm_up()

    def _warm_up(self) -> None:
        """The first look is slower than all others and says nothing of the time a view takes."""
        need_fusion()
        side = min(TIMED_SIDE, self._detection.view_size or self.view_size)
        nothing = [np.zeros((side, side, 3), np.uint8)]
        self.detect(nothing)
        self._seconds_per_view = 0.0
        self._timed_detect(nothing)

    def _note(self, remark: str) -> None:
        """A remark that goes with every look."""
        if remark not in self._remark:
            self._remark = "; ".join(part for part in (self._remark, remark) if part)

    def views(self, frame: Frame) -> list[View]:
        return cut_views(frame, self._detection, self.view_size)

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        return self.look_within(frames, [Deadline(float("inf"), self._clock)] * len(frames))

    def look_within(
        self, frames: list[Frame], deadlines: list[Deadline]
    ) -> Sequence[Look | Exception]:
        cut = [_coarse_and_fine(self.views(frame)) for frame in frames]
        seen = self._detect_all(frames, [coarse for coarse, _ in cut])
        looks = []
        for frame, found, (_, fine), due in zip(frames, seen, cut, deadlines, strict=True):
            look = self._look_of(frame, found, "", due)
            if fine and (look.probability or 0.0) < self._detection.sure_at:
                more, remark = self._tiles_within(frame, fine, due)
                look = self._look_of(frame, found + more, remark, due)
            looks.append(look)
        return looks

    def _tiles_within(
        self, frame: Frame, tiles: list[View], due: Deadline
    ) -> tuple[list[Detections], str]:
        """What the tiles show, as many as fit in the time; a remark when some do not."""
        found: list[Detections] = []
        while len(found) < len(tiles):
            fitting = self._fitting(len(tiles) - len(found), due)
            part = tiles[len(found) :][: min(fitting, self._detection.batch)]
            if not part:
                break
            found += self._detect_all([frame], [part])[0]
        given_up = len(tiles) - len(found)
        return found, f"no time for {given_up} of {len(tiles)} tiles" if given_up else ""

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
            found += self._timed_detect([np.ascontiguousarray(view.pixels) for view in part])
        results = iter(zip(views, found, strict=True))
        return [
            [
                seen.placed(view, frame.width, frame.height)
                for view, seen in (next(results) for _ in views_of_frame)
            ]
            for frame, views_of_frame in zip(frames, cut, strict=True)
        ]

    def _timed_detect(self, pictures: list[Pixels]) -> list[Detections]:
        begun = self._clock.monotonic()
        found = self.detect(pictures)
        each = (self._clock.monotonic() - begun) / len(pictures)
        # The slower of the last and the one before: a busy machine must not be trusted too soon.
        self._seconds_per_view = max(each, 0.5 * (each + self._seconds_per_view))
        return found

    def _look_of(
        self, frame: Frame, seen: list[Detections], remark: str, due: Deadline | None = None
    ) -> Look:
        settings, rule, meaning = self._detection, self._rule, self._meaning
        if rule is None or meaning is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        known = [part.at_least(settings.threshold).known_to(meaning) for part in seen]
        every = merged(known, frame.width, frame.height, settings.merge_iou, meaning.class_of)
        kinds = [meaning.class_of(label) or "" for label in every.labels]
        proper = proper_of(frame)
        objects = [
            Found.within(proper, _corners(box), kind, float(score))
            for box, kind, score in zip(every.boxes, kinds, every.scores, strict=True)
        ]
        causes = np.array([cause(found, rule) for found in objects])
        counting = distinct(every, kinds, causes, settings.merge_iou)
        kept = every.chosen(counting[: settings.most_boxes])
        plausible, told = self.plausibility(frame, kept, due)
        counted = [
            replace(objects[number], plausible=float(likely))
            for number, likely in zip(counting, plausible, strict=False)
        ]
        # That a model which knows no roadwork found nothing says nothing.
        silent = meaning.weak and not counted
        remarks = (
            self._remark,
            "nothing found, no vote" if silent else "",
            told,
            remark,
            *_untold(len(kept), len(counting) - len(kept)),
        )
        return Look(
            probability=probability_of(counted, rule),
            trust=0.0 if silent else 1.0,
            evidence=_evidence(kept, counted, rule),
            detail="; ".join(part for part in remarks if part),
        )

    def plausibility(
        self, frame: Frame, found: Detections, due: Deadline | None = None
    ) -> tuple[NDArray[np.float64], str]:
        """Factors in [0, 1] by which each object counts, and a remark for the trace."""
        if self._sizes is None or self._meaning is None:
            return np.ones(len(found)), ""
        kinds = [self._meaning.class_of(label) or "" for label in found.labels]
        return self._sizes.factors(frame, found, kinds, due)

    async def close(self) -> None:
        await super().close()
        if self._sizes is not None:
            self._sizes.close()


def _coarse_and_fine(views: list[View]) -> tuple[list[View], list[View]]:
    """What is looked at in any case, and the tiles that follow where there is time."""
    tiles = [view for view in views if is_tile(view)]
    whole = [view for view in views if not is_tile(view)]
    return (whole, tiles) if whole else (tiles[:1], tiles[1:])


def _corners(box: NDArray[np.float64]) -> Box:
    left, top, right, bottom = box.tolist()
    return left, top, right, bottom


def _evidence(kept: Detections, counted: list[Found], rule: BoxRule) -> tuple[Evidence, ...]:
    """The objects that weigh most, the heaviest first."""
    order = sorted(range(len(counted)), key=lambda number: -cause(counted[number], rule))
    return tuple(
        Evidence(
            what=worded(kept.labels[number], counted[number].plausible),
            score=float(kept.scores[number]),
            box=_corners(kept.boxes[number]),
            outline=kept.outlines[number],
        )
        for number in order[:TRACED]
    )


def _untold(counted: int, beyond: int) -> tuple[str, str]:
    """Remarks on objects that the trace does not show, or that do not count."""
    return (
        f"{counted - TRACED} more objects count" if counted > TRACED else "",
        f"{beyond} objects beyond `most_boxes` do not count" if beyond else "",
    )
