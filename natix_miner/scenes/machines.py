"""Roadwork's machines, boards and people."""

from __future__ import annotations

import numpy as np

from natix_miner.scenes.palette import (
    CARS,
    CLOTHES,
    EARTH,
    GREYS,
    LIMES,
    ORANGES,
    SKINS,
    WHITES,
    YELLOWS,
    near,
    pick,
    scaled,
)
from natix_miner.scenes.shapes import Colour, Shape

INK: Colour = (28, 28, 30)
GLASS: Colour = (70, 85, 95)
BEACON: Colour = (255, 165, 40)


def _paint(rng: np.random.Generator, plain: bool) -> Colour:
    """Builders' yellow or orange; white or green-grey when orange is not wanted."""
    if plain:
        return pick(rng, (*WHITES, *YELLOWS), 14)
    return pick(rng, (*YELLOWS, *YELLOWS, *ORANGES), 14)


def excavator(rng: np.random.Generator, plain: bool = False) -> Shape:
    """Tracks, cab and a bent arm with a bucket."""
    shape = Shape("excavator", float(rng.uniform(2.6, 4.6)), 1.5)
    paint, dark = _paint(rng, plain), near(rng, INK, 6)
    shape.poly([(0.72, 0.86), (0.8, 0.8), (1.4, 0.8), (1.48, 0.88), (1.42, 1), (0.76, 1)], dark)
    for x in np.arange(0.84, 1.4, 0.13):
        shape.ellipse(x, 0.91, 0.05, 0.05, (75, 72, 70))
    shape.poly([(0.78, 0.5), (1.36, 0.48), (1.44, 0.6), (1.42, 0.79), (0.78, 0.79)], paint)
    shape.rect(1.15, 0.55, 1.36, 0.72, scaled(paint, 0.8))
    shape.poly([(0.8, 0.26), (1.05, 0.26), (1.1, 0.74), (0.78, 0.74)], scaled(paint, 0.85))
    shape.poly([(0.82, 0.3), (1.02, 0.3), (1.05, 0.58), (0.82, 0.58)], GLASS)
    lift = float(rng.uniform(-0.12, 0.12))
    elbow, wrist = (0.45, 0.06 + lift), (0.14, 0.5 + lift)
    shape.line([(0.85, 0.62), elbow], 0.11, paint)
    shape.line([elbow, wrist], 0.08, scaled(paint, 0.92))
    shape.line([(0.7, 0.3), (0.45, 0.12 + lift)], 0.03, (160, 160, 160))
    x, y = wrist
    shape.poly([(x - 0.06, y), (x + 0.1, y + 0.02), (x + 0.14, y + 0.2), (x - 0.04, y + 0.22),
                (x - 0.12, y + 0.1)], dark)  # fmt: skip
    _beacon(shape, rng, 0.92, 0.23)
    return shape


