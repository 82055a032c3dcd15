"""Views as servers get them: scaled to a budget of pixels, encoded as JPEG, once for all."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from natix_miner.errors import ExpertError
from natix_miner.images import Frame, View, enlarged, tiles, upright, whole
from natix_miner.images.frame import Pixels

#: Qwen3-VL sees cells of 32 x 32 pixels (patches of 16, merged two by two).
GRID = 32
#: Rounding a side to the grid may stretch the picture by so much, not more.
STRETCH = 0.03
_KEPT_FRAMES = 64
#: Frames of no more pixels are cut and encoded on the spot: it takes about a millisecond.
_AT_ONCE = 400 * 400


def sized(width: int, height: int, least: int, most: int) -> tuple[int, int]:
    """The size to send, aspect kept: area at least `least` and at most `most` pixels.

    A side is rounded to the grid where that stretches it by 3 % or less: the server's processor
    would resize it there anyway. When both bounds cannot be met (very long pictures), `most` holds.
    """
    area = width * height
    scale = math.sqrt(least / area) if area < least else 1.0
    scale = min(scale, math.sqrt(most / area))
    return _to_grid(width * scale), _to_grid(height * scale)


def _to_grid(side: float) -> int:
    near = round(side / GRID) * GRID
    down = math.floor(side)
    return near if near and near <= side and side / near - 1.0 <= STRETCH else max(1, down)


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


def views_of(frame: Frame, kind: str, most: int, limit: int) -> list[View]:
    """The views of one kind, none larger than it is worth cutting for `most` pixels."""
    side = 2 * math.isqrt(most)
    if kind == "whole":
        return [whole(frame, side)]
    if kind == "upright":
        return [upright(frame, side)]
    if kind == "enlarged":
        return [enlarged(frame, math.isqrt(most))]
    return tiles(frame, math.isqrt(most), limit=limit)


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

    def make(self, frame: Frame) -> list[SentView]:
        """Cut, scale and encode; an empty list where the frame has no such views."""
        return [
            SentView(
                view.name,
                view.box,
                encoded(resized(view.pixels, self.least, self.most), self.quality),
            )
            for view in views_of(frame, self.kind, self.most, self.tiles)
        ]


Making = list[SentView] | asyncio.Future[list[SentView]]


class EncodedViews:
    """What was cut and encoded for the latest frames, so that several questions about one view
    share the work. It keeps no frame alive. For one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[weakref.ref[Frame], dict[Sending, Making]]] = (
            OrderedDict()
        )

    async def of(self, frame: Frame, sending: Sending) -> list[SentView]:
        """The views of a frame; large ones are made in a thread, so that nobody else waits."""
        made = self._made_for(frame)
        if sending not in made:
            if frame.width * frame.height <= _AT_ONCE:
                made[sending] = sending.make(frame)
            else:
                made[sending] = asyncio.ensure_future(asyncio.to_thread(sending.make, frame))
        views = made[sending]
        if isinstance(views, list):
            return views
        # Whoever gives up waiting must not take the work away from the others.
        return await asyncio.shield(views)

    def _made_for(self, frame: Frame) -> dict[Sending, Making]:
        kept = self._kept.pop(id(frame), None)
        if kept is None or kept[0]() is not frame:
            kept = (weakref.ref(frame), {})
        self._kept[id(frame)] = kept
        while len(self._kept) > _KEPT_FRAMES:
            self._kept.popitem(last=False)
        return kept[1]
