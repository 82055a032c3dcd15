"""Regions of the colours that roadwork wears, each with figures of its shape and place.

Two families of colour are looked at: *warm* (orange to red-orange: cones, drums, signs, fences) and
*lime* (fluorescent yellow-green: vests, newer signs and cones). Hue survives the validators' colour
and contrast distortions (both scale all channels about grey or black), saturation does not: so what
counts as strong colour is measured against the strongest in the picture.

This module knows nothing about labels, weights or probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

WARM, LIME, YELLOW, RED = 1, 2, 4, 8
#: Upper ends of hue ranges, in OpenCV's units of two degrees, and what lies below each.
_HUES = (
    (2, RED | WARM),
    (16, WARM),
    (26, YELLOW),
    (45, LIME),
    (172, 0),
    (176, RED),
    (180, RED | WARM),
)
MIN_CHROMA = 18.0  # of 255: weaker colours are camera noise
STRONG_SHARE = 0.42  # of the strongest colour in the picture, blues and greens left out
MAX_REGIONS, MAX_REGIONS_LARGE = 8, 12  # up to SMALL_SIDE pixels, and beyond
SMALL_SIDE = 224
ABOVE_HORIZON_WEIGHT = 0.6  # cones stand on the road; what hangs higher must be more colourful
HORIZON = 0.42  # where the road begins, as a share of the picture's height; dashcams agree

#: Names of the figures of one region, in order.
REGION_FIGURES = (
    "warm",
    "log_area",
    "log_height",
    "log_aspect",
    "fill",
    "taper",
    "bulge",
    "chroma",
    "chroma_share",
    "contrast",
    "luma",
    "luma_contrast",
    "white",
    "redness",
    "hue_spread",
    "foot",
    "below_horizon",
    "height_on_road",
    "off_centre",
    "at_border",
    "spots",
    "triangle",
    "solidity",
    "chroma_below",
    "luma_below",
    "luma_above",
    "partners",
)

Box = tuple[int, int, int, int]
Outline = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Regions:
    """What was found: figures (regions, REGION_FIGURES) and boxes in pixels of the looked-at copy.

    `planes` are kept for the figures of the whole picture.
    """

    figures: NDArray[np.float32]
    boxes: tuple[Box, ...]
    planes: Planes


@dataclass(frozen=True, slots=True)
class Planes:
    """Colour planes of the looked-at copy, its proper rows and columns, its strongest chroma.

    `turned_hue` is the hue turned on by 8 degrees, so that reds do not fall apart.
    """

    hue_class: Plane
    turned_hue: Plane
    chroma: Plane
    value: Plane
    proper: Box
    strongest: float


@cache
def _hue_table() -> Plane:
    table = np.zeros(256, np.uint8)
    low = 0
    for high, kind in _HUES:
        table[low:high] = kind
        low = high
    table.flags.writeable = False
    return table


@cache
def _turned_table() -> Plane:
    table = ((np.arange(256) + 4) % 180).astype(np.uint8)
    table.flags.writeable = False
    return table


def planes_of(pixels: NDArray[np.uint8], proper: Box) -> Planes:
    """Split RGB (H, W, 3) into colour planes; `proper` is (left, top, right, bottom)."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    hue, saturation, value = cv2.split(hsv)
    chroma = cv2.multiply(saturation, value, scale=1 / 255)
    hue_class = np.asarray(cv2.LUT(hue, _hue_table()), np.uint8)
    left, top, right, bottom = proper
    inner = chroma[top:bottom, left:right]
    ours = hue_class[top:bottom, left:right]
    counts = cv2.calcHist([inner], [0], ours, [256], [0, 256]).ravel()
    above = np.cumsum(counts[::-1])[::-1]
    strongest = max(0.0, np.count_nonzero(above >= max(4.0, 0.001 * inner.size)) - 1.0)
    return Planes(
        hue_class=hue_class,
        turned_hue=np.asarray(cv2.LUT(hue, _turned_table()), np.uint8),
        chroma=np.asarray(chroma, np.uint8),
        value=np.asarray(value, np.uint8),
        proper=proper,
        strongest=strongest,
    )


