"""Views: pictures cut or scaled from a frame for experts.

All functions are pure. Only `enlarged` enlarges; shrinking averages areas.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import overload

import cv2
import numpy as np
from numpy.typing import NDArray

from natix_miner.images.frame import Affine, Frame, Pixels, View

Box = tuple[int, int, int, int]

#: Rows of a street picture, as shares of its height, in which roadwork stands.
ROAD_BAND = (0.3, 0.95)
#: A cut-out smaller than this in pixels is of no use to anybody.
MIN_SIDE = 32
_STEPS = 33


def shrink(pixels: Pixels, longer_side: int) -> Pixels:
    """Scale so that the longer side is at most `longer_side` pixels, keeping the aspect."""
    height, width = pixels.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1.0:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def whole(frame: Frame, size: int) -> View:
    """The frame as it is, its longer side at most `size` pixels."""
    return View("whole", shrink(frame.pixels, size), (0, 0, frame.width, frame.height))


def upright(frame: Frame, size: int | None = None, square: bool = False) -> View:
    """The picture proper: tilt turned back, padding and black corners cut off.

    The largest upright rectangle (or `square`) that holds no black is taken; its longer side is at
    most `size` pixels. `box` bounds that rectangle where it lay in the frame. A frame with neither
    tilt nor padding comes as it is; so does one of which less than 32 pixels would be left.
    """
    geometry = frame.geometry
    tilt = geometry.tilt_degrees
    left, top, right, bottom = _largest(frame, square)
    wide, high = int(right - left), int(bottom - top)
    if min(wide, high) < MIN_SIDE:
        left, top, right, bottom = _frame_edges(frame)
        wide, high, tilt = frame.width, frame.height, 0.0
    if not tilt:
        x, y = math.floor(left + frame.width / 2), math.floor(top + frame.height / 2)
        pixels = frame.pixels[y : y + high, x : x + wide]
        box = (x, y, x + wide, y + high)
        return View("upright", pixels if size is None else shrink(pixels, size), box)
    pixels = _turned_back(frame.pixels, tilt, left, top, wide, high)
    if size is not None:
        pixels = shrink(pixels, size)
    box = _bounds(frame, tilt, left, top, left + wide, top + high)
    return View("upright", pixels, box, tilt, _tilted(frame, tilt, left, top, wide, high, pixels))


def enlarged(frame: Frame, size: int) -> View:
    """The `upright` picture with its longer side brought to `size` pixels, up or down.

    For detectors of a fixed reach: what is small in a letterboxed square is seen by more of it.
    """
    view = upright(frame, size)
    height, width = view.pixels.shape[:2]
    scale = size / max(height, width)
    if scale <= 1.0:
        return replace(view, name="enlarged")
    to = (max(1, round(width * scale)), max(1, round(height * scale)))
    grown = np.asarray(cv2.resize(view.pixels, to, interpolation=cv2.INTER_CUBIC), np.uint8)
    back = (width / to[0], height / to[1])
    return replace(view, name="enlarged", pixels=grown, to_frame=_rescaled(view.to_frame, *back))


def crops(frame: Frame, size: int, share: float = 0.75) -> list[View]:
    """The middle and the four corners of the `upright` picture, each `share` of its sides; none
    where that would be less than 32 pixels."""
    whole_view = upright(frame)
    height, width = whole_view.pixels.shape[:2]
    wide, high = round(width * share), round(height * share)
    if min(wide, high) < MIN_SIDE:
        return []
    corners = [
        ((width - wide) // 2, (height - high) // 2),
        *((x, y) for y in (0, height - high) for x in (0, width - wide)),
    ]
    return [
        _part(whole_view, f"crop-{number}", x, y, wide, high, size)
        for number, (x, y) in enumerate(corners)
    ]


def _part(view: View, name: str, x: int, y: int, wide: int, high: int, size: int) -> View:
    pixels = shrink(view.pixels[y : y + high, x : x + wide], size)
    a, b, c, d, e, f = view.affine
    moved = (a, b, a * x + b * y + c, d, e, d * x + e * y + f)
    affine = _rescaled(moved, wide / pixels.shape[1], high / pixels.shape[0])
    cut = replace(view, name=name, pixels=pixels, to_frame=affine)
    left, top, right, bottom = cut.placed_boxes(np.array([[0, 0, *pixels.shape[1::-1]]]))[0]
    box = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    return replace(cut, box=box)


def mirrored(view: View) -> View:
    """The same view with left and right exchanged."""
    pixels = view.pixels[:, ::-1]
    a, b, c, d, e, f = view.affine
    width = view.pixels.shape[1]
    back = (-a, b, c + a * width, -d, e, f + d * width)
    return replace(
        view,
        name=f"{view.name}-mirrored",
        pixels=pixels,
        to_frame=back,
        mirrored=not view.mirrored,
    )


def tiles(
    frame: Frame,
    size: int,
    *,
    overlap: float = 0.2,
    limit: int = 12,
    band: tuple[float, float] = ROAD_BAND,
) -> list[View]:
    """Squares of `size` pixels that cover the road band of a large frame, the road's middle first.

    Neighbours overlap by at least the share `overlap` of their side, so that what is cut by one
    tile is whole in the next. Where more than `limit` tiles would be needed, larger squares are cut
    and shrunk. `band` gives the upper and lower end of the band as shares of the height of the
    picture proper (padding left out). A frame no larger than one tile has none: use `whole`.
    """
    geometry = frame.geometry
    left, right = geometry.padding_left, frame.width - geometry.padding_right
    top, bottom = geometry.padding_top, frame.height - geometry.padding_bottom
    width, height = right - left, bottom - top
    if max(width, height) <= size or min(width, height) < MIN_SIDE:
        return []
    low, high = top + round(band[0] * height), top + round(band[1] * height)
    side = min(size, width, height)
    while True:
        rows = _starts(max(top, min(low, bottom - side)), max(high, low + side), side, overlap)
        columns = _starts(left, right, side, overlap)
        if len(rows) * len(columns) <= max(1, limit) or side == min(width, height):
            break
        side = min(math.ceil(side * 1.1), width, height)
    boxes = [
        (x, min(y, bottom - side), x + side, min(y, bottom - side) + side)
        for y in rows
        for x in columns
    ]
    middle_x, middle_y = (left + right) / 2, top + 0.6 * height
    boxes.sort(
        key=lambda box: (
            abs((box[1] + box[3]) / 2 - middle_y),
            abs((box[0] + box[2]) / 2 - middle_x),
        )
    )
    return [
        View(f"tile-{number}", shrink(frame.pixels[box[1] : box[3], box[0] : box[2]], size), box)
        for number, box in enumerate(boxes[:limit])
    ]


def _starts(low: int, high: int, side: int, overlap: float) -> list[int]:
    """Where windows of `side` begin that cover low..high evenly."""
    room = max(0, high - low - side)
    count = 1 + math.ceil(room / max(1.0, side * (1 - overlap)))
    return [low + round(room * index / max(1, count - 1)) for index in range(count)]


def _frame_edges(frame: Frame) -> tuple[float, float, float, float]:
    return -frame.width / 2, -frame.height / 2, frame.width / 2, frame.height / 2


def _largest(frame: Frame, square: bool) -> tuple[float, float, float, float]:
    """The largest rectangle (left, top, right, bottom) of picture, upright, about the centre."""
    geometry = frame.geometry
    left, top, right, bottom = _frame_edges(frame)
    left, right = left + geometry.padding_left, right - geometry.padding_right
    top, bottom = top + geometry.padding_top, bottom - geometry.padding_bottom
    if geometry.tilt_degrees == 0.0:
        return _centred_square(left, top, right, bottom) if square else (left, top, right, bottom)
    rows = np.linspace(top, bottom, _STEPS)
    first, last = _span(rows, geometry.tilt_degrees, frame.width, frame.height)
    # The frame is convex: a rectangle lies in it when its upper and its lower edge do.
    lefts = np.maximum(np.maximum(first[:, None], first[None]), left)
    rights = np.minimum(np.minimum(last[:, None], last[None]), right)
    wide = np.maximum(0.0, rights - lefts)
    high = np.maximum(0.0, rows[None] - rows[:, None])
    worth = np.minimum(wide, high) if square else wide * high
    upper, lower = np.unravel_index(int(np.argmax(worth)), worth.shape)
    # Half a pixel of black was mixed in along each side by the tilting.
    found = (
        math.ceil(float(lefts[upper, lower]) + 1),
        math.ceil(float(rows[upper]) + 1),
        math.floor(float(rights[upper, lower]) - 1),
        math.floor(float(rows[lower]) - 1),
    )
    return _centred_square(*found) if square else found


def _centred_square(
    left: float, top: float, right: float, bottom: float
) -> tuple[float, float, float, float]:
    side = math.floor(max(0.0, min(right - left, bottom - top)))
    x, y = math.ceil((left + right - side) / 2), math.ceil((top + bottom - side) / 2)
    return x, y, x + side, y + side


def _span(
    rows: NDArray[np.float64], tilt: float, width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From where to where the turned-back canvas reaches in each row."""
    sine, cosine = math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    first = (-width / 2 - rows * sine) / cosine
    last = (width / 2 - rows * sine) / cosine
    ends = np.stack(((rows * cosine - height / 2) / sine, (rows * cosine + height / 2) / sine))
    return np.maximum(first, ends.min(0)), np.minimum(last, ends.max(0))


