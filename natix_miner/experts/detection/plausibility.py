"""Whether boxes have a size that what is said to be in them can have, by the depth in the picture.

An auxiliary: it scales down what a detector found, never up, and has no vote. Where it cannot tell
(no focal length, no time, too small a box) every box counts in full, and a remark says so.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from natix_miner.clock import Deadline
from natix_miner.experts.depth import SIZES, DepthModel, factor, focal_of, real_height
from natix_miner.experts.depth.model import load_depth_model, place_and_key
from natix_miner.experts.depth.pinhole import depth_in, is_cut
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.settings import DepthSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.shared import Shared, SharedModels
from natix_miner.images import Frame

Factors = NDArray[np.float64]

#: What is kept back of the time for the rule and the answer.
SPARE_SECONDS = 0.05
#: So many odd sizes are told in a remark, the oddest first.
TOLD = 3


class SizeCheck:
    """The check of one detector; the network behind it may be shared with others."""

    def __init__(
        self,
        settings: DepthSettings,
        shared: Shared[DepthModel],
        models: SharedModels | None = None,
        key: Hashable = None,
    ) -> None:
        self.version = shared.value.version
        self._settings = settings
        self._shared = shared
        self._models = models
        self._key = key

    @classmethod
    def load(cls, name: str, settings: DepthSettings, surroundings: Surroundings) -> SizeCheck:
        """For the detector `name`; raises ModelError, MissingExtraError."""
        place, key = place_and_key(name, settings, surroundings)
        shared: Shared[DepthModel] = surroundings.models.acquire(
            key, lambda: load_depth_model(name, settings, place, surroundings.clock)
        )
        return cls(settings, shared, surroundings.models, key)

    def close(self) -> None:
        """Give the network back; may be called twice."""
        models, self._models = self._models, None
        if models is not None:
            models.release(self._key)

    def factors(
        self, frame: Frame, found: Detections, kinds: Sequence[str], due: Deadline | None = None
    ) -> tuple[Factors, str]:
        """By how much each object counts, in (0, 1], and a remark for the trace.

        `kinds` are the roadwork classes of the objects, in order. Without time until `due` for
        another look at the frame, every object counts in full.
        """
        likely = np.ones(len(found))
        sized = [number for number, kind in enumerate(kinds) if kind in SIZES]
        if not sized:
            return likely, ""
        focal = focal_of(frame, self._settings.horizontal_degrees)
        if (off := self._why_off(frame)) or focal is None:
            return likely, f"depth off: {off or 'focal length unknown'}"
        metres, off = self._metres(frame, focal, due)
        if metres is None:
            return likely, f"depth off: {off}"
        odd: list[tuple[float, str]] = []
        for number in sized:
            box, kind = found.boxes[number], kinds[number]
            away = depth_in(metres, box, found.outlines[number], frame.width, frame.height)
            if away is None:
                continue
            height = real_height(box, away, focal)
            likely[number] = factor(kind, height, cut=is_cut(box, frame))
            if likely[number] < 1.0:
                odd.append((likely[number], f"{kind} of {height:.2g} m"))
        told = ", ".join(words for _, words in sorted(odd)[:TOLD])
        return likely, f"odd sizes: {told}" if told else ""

    def _why_off(self, frame: Frame) -> str:
        if frame.geometry.size_class.value not in self._settings.size_classes:
            return f"sizes in a {frame.geometry.size_class.value} are not checked"
        return "the picture was turned" if frame.geometry.tilt_degrees else ""

    def _metres(
        self, frame: Frame, focal: float, due: Deadline | None
    ) -> tuple[NDArray[np.float32] | None, str]:
        """Depth of a frame in metres, or None and why not."""
        model, lock = self._shared.value, self._shared.lock
        # Another detector may be looking at the same frame just now: its map is worth waiting for.
        left = _left(due)
        if not lock.acquire(timeout=-1.0 if math.isinf(left) else max(0.0, left)):
            return None, "no time"
        try:
            if _left(due) < (0.0 if model.knows(frame) else model.seconds):
                return None, "no time"
            found = model.map_of(frame)
        except (RuntimeError, ValueError) as error:
            return None, f"the model failed: {error}"
        finally:
            lock.release()
        return found.metres(focal, frame.width, frame.height), ""


def _left(due: Deadline | None) -> float:
    """Seconds that may still be spent."""
    return math.inf if due is None else due.remaining() - SPARE_SECONDS