def loader(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A wheel loader or small skid-steer with its shovel in front."""
    shape = Shape("loader", float(rng.uniform(2.0, 3.2)), 1.6)
    paint = _paint(rng, plain)
    shape.poly([(0.5, 0.45), (1.5, 0.42), (1.55, 0.75), (0.5, 0.78)], paint)
    shape.poly([(0.66, 0.08), (1.08, 0.08), (1.14, 0.5), (0.62, 0.5)], scaled(paint, 0.9))
    shape.rect(0.7, 0.14, 1.04, 0.44, GLASS)
    shape.line([(0.7, 0.6), (0.3, 0.62), (0.2, 0.86)], 0.09, scaled(paint, 0.9))
    shape.poly([(0.0, 0.7), (0.24, 0.74), (0.26, 0.98), (0.02, 0.98)], near(rng, INK, 10))
    for x in (0.66, 1.32):
        shape.ellipse(x, 0.8, 0.2, 0.2, (32, 32, 33))
        shape.ellipse(x, 0.8, 0.09, 0.09, paint)
    _beacon(shape, rng, 0.86, 0.05)
    return shape


def roller(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A road roller: steel drum, engine, roof."""
    shape = Shape("roller", float(rng.uniform(2.0, 3.0)), 1.5)
    paint = _paint(rng, plain)
    shape.poly([(0.4, 0.52), (1.3, 0.48), (1.32, 0.74), (0.4, 0.76)], paint)
    shape.rect(0.66, 0.02, 1.18, 0.1, paint)
    shape.line([(0.7, 0.08), (0.7, 0.55)], 0.04, INK)
    shape.line([(1.14, 0.08), (1.14, 0.55)], 0.04, INK)
    shape.ellipse(0.32, 0.74, 0.26, 0.26, near(rng, (105, 105, 108), 10))
    shape.ellipse(0.32, 0.74, 0.12, 0.12, scaled(paint, 0.9))
    shape.ellipse(1.16, 0.78, 0.22, 0.22, (34, 34, 35))
    _beacon(shape, rng, 0.9, 0.0)
    return shape


def dump_truck(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A tipper from the side; common around roadwork and on any road."""
    shape = Shape("dump-truck", float(rng.uniform(2.8, 3.5)), 2.3)
    cab = pick(rng, CARS, 12) if plain or rng.random() < 0.6 else pick(rng, ORANGES, 12)
    bed = pick(rng, (*GREYS, *EARTH), 12) if plain or rng.random() < 0.6 else cab
    shape.poly([(0.75, 0.2), (2.28, 0.16), (2.2, 0.7), (0.8, 0.7)], bed)
    for x in np.arange(0.95, 2.2, 0.22):
        shape.line([(x, 0.2), (x, 0.68)], 0.025, scaled(bed, 0.75))
    shape.rect(0.1, 0.7, 2.2, 0.8, INK)
    shape.poly([(0.05, 0.5), (0.2, 0.16), (0.66, 0.16), (0.68, 0.8), (0.04, 0.8)], cab)
    shape.poly([(0.18, 0.46), (0.26, 0.22), (0.56, 0.22), (0.56, 0.46)], GLASS)
    for x in (0.34, 1.45, 1.85):
        shape.ellipse(x, 0.85, 0.16, 0.15, (30, 30, 31))
        shape.ellipse(x, 0.85, 0.07, 0.07, (125, 125, 125))
    return shape


def work_truck(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A work truck from behind with striped tail-board, beacons and often an arrow board."""
    shape = Shape("work-truck", float(rng.uniform(2.6, 3.4)), 0.95)
    body = pick(rng, WHITES if plain or rng.random() < 0.5 else (*ORANGES, *YELLOWS), 12)
    shape.rect(0.08, 0.3, 0.87, 0.86, body)
    shape.rect(0.12, 0.12, 0.83, 0.5, scaled(body, 0.9))
    shape.rect(0.18, 0.17, 0.77, 0.34, GLASS)
    first: Colour = pick(rng, ((200, 40, 40), (235, 90, 40)), 10)
    second = pick(rng, LIMES if rng.random() < 0.6 else WHITES, 8)
    for index, x in enumerate(np.linspace(0.1, 0.85, 9)[:-1]):
        tip = 0.1 if x < 0.47 else -0.1
        shape.poly([(x, 0.72), (x + 0.095, 0.72), (x + 0.095 + tip * 0.4, 0.56),
                    (x + tip * 0.4, 0.56)], first if index % 2 else second, 0.6)  # fmt: skip
    for x in (0.14, 0.66):
        shape.rect(x, 0.84, x + 0.16, 1, (28, 28, 28))
    for x in (0.09, 0.8):
        shape.rect(x, 0.76, x + 0.07, 0.82, (220, 30, 30), 0.8)
    if rng.random() < 0.5:
        _arrow(shape, rng, (0.1, -0.0, 0.85, 0.3))
    _beacon(shape, rng, 0.2, 0.1)
    _beacon(shape, rng, 0.76, 0.1)
    return shape


def arrow_board(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A trailer with a lamp arrow on a dark board."""
    del plain
    shape = Shape("arrow-board", float(rng.uniform(2.2, 3.2)), 0.9)
    trailer = pick(rng, (*ORANGES, *YELLOWS, *GREYS), 10)
    shape.line([(0.45, 0.4), (0.45, 0.85)], 0.05, GREYS[1])
    shape.rect(0.2, 0.8, 0.7, 0.9, trailer)
    for x in (0.26, 0.64):
        shape.ellipse(x, 0.93, 0.06, 0.07, (30, 30, 30))
    _arrow(shape, rng, (0.0, 0.0, 0.9, 0.5))
    return shape


def message_board(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A trailer with lines of amber letters."""
    del plain
    shape = Shape("message-board", float(rng.uniform(2.6, 3.6)), 0.95)
    shape.line([(0.47, 0.4), (0.47, 0.88)], 0.06, GREYS[1])
    shape.rect(0.2, 0.82, 0.75, 0.92, pick(rng, (*ORANGES, *GREYS), 10))
    for x in (0.26, 0.7):
        shape.ellipse(x, 0.94, 0.06, 0.06, (30, 30, 30))
    shape.rect(0, 0, 0.95, 0.5, near(rng, (25, 25, 22), 6))
    for y in (0.07, 0.21, 0.35)[: int(rng.integers(2, 4))]:
        for x in np.arange(0.08, 0.86, 0.1):
            if rng.random() < 0.85:
                for dot in ((0, 0), (0.03, 0.03), (0, 0.06), (0.03, 0.0), (0.03, 0.07)):
                    if rng.random() < 0.8:
                        spot = (x + dot[0], y + dot[1])
                        shape.rect(*spot, spot[0] + 0.022, spot[1] + 0.022, BEACON, 1.0)
    return shape


def worker(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A worker: vest with reflective bands, helmet, sometimes bent over or with a tool."""
    shape = Shape("worker", float(rng.uniform(1.6, 1.9)), 0.45)
    vest = pick(rng, LIMES if plain or rng.random() < 0.5 else ORANGES, 14)
    trousers = vest if rng.random() < 0.2 else pick(rng, CLOTHES, 10)
    lean = float(rng.uniform(-0.08, 0.08))
    legs = float(rng.uniform(0.02, 0.08))
    for side in (-1, 1):
        shape.line([(0.22, 0.52), (0.22 + side * legs, 0.97)], 0.075, trousers)
        shape.line([(0.22 + lean + side * 0.08, 0.22), (0.22 + lean + side * 0.13, 0.38),
                    (0.22 + lean + side * float(rng.uniform(0.02, 0.16)), 0.5)], 0.05,
                   vest if rng.random() < 0.4 else pick(rng, CLOTHES, 8))  # fmt: skip
    shape.poly([(0.12 + lean, 0.18), (0.32 + lean, 0.18), (0.31, 0.54), (0.13, 0.54)], vest, 0.15)
    band: Colour = near(rng, (215, 215, 205), 8)
    shape.rect(0.13 + lean / 2, 0.38, 0.31 + lean / 2, 0.42, band, 0.75)
    for x in (0.15, 0.26):
        shape.rect(x + lean, 0.18, x + lean + 0.03, 0.4, band, 0.75)
    shape.ellipse(0.22 + lean, 0.1, 0.055, 0.07, pick(rng, SKINS, 8))
    helmet = pick(rng, (*WHITES, *YELLOWS, *LIMES) if plain else (*WHITES, *YELLOWS, *ORANGES), 8)
    shape.poly([(0.15 + lean, 0.08), (0.18 + lean, 0.015), (0.26 + lean, 0.015),
                (0.29 + lean, 0.08)], helmet)  # fmt: skip
    if rng.random() < 0.35:
        shape.line([(0.3, 0.45), (0.44, 0.99)], 0.02, (110, 85, 60))
    return shape


def earth_heap(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A heap of earth, gravel or broken asphalt."""
    del plain
    shape = Shape("earth-heap", float(rng.uniform(0.6, 1.8)), float(rng.uniform(1.6, 3.0)))
    base, wide = pick(rng, EARTH, 12), shape.aspect
    top = rng.uniform(0.25, 0.75) * wide
    shape.poly([(0, 1), (wide * 0.2, 0.5), (top, 0.08), (wide * 0.85, 0.55), (wide, 1)], base)
    for _ in range(40):
        x, y = float(rng.uniform(0.1, 0.9)) * wide, float(rng.uniform(0.35, 0.97))
        if abs(x - top) / wide < 0.65 * y:
            size = float(rng.uniform(0.02, 0.07))
            shape.ellipse(x, y, size, size * 0.7, near(rng, base, 22))
    return shape


def _beacon(shape: Shape, rng: np.random.Generator, x: float, y: float) -> None:
    if rng.random() < 0.7:
        shape.ellipse(x, y + 0.02, 0.035, 0.03, near(rng, BEACON, 8), 1.0)


def _arrow(shape: Shape, rng: np.random.Generator, box: tuple[float, float, float, float]) -> None:
    left, top, right, low = box
    shape.rect(left, top, right, low, near(rng, (30, 30, 28), 6))
    wide, high, middle = right - left, low - top, (top + low) / 2
    dots = [(left + wide * part, middle) for part in np.linspace(0.15, 0.85, 7)]
    dots += [(left + wide * (0.15 + 0.09 * step), middle + side * high * 0.13 * step)
             for step in (1, 2, 3) for side in (-1, 1)]  # fmt: skip
    flip = rng.random() < 0.5
    for x, y in dots:
        place = left + right - x if flip else x
        shape.ellipse(place, y, wide * 0.035, wide * 0.035, near(rng, (255, 190, 70), 10), 1.0)
