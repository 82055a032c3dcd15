"""One object seen in several views is one object: weighted box fusion over the views' boxes.

Source: Solovyev, Wang, Gabruseva, "Weighted boxes fusion", 2021 (arXiv 1910.13302), through the
library of its authors, ensemble-boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from natix_miner.errors import MissingExtraError
from natix_miner.experts.detection.detections import Detections


def merged(several: Sequence[Detections], width: int, height: int, iou: float) -> Detections:
    """The results of several views, in pixels of one frame (`width` x `height`), as one.

    Boxes of one label that overlap by `iou` become one: its corners are their mean weighted by
    score, its score the highest of them (an object that only one tile shows is no less there), its
    outline that of the highest. Best first. Raises MissingExtraError without the library.
    """
    parts = [part for part in several if len(part)]
    if len(parts) < 2:
        found = parts[0] if parts else Detections.none()
        return found.chosen(np.argsort(-found.scores, kind="stable"))
    try:
        from ensemble_boxes import weighted_boxes_fusion
    except ImportError as error:
        raise MissingExtraError(
            "merging boxes of several views needs ensemble-boxes: "
            "pip install 'natix-miner[detectors]'"
        ) from error
    names = sorted({label for part in parts for label in part.labels})
    index = {name: number for number, name in enumerate(names)}
    scale = np.array((width, height, width, height), np.float64)
    boxes, scores, labels = weighted_boxes_fusion(
        [(part.boxes / scale).clip(0.0, 1.0).tolist() for part in parts],
        [part.scores.tolist() for part in parts],
        [[index[label] for label in part.labels] for part in parts],
        weights=None,
        iou_thr=iou,
        skip_box_thr=0.0,
        conf_type="max",
    )
    every = Detections.joined(parts)
    said = [names[int(label)] for label in labels]
    corners = np.asarray(boxes, np.float64) * scale
    outlines = [_outline(every, box, label) for box, label in zip(corners, said, strict=True)]
    fused = Detections.of(corners, scores, said, outlines)
    return fused.chosen(np.argsort(-fused.scores, kind="stable"))


def _outline(every: Detections, box: np.ndarray, label: str) -> tuple[tuple[float, float], ...]:
    """The outline of the object that lies nearest to a fused box, of the same label."""
    same = [
        number
        for number, (name, outline) in enumerate(zip(every.labels, every.outlines, strict=True))
        if name == label and outline
    ]
    if not same:
        return ()
    distance = np.abs(every.boxes[same] - box).sum(1)
    nearest = int(distance.argmin())
    reach = (box[2] - box[0]) + (box[3] - box[1])
    return every.outlines[same[nearest]] if distance[nearest] <= reach else ()