def find_regions(planes: Planes) -> Regions:
    """The most colourful connected regions, strongest first, at most MAX_REGIONS."""
    threshold = max(MIN_CHROMA, STRONG_SHARE * planes.strongest)
    strong = cv2.threshold(planes.chroma, threshold, 255, cv2.THRESH_BINARY)[1]
    limit = MAX_REGIONS if max(strong.shape) <= SMALL_SIDE else MAX_REGIONS_LARGE
    found: list[tuple[float, int, Box, Plane, Outline]] = []
    spots = {}
    for kind in (WARM, LIME):
        mask = cv2.bitwise_and(strong, cv2.LUT(planes.hue_class, _is_kind(kind)))
        spots[kind], regions = _connected(planes, np.asarray(mask, np.uint8), 2 * limit)
        for (left, top, right, bottom), own, outline in regions:
            chroma = cv2.mean(planes.chroma[top:bottom, left:right], own)[0]
            weight = _priority(planes, chroma, cv2.countNonZero(own), bottom)
            found.append((weight, kind, (left, top, right, bottom), own, outline))
    found.sort(key=lambda item: -item[0])
    found = found[:limit]
    rows = [
        [*_figures(planes, kind, box, own, spots[kind]), *_outlined(planes, box, own, outline)]
        for _, kind, box, own, outline in found
    ]
    figures = np.zeros((len(rows), len(REGION_FIGURES)), np.float32)
    if rows:
        figures[:, :-1] = rows
        figures[:, -1] = _partners(figures)
    return Regions(figures, tuple(item[2] for item in found), planes)


@cache
def _is_kind(kind: int) -> Plane:
    table = np.zeros(256, np.uint8)
    table[(np.arange(256) & kind) != 0] = 255
    table.flags.writeable = False
    return table


def _priority(planes: Planes, chroma: float, area: int, bottom: int) -> float:
    """Vivid and small goes before dull and large: cones before brick walls."""
    top, low = planes.proper[1], planes.proper[3]
    high_up = bottom - top < HORIZON * (low - top)
    return float(chroma**2 * area**0.25 * (ABOVE_HORIZON_WEIGHT if high_up else 1.0))


def _connected(
    planes: Planes, mask: Plane, limit: int
) -> tuple[int, list[tuple[Box, Plane, Outline]]]:
    """How many large enough parts there are; the first of them.

    Of each its box, its own pixels (0 or 1, of the box's shape) and its outline.
    """
    smallest = max(6, round(1.2e-4 * mask.size))
    if cv2.countNonZero(mask) < smallest:
        return 0, []
    # A cone's white collar must not part it: join what one or two pixels part up and down.
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 1), np.uint8))
    outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    ranked = []
    for outline in outlines:
        left, top, width, height = cv2.boundingRect(outline)
        if width * height >= smallest:
            box = (left, top, left + width, top + height)
            chroma = cv2.mean(planes.chroma[top : box[3], left : box[2]])[0]
            ranked.append((_priority(planes, chroma, width * height, box[3]), box, outline))
    ranked.sort(key=lambda item: -item[0])
    parts: list[tuple[Box, Plane, Outline]] = []
    for _, (left, top, right, bottom), outline in ranked[:limit]:
        own = np.zeros((bottom - top, right - left), np.uint8)
        cv2.drawContours(own, [outline], 0, 1, cv2.FILLED, offset=(-left, -top))
        own &= mask[top:bottom, left:right]
        if cv2.countNonZero(own) >= smallest:
            parts.append(((left, top, right, bottom), own, np.asarray(outline, np.int32)))
    return len(ranked), parts