def _turned_back(
    pixels: Pixels, tilt: float, left: float, top: float, wide: int, high: int
) -> Pixels:
    height, width = pixels.shape[:2]
    sine, cosine = math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    # Destination (x, y) -> source: shift into the upright plane about the centre, then tilt.
    turn = np.array(((cosine, sine), (-sine, cosine)))
    shift = turn @ (left + 0.5, top + 0.5) + ((width - 1) / 2, (height - 1) / 2)
    matrix = np.column_stack((turn, shift))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(pixels, matrix, (wide, high), flags=flags), np.uint8)


def _tilted(
    frame: Frame, tilt: float, left: float, top: float, wide: int, high: int, pixels: Pixels
) -> Affine:
    """From a place in the turned-back (and shrunk) rectangle to the frame."""
    sine, cosine = math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    upright_to_frame = (
        cosine,
        sine,
        cosine * left + sine * top + frame.width / 2,
        -sine,
        cosine,
        -sine * left + cosine * top + frame.height / 2,
    )
    return _rescaled(upright_to_frame, wide / pixels.shape[1], high / pixels.shape[0])


@overload
def _rescaled(affine: Affine, x: float, y: float) -> Affine: ...
@overload
def _rescaled(affine: None, x: float, y: float) -> None: ...
def _rescaled(affine: Affine | None, x: float, y: float) -> Affine | None:
    """The same mapping for a picture of which one pixel stands for `x` by `y` of before."""
    if affine is None:
        return None
    a, b, c, d, e, f = affine
    return (a * x, b * y, c, d * x, e * y, f)


def _bounds(frame: Frame, tilt: float, left: float, top: float, right: float, bottom: float) -> Box:
    """The box in the frame around an upright rectangle that was cut from it."""
    sine, cosine = math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    corners = np.array([(x, y) for x in (left, right) for y in (top, bottom)])
    placed = corners @ np.array(((cosine, -sine), (sine, cosine)))
    placed += (frame.width / 2, frame.height / 2)
    low, high = np.floor(placed.min(0)), np.ceil(placed.max(0))
    return (
        max(0, int(low[0])),
        max(0, int(low[1])),
        min(frame.width, int(high[0])),
        min(frame.height, int(high[1])),
    )
