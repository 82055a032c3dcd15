"""Things as lists of simple figures in their own units, rasterised at any size.

A ``Shape`` is one unit high: y runs from 0 (top) to 1 (the ground), x from 0 to its
``aspect`` (width over height). It knows nothing about scenes, labels or weather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[float, float, float]
Point = tuple[float, float]
_FRACTION = 4


@dataclass(slots=True)
class Shape:
    """A thing to draw: its kind, size and figures from back to front.

    ``metres`` is the height; ``round_body`` shades it like an upright cylinder. ``lit``
    colours shine by themselves (or throw head-light back) and survive the night.
    """

    kind: str
    metres: float
    aspect: float
    round_body: bool = False
    figures: list[tuple[str, npt.NDArray[np.float64], Colour, float, float]] = field(
        default_factory=list
    )

    def poly(self, points: Sequence[Point], colour: Colour, lit: float = 0.0) -> None:
        """Add a filled polygon; ``colour`` is RGB 0-255, ``lit`` lies in [0, 1]."""
        self.figures.append(("poly", np.asarray(points, float), colour, lit, 0.0))

    def rect(
        self, left: float, top: float, right: float, low: float, colour: Colour, lit: float = 0.0
    ) -> None:
        """Add a filled upright rectangle."""
        self.poly([(left, top), (right, top), (right, low), (left, low)], colour, lit)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, colour: Colour, lit: float = 0.0
    ) -> None:
        """Add a filled upright ellipse."""
        self.figures.append(("ellipse", np.array([[x, y], [rx, ry]]), colour, lit, 0.0))

    def line(
        self, points: Sequence[Point], thickness: float, colour: Colour, lit: float = 0.0
    ) -> None:
        """Add an open line; ``thickness`` in the shape's units."""
        self.figures.append(("line", np.asarray(points, float), colour, lit, thickness))


@dataclass(frozen=True, slots=True)
class Sprite:
    """A rasterised shape: RGB float32 0-255 (h, w, 3), alpha and lit in [0, 1] float32 (h, w)."""

    pixels: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]
    lit: npt.NDArray[np.float32]


def rasterise(shape: Shape, height: float, mirror: bool = False) -> Sprite:
    """Draw a shape ``height`` pixels high, anti-aliased by drawing it larger and averaging."""
    over = 4 if height < 24 else 2 if height < 300 else 1
    rows = max(1, round(height))
    columns = max(1, round(height * shape.aspect))
    unit = rows * over
    size = (rows * over, columns * over)
    colour = np.zeros((*size, 3), np.uint8)
    cover = np.zeros((*size, 2), np.uint8)
    shift = float(1 << _FRACTION)
    for what, points, rgb, lit, thickness in shape.figures:
        mark = (255, int(255 * lit))
        if what == "ellipse":
            centre = tuple((points[0] * unit * shift).astype(int).tolist())
            radii = tuple(np.maximum(points[1] * unit * shift, 8).astype(int).tolist())
            for image, value in ((colour, rgb), (cover, mark)):
                cv2.ellipse(image, centre, radii, 0, 0, 360, value, -1, cv2.LINE_8, _FRACTION)
            continue
        corners = np.rint(points * unit * shift).astype(np.int32)
        for image, value in ((colour, rgb), (cover, mark)):
            if what == "poly":
                cv2.fillPoly(image, [corners], value, cv2.LINE_8, _FRACTION)
            else:
                wide = max(1, round(thickness * unit))
                cv2.polylines(image, [corners], False, value, wide, cv2.LINE_8, _FRACTION)
    if over > 1:  # average colour over the covered part only
        cover, colour = (
            np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
            for part in (cover, colour)
        )
    planes = cover.astype(np.float32) * np.float32(1 / 255)
    alpha, lit_plane = planes[..., 0], planes[..., 1]
    pixels = colour.astype(np.float32)
    if over > 1:
        pixels /= np.maximum(alpha, np.float32(1 / 255))[..., None]
    if shape.round_body:
        across = np.linspace(-1, 1, columns, dtype=np.float32)
        pixels *= (0.62 + 0.45 * np.sqrt(1 - 0.85 * (across - 0.25) ** 2 / 1.5625))[None, :, None]
    sprite = np.minimum(pixels, 255)
    if mirror:
        return Sprite(sprite[:, ::-1], alpha[:, ::-1], lit_plane[:, ::-1])
    return Sprite(sprite, alpha, lit_plane)


def turned(sprite: Sprite, degrees: float) -> Sprite:
    """Turn a sprite about its centre on a canvas that grows to hold it."""
    rows, columns = sprite.alpha.shape
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide, high = int(columns * cos + rows * sin) + 1, int(columns * sin + rows * cos) + 1
    matrix[0, 2] += (wide - columns) / 2
    matrix[1, 2] += (high - rows) / 2
    pixels, alpha, lit = (
        np.asarray(
            cv2.warpAffine(np.ascontiguousarray(part), matrix, (wide, high), borderMode=border),
            np.float32,
        )
        for part, border in (
            (sprite.pixels, cv2.BORDER_REPLICATE),
            (sprite.alpha, cv2.BORDER_CONSTANT),
            (sprite.lit, cv2.BORDER_CONSTANT),
        )
    )
    return Sprite(pixels, alpha, lit)
