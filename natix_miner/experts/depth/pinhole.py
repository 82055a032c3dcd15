"""From a box and the depth in it to metres: the pinhole camera.

A thing of height H (metres) that stands upright at depth Z (metres along the optical axis) is seen
by a camera of focal length f (pixels) as h = f * H / Z pixels high, so

    H = h * Z / f

Source: Hartley, Zisserman, "Multiple view geometry", 2nd edition, 6.1. Lens distortion and a camera
that looks up or down are left aside: for the few degrees of a dashboard camera they cost less than
the depth itself is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from natix_miner.images import Frame

#: Boxes lower than this in pixels of the depth map are its blurred edges only.
LEAST_ROWS = 5.0
#: An outline must hold so many pixels of the depth map to be taken.
LEAST_PIXELS = 4
#: A box that comes so near to an edge of the picture, in pixels, is cut by it.
EDGE = 2.0

Box = NDArray[np.float64]
Outline = Sequence[tuple[float, float]]


def focal_of(frame: Frame, horizontal_degrees: float | None) -> float | None:
    """The focal length in pixels of the frame: by its EXIF, else by the horizontal field of view
    over the width of the picture proper (f = width / 2 / tan(angle / 2)); None with neither."""
    if frame.focal_pixels is not None:
        return frame.focal_pixels
    if horizontal_degrees is None:
        return None
    width = frame.width - frame.geometry.padding_left - frame.geometry.padding_right
    return 0.5 * width / math.tan(math.radians(horizontal_degrees) / 2.0)


def real_height(box: Box, metres: float, focal: float) -> float:
    """Height in metres of what fills a box (left, top, right, bottom) at this depth."""
    return float(box[3] - box[1]) * metres / focal


def is_cut(box: Box, frame: Frame) -> bool:
    """Whether the upper or lower edge of the picture proper cuts what is in the box."""
    geometry = frame.geometry
    top, bottom = geometry.padding_top, frame.height - geometry.padding_bottom
    return bool(box[1] <= top + EDGE or box[3] >= bottom - EDGE)


def depth_in(
    values: NDArray[np.floating], box: Box, outline: Outline, width: int, height: int
) -> float | None:
    """The median of a map (h, w) of a frame of `width` x `height` where the thing in a box is.

    That is its outline, where there is one; else the middle half of the box's lower half, where
    things that stand are widest and what is seen past them is the ground at their foot. None where
    the map is too coarse for the box, or holds no finite positive number there.
    """
    scale = np.array((values.shape[1] / width, values.shape[0] / height))
    left, top, right, bottom = box * np.tile(scale, 2)
    if bottom - top < LEAST_ROWS:
        return None
    inside = _within(values, np.array(outline) * scale) if outline else np.zeros(0)
    if inside.size < LEAST_PIXELS:
        wide, high = right - left, bottom - top
        rows = _span(top + 0.5 * high, bottom, values.shape[0])
        columns = _span(left + 0.25 * wide, left + 0.75 * wide, values.shape[1])
        inside = values[rows, columns].ravel()
    good = inside[np.isfinite(inside) & (inside > 0.0)]
    return float(np.median(good)) if good.size else None


def _span(low: float, high: float, size: int) -> slice:
    """The pixels whose centres lie between two places, at least one."""
    first = min(max(0, math.ceil(low - 0.5)), size - 1)
    return slice(first, max(first + 1, min(size, math.floor(high - 0.5) + 1)))


def _within(values: NDArray[np.floating], outline: NDArray[np.float64]) -> NDArray[np.floating]:
    mask = np.zeros(values.shape, np.uint8)
    # A pixel's centre lies at its index plus a half; fillPoly counts from the centre.
    cv2.fillPoly(mask, [np.round(outline - 0.5).astype(np.int32)], 1)
    found: NDArray[np.floating] = values[mask.astype(bool)]
    return found
