"""Networks that tell the depth of every pixel, loaded once and looked at once a frame."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.locating import Place, locate
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.images import Frame
from natix_miner.images.frame import Pixels

#: So many frames keep their map: a batch of several detectors that share one network.
KEPT_FRAMES = 16
#: Height, width and colours of the picture a network is warmed up with.
WARM_UP = (720, 1280, 3)


class DepthSource(Protocol):
    """The settings that say which network tells the depth: `loader` is depth-anything-v2 or
    depth-anything-3, `weights` where it lies and how it runs."""

    @property
    def loader(self) -> str:
        """The library that loads it."""
        ...

    @property
    def weights(self) -> ModelSettings:
        """Place, device, precision."""
        ...


@dataclass(frozen=True, slots=True)
class DepthMap:
    """What a network says of one picture, at the network's own scale.

    `values` (h, w) are metres along the optical axis for a camera whose focal length is `for_focal`
    pixels of this map, or metres as they are when that is None. Nothing is known beyond `reach`
    metres.
    """

    values: NDArray[np.float32]
    reach: float = float("inf")
    for_focal: float | None = None

    def metres(self, focal: float, width: int, height: int) -> NDArray[np.float32]:
        """Depth in metres (h, w), NaN beyond reach; `focal` is in pixels of the frame of `width` x
        `height` that was looked at."""
        metres = self.values
        if self.for_focal is not None:
            rows, columns = self.values.shape
            # Both sides are rounded to whole patches: the mean of the two focal lengths counts.
            shrunk = 0.5 * (columns / width + rows / height)
            metres = metres * np.float32(focal * shrunk / self.for_focal)
        return np.where(metres < self.reach, metres, np.float32(np.nan))


class DepthModel(ABC):
    """A loaded network. Not for two threads at once: hold the lock it is shared with.

    `seconds` is what one look takes: the slower of the last and the one before, as a busy machine
    must not be trusted too soon.
    """

    def __init__(self, version: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self.version = version
        self.seconds = 0.0
        self._clock = clock
        self._kept: dict[int, tuple[weakref.ref[Frame], DepthMap]] = {}

    @abstractmethod
    def look_at(self, pixels: Pixels) -> DepthMap:
        """The depth of one RGB picture (h, w, 3) of any size."""

    def warm_up(self) -> None:
        """The first look, which is slower than those that follow."""
        self.look_at(np.zeros(WARM_UP, np.uint8))
        self._timed(np.zeros(WARM_UP, np.uint8))

    def knows(self, frame: Frame) -> bool:
        """Whether this frame was looked at already."""
        kept = self._kept.get(id(frame))
        return kept is not None and kept[0]() is frame

    def map_of(self, frame: Frame) -> DepthMap:
        """The depth of a frame; looked at once, however many ask."""
        if not self.knows(frame):
            found = self._timed(frame.pixels)
            alive = {key: kept for key, kept in self._kept.items() if kept[0]() is not None}
            while len(alive) >= KEPT_FRAMES:
                alive.pop(next(iter(alive)))
            alive[id(frame)] = (weakref.ref(frame), found)
            self._kept = alive
        return self._kept[id(frame)][1]

    def _timed(self, pixels: Pixels) -> DepthMap:
        begun = self._clock.monotonic()
        found = self.look_at(pixels)
        took = self._clock.monotonic() - begun
        self.seconds = max(took, 0.5 * (took + self.seconds))
        return found


def load_depth_model(name: str, source: DepthSource, place: Place, clock: Clock) -> DepthModel:
    """The network of the expert `name`, warmed up; raises ModelError, MissingExtraError."""
    from natix_miner.experts.depth.anything_v2 import DepthAnythingV2
    from natix_miner.experts.depth.anything_v3 import DepthAnythingV3

    loads = DepthAnythingV3.load if source.loader == "depth-anything-3" else DepthAnythingV2.load
    model: DepthModel = loads(name, source.weights, place, clock)
    model.warm_up()
    return model


def place_and_key(
    name: str, source: DepthSource, surroundings: Surroundings
) -> tuple[Place, Hashable]:
    """Where the network lies, and the key by which experts share it; raises ModelError."""
    weights = source.weights
    place = locate(name, weights, surroundings)
    how = (weights.device, weights.precision, weights.compile)
    return place, ("depth", source.loader, place.location, place.revision, *how)
