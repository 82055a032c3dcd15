"""One object seen in several views, or named twice, is one object.

`merged` is weighted box fusion over the boxes of all views. Source: Solovyev, Wang, Gabruseva,
"Weighted boxes fusion", 2021 (arXiv 1910.13302), through the library of its authors,
ensemble-boxes. `distinct` then lets one box of one place count.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import MissingExtraError
from natix_miner.experts.detection.detections import Detections

#: A box of which so much lies in another of its kind shows a part of the same object, such as the
#: half that a tile has left of it.
INSIDE = 0.85
#: Fusion weighs by score: one of 0 would divide by 0.
LEAST_SCORE = 1e-9

Numbers = NDArray[np.float64]


def need_fusion() -> Callable[..., Any]:
    """weighted_boxes_fusion; raises MissingExtraError without the library."""
    try:
        from ensemble_boxes import weighted_boxes_fusion
    except ImportError as error:
        raise MissingExtraError(
            "merging boxes needs ensemble-boxes: pip install 'natix-miner[detectors]'"
        ) from error
    fusion: Callable[..., Any] = weighted_boxes_fusion
    return fusion


def merged(
    several: Sequence[Detections],
    width: int,
    height: int,
    iou: float,
    kind_of: Callable[[str], Hashable] = str,
) -> Detections:
    """The results of several views, in pixels of one frame (`width` x `height`), as one.

    Boxes of one kind (of one label, unless `kind_of` says what labels mean) that overlap by more
    than `iou` become one: its corners are their mean weighted by score; its score, label and
    outline those of the best of them, so an object that only one tile shows is no less there. Best
    first. Raises MissingExtraError without the library.
    """
    fuse = need_fusion()
    scale = np.array((width, height, width, height), np.float64)
    every = _inside(Detections.joined(several), scale)
    if not len(every):
        return every
    number_of: dict[Hashable, int] = {}
    kinds = np.array(
        [number_of.setdefault(kind_of(label), len(number_of)) for label in every.labels]
    )
    # One list, not one a view: with "max" the library asks no more of the lists than their boxes.
    boxes, scores, fused_kinds = fuse(
        [every.boxes / scale],
        [every.scores.clip(min=LEAST_SCORE)],
        [kinds],
        iou_thr=iou,
        skip_box_thr=0.0,
        conf_type="max",
    )
    corners = np.asarray(boxes, np.float64) * scale
    best = [
        _best(every, kinds == kind, box, score)
        for box, score, kind in zip(corners, scores, fused_kinds, strict=True)
    ]
    of_best = every.chosen(np.array(best, np.intp))
    fused = Detections.of(corners, of_best.scores, of_best.labels, of_best.outlines)
    return fused.chosen(np.argsort(-fused.scores, kind="stable"))


def distinct(
    found: Detections, kinds: Sequence[Hashable], weights: Numbers, iou: float
) -> NDArray[np.intp]:
    """Indices of the boxes, in their order, without those that show what another box shows that
    counts more by `weights` (n,).

    That is: boxes that overlap by more than `iou` under two names, and boxes of one of the `kinds`
    (n,) of which one lies within the other.
    """
    kept: list[int] = []
    for number in np.argsort(-weights, kind="stable"):
        shared, areas = _shared(found.boxes[number], found.boxes[kept])
        own = float(_areas(found.boxes[number][None])[0])
        same = shared > iou * (own + areas - shared)
        within = shared >= INSIDE * np.minimum(own, areas)
        alike = np.array([kinds[other] == kinds[number] for other in kept], np.bool_)
        if not (same | (within & alike)).any():
            kept.append(int(number))
    return np.array(sorted(kept), np.intp)


def _inside(found: Detections, scale: NDArray[np.float64]) -> Detections:
    """Clipped to the frame, without what has no area there: the library warns of either."""
    return Detections.of(found.boxes.clip(0.0, scale), found.scores, found.labels, found.outlines)


def _best(every: Detections, of_kind: NDArray[np.bool_], box: Numbers, score: float) -> int:
    """The box whose score a fused one has: of those of its kind the one that overlaps it most."""
    # The library counts in single precision.
    alike = np.flatnonzero(of_kind & (np.abs(every.scores.clip(min=LEAST_SCORE) - score) < 1e-6))
    shared, areas = _shared(box, every.boxes[alike])
    return int(alike[int(np.argmax(shared / (areas + _areas(box[None])[0] - shared)))])


def _areas(boxes: Numbers) -> Numbers:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(1), np.float64)


def _shared(box: Numbers, others: Numbers) -> tuple[Numbers, Numbers]:
    """The area that one box has in common with others (n, 4), and the areas of those."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.asarray(sides.clip(0.0).prod(1), np.float64), _areas(others)
