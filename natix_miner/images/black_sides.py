"""The black around a picture that was tilted or letterboxed: which straight sides bound it.

The black that touches the border is outlined; the long straight parts of the outline are lines that
may be sides of the picture. Sides of one picture all turn by one angle, *everything* beyond a side
is black and right inside it most is not: lines that share no angle, have anything else beyond them
or fade in slowly are dropped. Night has black and even straight edges, but not these together.
Padding without a tilt must also be alike on opposite sides, as letterboxing makes it.

This module knows nothing about frames; all lengths are in pixels of the luma plane it is given,
which should be some 224 pixels wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]  # (height, width)
_Part = tuple[tuple[int, int], NDArray[np.int32], NDArray[np.int32]]  # span, x, y

TOP, RIGHT, BOTTOM, LEFT = range(4)

MAX_TILT = 22.0  # degrees; validators draw from -20 to 20
MIN_TILT = 1.0  # less is no tilt
ALIKE = 2.5  # padding on opposite sides differs by no more
AGREE_DEGREES = 2.5  # sides of one picture differ by less
MAX_BLACK_LEVEL = 12.0  # noise lifts black to that at most
NOISY_LEVEL = 2.0  # black above this level means noise, which is smoothed first
MIN_LIGHT = 10.0  # mean luma above black below which nothing can be told
DIM_LIGHT = 40.0  # mean luma above black of a dim picture, which must show longer lines
MIN_BLACK = 0.002  # share of the area
MIN_LINE = 12.0
MIN_LINES = 36.0  # all lines together
MIN_DIM_LINES = 100.0  # the same in a dim picture
MIN_LONE_LINE = 60.0  # where only one side shows
MIN_LONE_TILT = 3.0
MAX_OUTLINE = 3.0  # of height and width: night has longer ones, all jags
MAX_CORNERS = 60  # of an outline; night has hundreds, the black around a picture a few
ALL_BLACK = 0.97  # share of the area beyond a side
BLUR_MARGIN = 6.0  # what blur adds to black near a side
STEP = 8.0  # luma by which the picture right inside a side is brighter than what counts as black


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What bounds a picture: its tilt, the padding after turning it back, what is no picture.

    `tilt` in degrees counter-clockwise; `padding` (top, right, bottom, left) in pixels; `outside`
    is 255 where there is no picture, of the shape of the luma.
    """

    tilt: float
    padding: tuple[float, float, float, float]
    outside: Luma


@dataclass(frozen=True, slots=True)
class _Line:
    """A straight part of the outline: the tilt it shows, and the side of the picture it would be.

    `distance` is how far from the centre the line runs.
    """

    angle: float
    length: float
    side: int
    distance: float


def surroundings(luma: Luma) -> Surroundings | None:
    """Find tilt and padding; None when the picture fills its canvas or nothing can be told."""
    if min(luma.shape) < 32:
        return None
    level = _black_level(luma)
    light = cv2.mean(luma)[0] - level
    if light < MIN_LIGHT:
        return None
    # In a dim picture less counts as black: its own shadows are nearer to it.
    threshold = level + min(9.0, max(3.0, 0.15 * light))
    noisy = level > NOISY_LEVEL
    smooth = np.asarray(cv2.blur(luma, (5, 5)), np.uint8) if noisy else luma
    black = _below(smooth, threshold)
    if cv2.countNonZero(black) < MIN_BLACK * black.size:
        return None
    blackish = _below(smooth, threshold + BLUR_MARGIN)
    roughness = 2.5 if noisy else 1.5
    found = _lines(smooth, black, threshold, roughness)
    lines = [line for line in found if _black_beyond(line, blackish)]
    best = _agreeing(lines)
    if sum(line.length for line in best) < (MIN_LINES if light > DIM_LIGHT else MIN_DIM_LINES):
        return None
    tilt = _mean_angle(best)
    sides = {line.side: line.distance for line in sorted(best, key=lambda line: line.length)}
    if abs(tilt) < MIN_TILT:
        tilt = 0.0
        refined = {side: _refined(luma, side, at, level) for side, at in sides.items()}
        alike = _symmetric(refined, blackish)
        if alike is None:
            return None
        sides = alike
    elif len(sides) == 1 and (noisy or abs(tilt) < MIN_LONE_TILT or best[0].length < MIN_LONE_LINE):
        return None  # a dark bonnet, a roof against the night
    return _bounded(tilt, sides, *luma.shape)


