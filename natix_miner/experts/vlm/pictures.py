"""Views as servers get them: scaled to a budget of pixels, encoded as JPEG, once for all."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from natix_miner.errors import ExpertError
from natix_miner.experts.vlm.sizing import sized
from natix_miner.images import Frame, View, enlarged, tiles, upright, whole
from natix_miner.images.frame import Pixels

#: So many frames at once share their views; more at the same time are encoded for each expert.
KEPT_FRAMES = 64
#: Up to so many pixels are cut and encoded on the event loop: about a millisecond of one core. A
#: 512 x 512 view takes four to eight, and would hold up everybody else.
AT_ONCE = 256 * 256


def resized(pixels: Pixels, least: int, most: int) -> Pixels:
    """The picture at its size to send; shrinking averages areas, enlarging interpolates."""
    height, width = pixels.shape[:2]
    to = sized(width, height, least, most)
    if to == (width, height):
        return pixels
    how = cv2.INTER_AREA if to[0] * to[1] < width * height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, to, interpolation=how), np.uint8)


def encoded(pixels: Pixels, quality: int) -> bytes:
    """JPEG bytes of an RGB picture; raises ExpertError when OpenCV cannot."""
    bgr = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ExpertError(f"a view of {pixels.shape[1]} x {pixels.shape[0]} cannot be encoded")
    return data.tobytes()


@dataclass(frozen=True, slots=True)
class SentView:
    """A view ready to send: its name, where it lies in the frame, its JPEG."""

    name: str
    box: tuple[float, float, float, float]
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Sending:
    """Which views are sent, and how: `kind` of view, area between `least` and `most` pixels, at
    most `tiles` tiles, JPEG `quality`."""

    kind: str
    least: int
    most: int
    tiles: int
    quality: int

    def views(self, frame: Frame) -> list[View]:
        """The views at the size they are sent; an empty list where the frame has none."""
        return [
            replace(view, pixels=resized(view.pixels, self.least, self.most))
            for view in self._cut(frame)
        ]

    def make(self, frame: Frame) -> list[SentView]:
        """The same, encoded."""
        return [
            SentView(view.name, view.box, encoded(view.pixels, self.quality))
            for view in self.views(frame)
        ]

    def work(self, frame: Frame) -> int:
        """Pixels that cutting and encoding touch, at most."""
        area = frame.width * frame.height
        if self.kind == "tiles":
            return max(area, self.tiles * self.most)
        sent = self.most if self.kind == "enlarged" else min(max(area, self.least), self.most)
        return max(area, sent)

    def _cut(self, frame: Frame) -> list[View]:
        # Cut at the frame's own scale where possible: then pixels are resampled only once.
        if self.kind == "whole":
            return [whole(frame, max(frame.width, frame.height))]
        if self.kind == "upright":
            return [upright(frame)]
        side = math.isqrt(self.most)
        if self.kind == "enlarged":
            return [enlarged(frame, side)]
        return tiles(frame, side, limit=self.tiles)


Making = list[SentView] | asyncio.Future[list[SentView]]
Kept = OrderedDict[int, tuple[weakref.ref[Frame], dict[Sending, Making]]]


class EncodedViews:
    """What was cut and encoded for the frames at hand, so that several questions about one view
    share the work. It keeps no frame alive and forgets what was made of it when it is gone.

    Work of more than `at_once` pixels is done in a thread. For one event loop.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._kept: Kept = OrderedDict()

    def __len__(self) -> int:
        """Of how many frames something is kept."""
        return len(self._kept)

    async def of(self, frame: Frame, sending: Sending) -> list[SentView]:
        """The views of a frame, made once; raises ExpertError where one cannot be encoded."""
        made = self._made_for(frame)
        if sending not in made:
            if sending.work(frame) <= self._at_once:
                made[sending] = sending.make(frame)
            else:
                made[sending] = asyncio.ensure_future(asyncio.to_thread(sending.make, frame))
        views = made[sending]
        if isinstance(views, list):
            return views
        # Whoever gives up waiting must not take the work away from the others.
        return await asyncio.shield(views)

    def _made_for(self, frame: Frame) -> dict[Sending, Making]:
        # A frame cannot be hashed (it holds an array), so it goes by its address. `_forget` clears
        # it before another frame can have it; the reference is asked too, as a mistake would be
        # silent: an answer about another picture.
        key = id(frame)
        kept = self._kept.pop(key, None)
        if kept is None or kept[0]() is not frame:
            kept = (weakref.ref(frame, partial(_forget, self._kept, key)), {})
        self._kept[key] = kept
        while len(self._kept) > KEPT_FRAMES:
            self._kept.popitem(last=False)
        return kept[1]


def _forget(kept: Kept, key: int, gone: weakref.ref[Frame]) -> None:
    entry = kept.get(key)
    if entry is not None and entry[0] is gone:
        kept.pop(key, None)
