"""Named features of one picture: which colour stands where, and its coloured regions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from natix_miner.experts.colour_shape.regions import (
    LIME,
    RED,
    REGION_FIGURES,
    WARM,
    YELLOW,
    Box,
    Planes,
    find_regions,
    planes_of,
)
from natix_miner.images import Geometry, Pixels, shrink

#: Longer side in pixels at which pictures are looked at; larger ones are shrunk, none enlarged.
LOOKED_AT_SIDE = 448

_COLOURS = (("warm", WARM), ("lime", LIME), ("yellow", YELLOW), ("red", RED))
_BANDS = ("upper", "middle", "lower")

#: Names of the picture's own features, in order. What tells cameras, weather or the validators'
#: treatment apart (brightness, sharpness, size, all-over colour) is left out on purpose: a fit
#: would use it, and it says nothing of roadwork.
PICTURE_FEATURES = (
    "strongest_chroma",
    *(f"{colour}_{band}" for colour, _ in _COLOURS for band in _BANDS),
    *(f"{colour}_vivid" for colour, _ in _COLOURS),
    "warm_dull",
    "warm_focus",
    "warm_low",
    "stripes_warm_white",
    "stripes_red_white",
)


@dataclass(frozen=True, slots=True)
class Features:
    """What the colour-and-shape expert sees of one picture.

    `picture` has one value for each of PICTURE_FEATURES; `regions` one row of REGION_FIGURES for
    each coloured region, strongest first; `boxes` say where these lie, in pixels of the frame.
    """

    picture: NDArray[np.float32]
    regions: NDArray[np.float32]
    boxes: tuple[tuple[float, float, float, float], ...]


def features(pixels: Pixels, geometry: Geometry) -> Features:
    """Describe a picture, RGB (H, W, 3), with the geometry measured on it."""
    height, width = pixels.shape[:2]
    small = shrink(pixels, LOOKED_AT_SIDE)
    scale = small.shape[1] / width
    planes = planes_of(small, _proper(small, geometry, scale))
    regions = find_regions(planes)
    return Features(
        picture=_picture(planes),
        regions=regions.figures,
        boxes=tuple(
            (
                min(left / scale, width),
                min(top / scale, height),
                min(right / scale, width),
                min(bottom / scale, height),
            )
            for left, top, right, bottom in regions.boxes
        ),
    )


def _proper(small: Pixels, geometry: Geometry, scale: float) -> Box:
    """The picture without its padding; nothing is cut where hardly anything would be left."""
    height, width = small.shape[:2]
    left, right = round(geometry.padding_left * scale), round(geometry.padding_right * scale)
    top, bottom = round(geometry.padding_top * scale), round(geometry.padding_bottom * scale)
    if width - left - right < 16 or height - top - bottom < 16:
        return 0, 0, width, height
    return left, top, width - right, height - bottom


def _picture(planes: Planes) -> NDArray[np.float32]:
    left, top, right, bottom = planes.proper
    cut = (slice(top, bottom), slice(left, right))
    chroma, value = planes.chroma[cut], planes.value[cut]
    kinds = planes.hue_class[cut]
    strong = chroma >= max(18.0, 0.42 * planes.strongest)
    vivid = chroma >= 90
    values = [planes.strongest / 255]
    vivids = []
    masks: dict[int, NDArray[np.bool_]] = {}
    height = bottom - top
    edges = (0, int(0.4 * height), int(0.65 * height), height)
    for _, kind in _COLOURS:
        coloured = (kinds & kind) != 0
        masks[kind] = coloured & strong
        rows = cv2.reduce(masks[kind].view(np.uint8), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
        values += [
            math.sqrt(float(rows[low:high].sum()) / max(1, (high - low) * (right - left)))
            for low, high in pairwise(edges)
        ]
        vivids.append(math.sqrt(np.count_nonzero(coloured & vivid) / coloured.size))
    values += vivids
    warm = masks[WARM]
    dull = ((kinds & WARM) != 0) & (chroma > 18) & ~strong
    total = max(1, int(np.count_nonzero(warm)))
    half = int(np.count_nonzero(warm[height // 2 :]))
    spread = cv2.boxFilter(warm.view(np.uint8), cv2.CV_16U, (9, 9), normalize=False)
    white = (chroma < 45) & (value > 110)
    values += [
        math.sqrt(np.count_nonzero(dull) / dull.size),
        float(spread[warm].mean()) / 81 if warm.any() else 0.0,
        half / total,
        _stripes(warm, white),
        _stripes(masks[RED], white),
    ]
    return np.array(values, np.float32)


def _stripes(coloured: NDArray[np.bool_], white: NDArray[np.bool_]) -> float:
    """Root of the share of white that has colour close above and below, or left and right."""
    plane = coloured.view(np.uint8)
    reach = 4
    found = 0
    for size, first, second in (
        ((1, reach), (0, 0), (0, reach - 1)),
        ((reach, 1), (0, 0), (reach - 1, 0)),
    ):
        kernel = np.ones((size[1], size[0]), np.uint8)
        before = cv2.dilate(plane, kernel, anchor=first)
        after = cv2.dilate(plane, kernel, anchor=second)
        both = np.asarray(cv2.bitwise_and(before, after), np.bool_)
        found += int(np.count_nonzero(both & white))
    return math.sqrt(found / coloured.size)


__all__ = ["LOOKED_AT_SIDE", "PICTURE_FEATURES", "REGION_FIGURES", "Features", "features"]