def _figures(planes: Planes, kind: int, box: Box, own: Plane, spots: int) -> list[float]:
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    pic_left, pic_top, pic_right, pic_bottom = planes.proper
    pic_width, pic_height = pic_right - pic_left, pic_bottom - pic_top
    area = cv2.countNonZero(own)
    cut = (slice(top, bottom), slice(left, right))
    # A frame around the box, to compare with what surrounds the region.
    margin = max(2, round(0.35 * min(width, height)))
    around = (
        slice(max(pic_top, top - margin), min(pic_bottom, bottom + margin)),
        slice(max(pic_left, left - margin), min(pic_right, right + margin)),
    )
    chroma = cv2.mean(planes.chroma[cut], own)[0]
    luma = cv2.mean(planes.value[cut], own)[0]
    ring = max(1, planes.chroma[around].size - area)
    chroma_around = (cv2.sumElems(planes.chroma[around])[0] - chroma * area) / ring
    luma_around = (cv2.sumElems(planes.value[around])[0] - luma * area) / ring
    hue_mean, hue_spread = cv2.meanStdDev(planes.turned_hue[cut], mask=own)
    pale = (planes.chroma[cut] < 0.35 * chroma) & (planes.value[cut] > 0.75 * luma)
    white = np.count_nonzero(pale & (own == 0)) / (width * height)
    upper, middle, lower = _widths(own)
    widest = max(upper, middle, lower, 1e-3)
    log_aspect = math.log(height / width)
    fill = area / (width * height)
    foot = (bottom - pic_top) / pic_height
    height_share = height / pic_height
    on_road = math.log(height_share / max(foot - HORIZON, 0.04))
    taper = (lower - upper) / widest
    bulge = (middle - (upper + lower) / 2) / widest
    at_border = left <= pic_left or right >= pic_right or bottom >= pic_bottom or top <= pic_top
    return [
        1.0 if kind == WARM else 0.0,
        math.log(area / (pic_width * pic_height)),
        math.log(height_share),
        log_aspect,
        fill,
        taper,
        bulge,
        chroma / 255,
        chroma / max(planes.strongest, 1.0),
        (chroma - chroma_around) / max(planes.strongest, 1.0),
        luma / 255,
        (luma - luma_around) / 255,
        white,
        (20 - float(hue_mean[0, 0])) / 16,
        min(float(hue_spread[0, 0]), 20.0) / 10,
        foot,
        1.0 if (top - pic_top) / pic_height > HORIZON - 0.05 else 0.0,
        on_road,
        abs((left + right) / 2 - (pic_left + pic_right) / 2) / pic_width,
        1.0 if at_border else 0.0,
        math.log1p(spots),
    ]


def _outlined(planes: Planes, box: Box, own: Plane, outline: Outline) -> list[float]:
    """How much of a triangle and of its hull the region fills; what lies below and above it."""
    left, top, right, bottom = box
    area = cv2.countNonZero(own)
    hull = cv2.convexHull(outline)
    hull_area = max(1.0, cv2.contourArea(hull))
    triangle_area = cv2.minEnclosingTriangle(hull)[0] if len(hull) > 2 else 0.0
    reach = max(2, (bottom - top) // 3)
    below = (slice(bottom, min(bottom + reach, planes.proper[3])), slice(left, right))
    above = (slice(max(top - reach, planes.proper[1]), top), slice(left, right))
    luma = cv2.mean(planes.value[top:bottom, left:right], own)[0]
    return [
        min(1.0, hull_area / max(triangle_area, hull_area)),
        min(1.5, area / hull_area),
        cv2.mean(planes.chroma[below])[0] / max(planes.strongest, 1.0)
        if bottom < below[0].stop
        else 1.0,
        (cv2.mean(planes.value[below])[0] - luma) / 255 if bottom < below[0].stop else 0.0,
        (cv2.mean(planes.value[above])[0] - luma) / 255 if above[0].start < top else 0.0,
    ]


def _partners(figures: NDArray[np.float32]) -> NDArray[np.float32]:
    """How many others of its colour are about as high and as slender, as log(1 + n)."""
    alike = np.ones((len(figures), len(figures)), bool)
    for name, reach in (("warm", 0.5), ("log_height", 0.6), ("log_aspect", 0.5)):
        values = figures[:, REGION_FIGURES.index(name)]
        alike &= np.abs(values[:, None] - values[None]) < reach
    return np.log(alike.sum(1)).astype(np.float32)


def _widths(own: Plane) -> tuple[float, float, float]:
    """Mean widths in pixels of the upper, middle and lower third."""
    rows = cv2.reduce(own, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    third = max(1, len(rows) // 3)
    middle = rows[third:-third] if len(rows) > 2 * third else rows
    return (
        int(rows[:third].sum()) / third,
        int(middle.sum()) / len(middle),
        int(rows[-third:].sum()) / third,
    )