def _black_level(luma: Luma) -> float:
    """What black looks like here: noise lifts it to the mean of the darkest cell.

    Thin corners hold no whole cell; they lie as strips along one side or the other of a corner.
    """
    cells = cv2.resize(luma, None, fx=1 / 7, fy=1 / 7, interpolation=cv2.INTER_AREA)
    level = cv2.minMaxLoc(cells)[0]
    for rows, columns in ((3, 20), (20, 3)):
        for vertical in (slice(rows), slice(-rows, None)):
            for horizontal in (slice(columns), slice(-columns, None)):
                level = min(level, cv2.mean(luma[vertical, horizontal])[0])
    return level if level <= MAX_BLACK_LEVEL else 0.0


def _below(luma: Luma, threshold: float) -> Luma:
    return np.asarray(cv2.threshold(luma, threshold, 255, cv2.THRESH_BINARY_INV)[1], np.uint8)


def _lines(luma: Luma, black: Luma, threshold: float, roughness: float) -> list[_Line]:
    height, width = black.shape
    found: list[_Line] = []
    outlines, _ = cv2.findContours(black, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        if not 2 * MIN_LINE <= len(outline) <= MAX_OUTLINE * (height + width):
            continue
        left, top, wide, high = cv2.boundingRect(outline)
        if left > 0 and top > 0 and left + wide < width and top + high < height:
            continue
        corners = cv2.approxPolyDP(outline, roughness, True)[:, 0].tolist()
        if len(corners) > MAX_CORNERS:
            continue
        trace: _Trace | None = None
        for (x, y), (next_x, next_y) in zip(corners, corners[1:] + corners[:1], strict=True):
            if not _worth(x, y, next_x - x, next_y - y, width, height):
                continue
            if trace is None:
                trace = _Trace(np.asarray(outline, np.int32), width, height)
            line = _line(*trace.between((x, y), (next_x, next_y)), luma, threshold)
            if line is not None:
                found.append(line)
    return found


class _Trace:
    """The points of one outline, in order, twice over so that no part of it wraps around."""

    def __init__(self, outline: NDArray[np.int32], width: int, height: int) -> None:
        self.points = len(outline)
        self.width = width
        twice = np.concatenate((outline, outline))[:, 0]
        self.x, self.y = np.ascontiguousarray(twice[:, 0]), np.ascontiguousarray(twice[:, 1])
        self.keys = self.y * width + self.x
        # As unsigned numbers, what is below 1 is huge: one comparison for both borders.
        self.inside = ((self.x - 1).view(np.uint32) < width - 2) & (
            (self.y - 1).view(np.uint32) < height - 2
        )

    def between(self, start: tuple[int, int], end: tuple[int, int]) -> _Part:
        """Start, span and points off the border between two corners of the outline.

        Where the outline passes a corner more than once, the shortest way is taken.
        """
        first = np.flatnonzero(self.keys[: self.points] == start[1] * self.width + start[0])
        last = np.flatnonzero(self.keys == end[1] * self.width + end[0])
        following = last[np.searchsorted(last, first)]
        shortest = int(np.argmin(following - first))
        part = slice(int(first[shortest]) + 2, int(following[shortest]) - 1)
        inside = self.inside[part]
        span = (end[0] - start[0], end[1] - start[1])
        return span, self.x[part][inside], self.y[part][inside]


def _worth(x: int, y: int, span_x: int, span_y: int, width: int, height: int) -> bool:
    """True for a long part that does not run along the border, at an angle that can be a tilt."""
    short, long = sorted((abs(span_x), abs(span_y)))
    if math.hypot(short, long) < MIN_LINE or short > long * math.tan(math.radians(MAX_TILT + 3)):
        return False
    ends = ((x, x + span_x, width - 1), (y, y + span_y, height - 1))
    return not any(
        max(first, second) <= 1 or min(first, second) >= last - 1 for first, second, last in ends
    )


def _line(
    span: tuple[int, int],
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    luma: Luma,
    threshold: float,
) -> _Line | None:
    """Fit a line by least squares to the points of a part that spans (x, y) pixels."""
    height, width = luma.shape
    length = math.hypot(*span)
    along_x, along_y = span[0] / length, span[1] / length
    count = len(x)
    if count < 0.6 * max(abs(span[0]), abs(span[1])):
        return None
    # The outline keeps black on its right, so the picture lies to the left of the way it runs.
    inner_x = np.minimum(np.maximum(x - round(4 * along_y), 0), width - 1)
    inner_y = np.minimum(np.maximum(y + round(4 * along_x), 0), height - 1)
    if np.count_nonzero(luma[inner_y, inner_x] > threshold + STEP) < 0.7 * count:
        return None
    level = abs(along_x) > abs(along_y)  # a top or a bottom, else a left or a right side
    main, other = (x, y) if level else (y, x)
    main_mean, other_mean = int(main.sum()) / count, int(other.sum()) / count
    centred = main - main_mean
    spread = float(centred @ centred)
    if spread == 0.0:
        return None
    slope = float(centred @ (other - other_mean)) / spread
    angle = math.degrees(math.atan(-slope if level else slope))
    if abs(angle) > MAX_TILT:
        return None
    side = (TOP if along_x > 0 else BOTTOM) if level else (RIGHT if along_y > 0 else LEFT)
    middle = (main_mean, other_mean) if level else (other_mean, main_mean)
    out_x, out_y = _outward(angle, side)
    distance = (middle[0] - (width - 1) / 2) * out_x + (middle[1] - (height - 1) / 2) * out_y
    return _Line(angle, length, side, distance) if distance > 0 else None


def _outward(angle: float, side: int) -> tuple[float, float]:
    """The unit vector out of a side of a picture turned counter-clockwise by `angle`."""
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    return ((-sine, -cosine), (cosine, -sine), (sine, cosine), (-cosine, sine))[side]


def _black_beyond(line: _Line, black: Luma) -> bool:
    beyond = _beyond(line.angle, line.side, line.distance + 2.0, *black.shape)
    area = cv2.countNonZero(beyond)
    return area > 0 and cv2.countNonZero(cv2.bitwise_and(beyond, black)) >= ALL_BLACK * area


def _beyond(angle: float, side: int, distance: float, height: int, width: int) -> Luma:
    """255 on what lies beyond a side of the picture."""
    out_x, out_y = _outward(angle, side)
    x, y = (width - 1) / 2 + out_x * distance, (height - 1) / 2 + out_y * distance
    reach = 2.0 * (height + width)
    corners = [
        (x - out_y * reach, y + out_x * reach),
        (x + out_y * reach, y - out_x * reach),
        (x + (out_x + out_y) * reach, y + (out_y - out_x) * reach),
        (x + (out_x - out_y) * reach, y + (out_y + out_x) * reach),
    ]
    mask = np.zeros((height, width), np.uint8)
    fixed = np.array([(round(16 * px), round(16 * py)) for px, py in corners], np.int32)
    cv2.fillConvexPoly(mask, fixed, 255, cv2.LINE_8, 4)
    return mask


def _agreeing(lines: list[_Line]) -> list[_Line]:
    """The lines that share an angle, of all such groups the longest together."""
    groups = [
        [line for line in lines if abs(line.angle - seed.angle) < AGREE_DEGREES] for seed in lines
    ]
    return max(groups, key=lambda group: sum(line.length for line in group), default=[])


def _mean_angle(lines: list[_Line]) -> float:
    weight = sum(line.length**2 for line in lines)
    return sum(line.angle * line.length**2 for line in lines) / weight


def _refined(luma: Luma, side: int, distance: float, level: float) -> float:
    """Where an upright side crosses half the way from black to picture: blur smears it outwards."""
    profile = cv2.reduce(luma, 1 if side in (TOP, BOTTOM) else 0, cv2.REDUCE_AVG).ravel().tolist()
    if side in (BOTTOM, RIGHT):
        profile.reverse()
    edge = round((len(profile) - 1) / 2 - distance)
    inner = sorted(profile[edge + 5 : edge + 11])
    if not inner:
        return distance
    half = (level + inner[len(inner) // 2]) / 2
    for place in range(max(1, edge - 3), min(edge + 7, len(profile))):
        low, high = profile[place - 1], profile[place]
        if low < half <= high:
            return (len(profile) - 1) / 2 - (place - 1 + (half - low) / (high - low)) + 0.0
    return distance


def _symmetric(sides: dict[int, float], black: Luma) -> dict[int, float] | None:
    """Padding as letterboxing makes it, as wide on opposite sides; None when it is not.

    Something dark beside one bar, such as a bonnet, hides where that bar begins: it is where the
    opposite one begins if all beyond is black.
    """
    alike: dict[int, float] = {}
    for side, distance in sides.items():
        opposite = (side + 2) % 4
        other = sides.get(opposite, 0.0)
        if abs(distance - other) <= ALIKE:
            alike[side] = distance
            continue
        distance = max(distance, other)
        beyond = _beyond(0.0, opposite, distance + 2.0, *black.shape)
        area = cv2.countNonZero(beyond)
        if cv2.countNonZero(cv2.bitwise_and(beyond, black)) < ALL_BLACK * area or not area:
            return None
        alike[side] = alike[opposite] = distance
    return alike


def _bounded(tilt: float, sides: dict[int, float], height: int, width: int) -> Surroundings:
    outside = np.zeros((height, width), np.uint8)
    padding = [0.0] * 4
    for side, distance in sides.items():
        outside |= _beyond(tilt, side, distance, height, width)
        extent = width if side in (LEFT, RIGHT) else height
        padding[side] = max(0.0, extent / 2 - distance)
    top, right, bottom, left = padding
    return Surroundings(tilt, (top, right, bottom, left), outside)
