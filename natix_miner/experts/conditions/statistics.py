"""What is measured on a frame for its conditions.

All but the noise is measured on the picture proper (tilt turned back, padding and black corners cut
off), its longer side at most 224 pixels, so that a large frame and a validator's square can be
compared. Luma and colours are the encoded values (sRGB) over 255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from natix_miner.images import Frame, View, upright
from natix_miner.images.frame import Pixels
from natix_miner.images.views import shrink

#: Longer side of what is measured, in pixels.
SIDE = 224
#: Side of the square in which the dark channel looks for its darkest value, in pixels.
DARK_PATCH = 9
#: Share of the dark channel's brightest pixels that tell the light of the air.
AIR_SHARE = 0.001
#: Air darker than this is no haze but night.
LEAST_AIR = 0.1
#: Keeps the ratio of two lights finite where one of them is black (linear light in [0, 1]).
LEAST_LIGHT = 0.002
#: Length in pixels of the line that the blur measure averages over.
BLUR_LINE = 9
#: Noise is measured on so many by so many pieces of the decoded frame, of such a side in pixels.
NOISE_GRID = 5
NOISE_PIECE = 24
#: Mean luma (of 255) outside of which noise is cut off at black or white.
NOISE_LUMA = (8, 247)
LAPLACIANS = np.array(((1, -2, 1), (-2, 4, -2), (1, -2, 1)), np.float32)

Luma = NDArray[np.uint8]  # (height, width)


@dataclass(frozen=True, slots=True)
class Statistics:
    """All in [0, 1] unless said otherwise.

    `light`: mean luma. `sky_light`: 75th percentile of the luma of the upper third. `span`: 95th
    less 5th percentile of the luma. `chroma`: mean of the largest less the smallest of the three
    colours. `veil`: 20th percentile of the dark channel of the lower two thirds, relative to the
    light of the air. `stops`: by how many powers of two the sky's linear light exceeds the lower
    half's median, in about [-9, 9]. `smear`: the blur effect, 0 sharp. `noise`: standard deviation
    of the noise of the luma.
    """

    light: float
    sky_light: float
    span: float
    chroma: float
    veil: float
    stops: float
    smear: float
    noise: float


def measured(frame: Frame) -> Statistics:
    """Measure a frame; nothing is raised, whatever its size."""
    view = upright(frame)
    pixels = _shrunk(view.pixels)
    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    red, green, blue = cv2.split(pixels)
    darkest = np.asarray(cv2.min(cv2.min(red, green), blue), np.uint8)
    brightest = np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)
    height = len(luma)
    sky = _percentile(luma[: max(1, height // 3)], 75)
    road = _percentile(luma[height // 2 :], 50)
    return Statistics(
        light=_mean(luma),
        sky_light=sky,
        span=_percentile(luma, 95) - _percentile(luma, 5),
        chroma=_mean(brightest) - _mean(darkest),
        veil=_veil(pixels, darkest),
        stops=math.log2((_linear(sky) + LEAST_LIGHT) / (_linear(road) + LEAST_LIGHT)),
        smear=max(_smear(luma), _smear(np.ascontiguousarray(luma.T))),
        noise=_noise(frame, view),
    )


def _shrunk(pixels: Pixels) -> Pixels:
    """Shrunk by averaging areas: by halves first, which is several times as fast."""
    while max(pixels.shape[:2]) >= 2 * SIDE and min(pixels.shape[:2]) >= 4:
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        even = pixels[: 2 * height, : 2 * width]
        half = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(half, np.uint8)
    return np.ascontiguousarray(shrink(pixels, SIDE))


def _mean(luma: Luma) -> float:
    return float(cv2.mean(luma)[0]) / 255


def _percentile(luma: Luma, percent: float) -> float:
    """The value in [0, 1] below which `percent` of the pixels lie, between two levels linearly."""
    counts = cv2.calcHist([np.ascontiguousarray(luma)], [0], None, [256], [0, 256]).ravel()
    reached = np.cumsum(counts)
    wanted = percent / 100 * float(reached[-1])
    level = int(np.searchsorted(reached, wanted))
    below = float(reached[level] - counts[level])
    part = (wanted - below) / max(1.0, float(counts[level]))
    return min(1.0, max(0.0, (level - 0.5 + part) / 255))


def _linear(luma: float) -> float:
    """Light of an encoded value, with the usual exponent in place of sRGB's two pieces."""
    return luma**2.2


