"""The picture being drawn, with what shines in it and where roadwork shows.

Planes: ``pixels`` RGB uint8 (H, W, 3); ``lit`` float32 (H, W) in [0, 1], what the night
leaves bright; ``mask`` uint8 (H, W): ``NOTHING``, ``NEUTRAL`` or ``WORK``.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from natix_miner.scenes.shapes import Colour, Shape, Sprite, rasterise, turned

NOTHING, NEUTRAL, WORK = 0, 128, 255
_FRACTION = 4
Box = tuple[int, int, int, int]


class Canvas:
    """Pixels with their planes; figures in pixels, drawn from far to near."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Draw on ``pixels`` (in place)."""
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self.lit = np.zeros((self.height, self.width), np.float32)
        self.mask = np.zeros((self.height, self.width), np.uint8)
        self.boxes: list[tuple[str, Box]] = []

    def poly(self, points: npt.ArrayLike, colour: Colour, lit: float | None = None) -> None:
        """Fill an anti-aliased polygon of pixel points (N, 2)."""
        corners = _fixed(points)
        cv2.fillPoly(self.pixels, [corners], colour, cv2.LINE_AA, _FRACTION)
        if lit is not None:
            cv2.fillPoly(self.lit, [corners], lit, cv2.LINE_8, _FRACTION)

    def line(self, points: npt.ArrayLike, thickness: float, colour: Colour) -> None:
        """Draw an open anti-aliased line."""
        wide = max(1, round(thickness))
        cv2.polylines(self.pixels, [_fixed(points)], False, colour, wide, cv2.LINE_AA, _FRACTION)

    def mark(self, points: npt.ArrayLike, value: int) -> None:
        """Set the roadwork mask inside a polygon."""
        cv2.fillPoly(self.mask, [_fixed(points)], value, cv2.LINE_8, _FRACTION)

    def shade(self, points: npt.ArrayLike, strength: float) -> None:
        """Darken the inside of a polygon softly; ``strength`` 0 (nothing) to 1 (black)."""
        corners = np.asarray(points, float)
        box = self._clip(*corners.min(0) - 2, *corners.max(0) + 3)
        if box is None:
            return
        left, top, right, low = box
        part = np.zeros((low - top, right - left), np.float32)
        cv2.fillPoly(part, [_fixed(corners - (left, top))], strength, cv2.LINE_8, _FRACTION)
        part = np.asarray(cv2.blur(part, (3, 3)), np.float32)
        area = self.pixels[top:low, left:right]
        area[:] = (area * (1 - part[..., None])).astype(np.uint8)

    def put(
        self,
        shape: Shape,
        foot: tuple[float, float],
        height: float,
        mask: int,
        light: Colour = (1.0, 1.0, 1.0),
        degrees: float = 0.0,
        mirror: bool = False,
    ) -> Box | None:
        """Stand a shape with the middle of its foot on ``foot``, ``height`` pixels high.

        ``light`` multiplies its colours, ``degrees`` tip it over, ``mask`` is written where
        it covers. Returns the visible box (left, top, right, bottom), or None if none is.
        """
        if height < 1.5 or height > 6 * self.height:
            return None
        sprite = rasterise(shape, height, mirror)
        if degrees:
            sprite = turned(sprite, degrees)
        rows, columns = sprite.alpha.shape
        box = self._blend(sprite, round(foot[0] - columns / 2), round(foot[1] - rows), mask, light)
        if box is not None:
            self.boxes.append((shape.kind, box))
        return box

    def _blend(self, sprite: Sprite, x: int, y: int, mask: int, light: Colour) -> Box | None:
        rows, columns = sprite.alpha.shape
        box = self._clip(x, y, x + columns, y + rows)
        if box is None:
            return None
        left, top, right, low = box
        cut = (slice(top - y, low - y), slice(left - x, right - x))
        alpha = sprite.alpha[cut]
        shine = sprite.lit[cut]
        tone = np.asarray(light, np.float32)
        over = sprite.pixels[cut] * (tone + (1 - tone) * shine[..., None])
        area = self.pixels[top:low, left:right]
        over -= area
        over *= alpha[..., None]
        over += area
        np.clip(over, 0, 255, out=over)
        area[:] = over
        glow = self.lit[top:low, left:right]
        glow += (shine - glow) * alpha
        self.mask[top:low, left:right][alpha > 0.5] = mask
        return box

    def _clip(self, left: float, top: float, right: float, low: float) -> Box | None:
        box = (
            max(0, int(left)),
            max(0, int(top)),
            min(self.width, int(right)),
            min(self.height, int(low)),
        )
        return box if box[0] < box[2] and box[1] < box[3] else None


def _fixed(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    far = np.clip(np.asarray(points, float), -20000, 40000)
    return np.rint(far * (1 << _FRACTION)).astype(np.int32)