def _veil(pixels: Pixels, darkest: Luma) -> float:
    """How much of the light of the air lies over the ground's darkest places.

    Source: He, Sun, Tang, "Single image haze removal using dark channel prior", 2009. Outdoors
    without haze nearly every patch has something dark in one colour; haze adds the light of the
    air everywhere. The air's light is, as there, that of the pixels whose dark channel is brightest
    (here one number, the mean of the three colours). The sky has no dark places in any weather:
    the upper third is left out.
    """
    dark = cv2.erode(darkest, np.ones((DARK_PATCH, DARK_PATCH), np.uint8))
    count = max(1, round(AIR_SHARE * dark.size))
    brightest = np.argpartition(dark.ravel(), -count)[-count:]
    air = max(LEAST_AIR, float(pixels.reshape(-1, 3)[brightest].mean()) / 255)
    ground = np.asarray(dark[len(dark) // 3 :], np.uint8)
    return min(1.0, _percentile(ground, 20) / air)


def _smear(luma: Luma) -> float:
    """The share of the steps between neighbours in a row that blurring the row leaves over.

    Source: Crete, Dolmiere, Ladret, Nicolas, "The blur effect", 2007: blurring takes much from
    what is sharp and little from what is blurred already. Contrast and brightness cancel out. 1
    where there is no step at all.
    """
    line = luma.astype(np.float32)
    blurred = cv2.blur(line, (BLUR_LINE, 1))
    steps = np.abs(line[:, 1:] - line[:, :-1])
    left = np.abs(blurred[:, 1:] - blurred[:, :-1])
    total = float(steps.sum())
    lost = float(np.maximum(0.0, steps - left).sum())
    return 1.0 - lost / total if total > 0.0 else 1.0


def _noise(frame: Frame, view: View) -> float:
    """Standard deviation of the noise of the luma, measured before shrinking takes it away.

    Source: Immerkaer, "Fast noise variance estimation", 1996: the difference of two Laplacians
    takes away what is smooth or an edge. Gravel and leaves are left over with the noise, but noise
    is everywhere: the quieter pieces tell it, the lower quartile of all. 0 where the frame is too
    small, or too dark and bright everywhere.
    """
    pieces = _pieces(frame, view)
    if len(pieces) == 0:
        return 0.0
    count, high, wide = pieces.shape
    # All pieces on one strip, in one call; the rows that mix two of them are cut off.
    strip = cv2.filter2D(pieces.reshape(-1, wide), cv2.CV_32F, LAPLACIANS)
    left_over = np.abs(strip.reshape(count, high, wide)[:, 1:-1, 1:-1]).mean(axis=(1, 2))
    means = pieces.mean(axis=(1, 2))
    telling = left_over[(means > NOISE_LUMA[0]) & (means < NOISE_LUMA[1])]
    if len(telling) == 0:
        return 0.0
    # The kernel has norm 6; sqrt(pi / 2) turns the mean of |x| into a standard deviation.
    quiet = float(np.percentile(telling, 25))
    return min(1.0, math.sqrt(math.pi / 2) * quiet / 6 / 255)


def _pieces(frame: Frame, view: View) -> NDArray[np.uint8]:
    """Squares of luma (n, side, side) spread over the picture proper, none of a tiny one. The box
    around a tilted one has black corners: there the inner half of it is taken."""
    left, top, right, bottom = view.box
    if view.tilt_removed:
        inset_x, inset_y = (right - left) // 4, (bottom - top) // 4
        left, top, right, bottom = left + inset_x, top + inset_y, right - inset_x, bottom - inset_y
    side = min(NOISE_PIECE, right - left, bottom - top)
    if side < 3:
        return np.zeros((0, 0, 0), np.uint8)
    across = np.linspace(left, right - side, NOISE_GRID).astype(int)
    down = np.linspace(top, bottom - side, NOISE_GRID).astype(int)
    cut = [frame.pixels[y : y + side, x : x + side] for y in down for x in across]
    luma = cv2.cvtColor(np.concatenate(cut), cv2.COLOR_RGB2GRAY)
    return np.asarray(luma, np.uint8).reshape(-1, side, side)
