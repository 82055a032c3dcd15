"""Street furniture that has nothing to do with roadwork but often looks like it."""

from __future__ import annotations

import numpy as np

from natix_miner.scenes.palette import (
    AUTUMN,
    BRICKS,
    FACADES,
    GREYS,
    LEAVES,
    ORANGES,
    REDS,
    WHITES,
    YELLOWS,
    near,
    pick,
    scaled,
)
from natix_miner.scenes.shapes import Colour, Shape

INK: Colour = (24, 22, 22)


def road_sign(rng: np.random.Generator) -> Shape:
    """A permanent sign on one post: stop, yield, warning, limit, direction."""
    shape = Shape("road-sign", float(rng.uniform(2.2, 3.2)), 0.42)
    shape.rect(0.2, 0.2, 0.22, 1, pick(rng, GREYS, 10))
    white, kind = pick(rng, WHITES, 6), int(rng.integers(7))
    middle, radius = (0.21, 0.17), 0.16
    if kind == 0:
        _disc(shape, middle, radius, 8, white)
        _disc(shape, middle, radius * 0.93, 8, pick(rng, REDS, 8), 0.4)
        for x in (0.11, 0.16, 0.21, 0.26):
            shape.rect(x, 0.145, x + 0.035, 0.2, white, 0.4)
    elif kind == 1:
        shape.poly([(0.02, 0.03), (0.4, 0.03), (0.21, 0.34)], pick(rng, REDS, 8), 0.4)
        shape.poly([(0.1, 0.07), (0.32, 0.07), (0.21, 0.25)], white, 0.4)
    elif kind in (2, 3):
        face = pick(rng, YELLOWS if rng.random() < 0.8 else ((190, 225, 60),), 10)
        shape.poly([(0.21, 0), (0.42, 0.2), (0.21, 0.4), (0.0, 0.2)], INK)
        shape.poly([(0.21, 0.02), (0.4, 0.2), (0.21, 0.38), (0.02, 0.2)], face, 0.45)
        shape.line([(0.18, 0.28), (0.21, 0.12), (0.26, 0.17)], 0.035, INK)
        shape.ellipse(0.21, 0.11, 0.02, 0.02, INK)
    elif kind == 4:
        _disc(shape, middle, radius, 20, pick(rng, REDS, 8), 0.4)
        _disc(shape, middle, radius * 0.75, 20, white, 0.4)
        shape.rect(0.13, 0.13, 0.19, 0.21, INK)
        shape.rect(0.22, 0.13, 0.28, 0.21, INK)
    elif kind == 5:
        shape.rect(0.05, 0, 0.37, 0.4, white, 0.4)
        shape.rect(0.12, 0.08, 0.3, 0.13, INK)
        shape.rect(0.12, 0.18, 0.3, 0.32, INK)
    else:
        face = pick(rng, ((20, 100, 70), (25, 70, 140), (110, 70, 40)), 8)
        shape.rect(0, 0, 0.42, 0.3, face, 0.4)
        for y in (0.06, 0.16):
            shape.rect(0.06, y, 0.34, y + 0.05, white, 0.4)
    return shape


def traffic_light(rng: np.random.Generator) -> Shape:
    """A signal on a post."""
    shape = Shape("traffic-light", float(rng.uniform(2.8, 4.5)), 0.16)
    shape.rect(0.07, 0.2, 0.09, 1, near(rng, GREYS[0], 12))
    box = pick(rng, (INK, (60, 60, 20), (230, 180, 40)), 6)
    shape.rect(0.03, 0, 0.13, 0.26, box)
    on = int(rng.integers(3))
    lamps: tuple[Colour, ...] = ((255, 40, 30), (255, 170, 30), (60, 240, 150))
    for index, lamp in enumerate(lamps):
        burns = index == on
        shape.ellipse(0.08, 0.05 + 0.08 * index, 0.032, 0.032, lamp if burns else scaled(lamp, 0.2),
                      1.0 if burns else 0.0)  # fmt: skip
    return shape


def pole(rng: np.random.Generator) -> Shape:
    """A street lamp or power pole."""
    shape = Shape("pole", float(rng.uniform(5, 10)), 0.3)
    grey = pick(rng, (*GREYS, (95, 75, 58)), 10)
    shape.rect(0.14, 0.02, 0.16, 1, grey)
    if rng.random() < 0.6:
        shape.line([(0.15, 0.03), (0.27, 0.03)], 0.012, grey)
        shape.ellipse(0.27, 0.035, 0.025, 0.012, (255, 225, 160), 1.0)
    else:
        shape.rect(0.03, 0.08, 0.27, 0.1, grey)
    return shape


def tree(rng: np.random.Generator, autumn: float) -> Shape:
    """A tree; ``autumn`` is the chance of orange and yellow leaves."""
    shape = Shape("tree", float(rng.uniform(4, 10)), float(rng.uniform(0.55, 1.0)))
    wide, trunk = shape.aspect, near(rng, (75, 60, 48), 12)
    shape.line([(wide / 2, 0.5), (wide / 2, 1)], 0.045, trunk)
    style = rng.random()
    if style < 0.15:
        for _ in range(14):
            end = (float(rng.uniform(0.05, 0.95)) * wide, float(rng.uniform(0.02, 0.4)))
            shape.line([(wide / 2, float(rng.uniform(0.5, 0.7))), end], 0.012, trunk)
        return shape
    base = pick(rng, AUTUMN if rng.random() < autumn else LEAVES, 12)
    if style < 0.3:
        for part in np.linspace(0.25, 1, 5):
            half = 0.45 * wide * part
            high = 0.85 * part
            shape.poly([(wide / 2, high - 0.3), (wide / 2 + half, high), (wide / 2 - half, high)],
                       near(rng, base, 8))  # fmt: skip
        return shape
    for index in range(34):
        angle, reach = float(rng.uniform(0, 6.28)), float(rng.uniform(0, 0.34))
        size = float(rng.uniform(0.05, 0.15))
        y = 0.34 + np.sin(angle) * reach * 0.8
        shade = (0.75 + 0.5 * (0.7 - y)) * (0.8 if index < 12 else 1.0)
        shape.ellipse(wide / 2 + np.cos(angle) * reach * wide * 1.1, float(y), size * wide, size,
                      near(rng, scaled(base, shade), 12))  # fmt: skip
    return shape


def bush(rng: np.random.Generator, autumn: float) -> Shape:
    """A bush, hedge or heap of leaves at the kerb."""
    shape = Shape("bush", float(rng.uniform(0.4, 1.6)), float(rng.uniform(1.2, 3.0)))
    base = pick(rng, AUTUMN if rng.random() < autumn else LEAVES, 12)
    for _ in range(26):
        size = float(rng.uniform(0.12, 0.26))
        x, y = float(rng.uniform(0.1, 0.9)) * shape.aspect, float(rng.uniform(0.3, 0.95))
        shape.ellipse(x, y, size, size * 0.8, near(rng, scaled(base, 1.15 - 0.4 * y), 12))
    return shape


def bin_or_box(rng: np.random.Generator) -> Shape:
    """A litter bin, hydrant, letter box or crate, often red, orange or yellow."""
    shape = Shape("bin", float(rng.uniform(0.6, 1.3)), float(rng.uniform(0.45, 0.9)), True)
    colour = pick(rng, (*ORANGES, *REDS, *YELLOWS, *GREYS, *GREYS, (30, 90, 60), (40, 70, 130)), 14)
    wide = shape.aspect
    shape.poly([(0.04, 0.1), (wide - 0.04, 0.1), (wide * 0.92, 1), (wide * 0.08, 1)], colour)
    shape.rect(0, 0.02, wide, 0.13, scaled(colour, 0.8))
    if rng.random() < 0.4:
        shape.rect(wide * 0.25, 0.3, wide * 0.75, 0.55, pick(rng, (*WHITES, *GREYS), 8))
    return shape


def bollard(rng: np.random.Generator) -> Shape:
    """A permanent bollard: grey, black, white, sometimes with one band."""
    shape = Shape("bollard", float(rng.uniform(0.6, 1.1)), 0.2, True)
    shape.rect(0.05, 0.02, 0.15, 1, pick(rng, (*GREYS, *WHITES, (30, 30, 32), (220, 180, 50)), 10))
    if rng.random() < 0.4:
        shape.rect(0.05, 0.12, 0.15, 0.24, pick(rng, (*WHITES, *REDS), 8), 0.5)
    return shape


def board(rng: np.random.Generator) -> Shape:
    """A billboard or shop sign on legs in loud colours."""
    shape = Shape("board", float(rng.uniform(2.5, 6)), float(rng.uniform(0.7, 1.6)))
    wide = shape.aspect
    for x in (0.2, 0.78):
        shape.rect(x * wide, 0.5, x * wide + 0.03, 1, pick(rng, GREYS, 8))
    loud = (*ORANGES, *REDS, *YELLOWS, *FACADES, (40, 90, 160))
    shape.rect(0, 0, wide, 0.55, pick(rng, loud, 12), 0.3)
    for _ in range(int(rng.integers(1, 5))):
        x, y = float(rng.uniform(0.05, 0.6)) * wide, float(rng.uniform(0.04, 0.4))
        shape.rect(
            x, y, x + float(rng.uniform(0.1, 0.4)) * wide, y + 0.09, pick(rng, loud, 20), 0.3
        )
    return shape


def awning(rng: np.random.Generator) -> Shape:
    """A shop front with a striped or plain awning."""
    shape = Shape("awning", float(rng.uniform(2.8, 3.6)), float(rng.uniform(1.0, 2.0)))
    wide = shape.aspect
    shape.rect(0, 0, wide, 1, pick(rng, (*BRICKS, *FACADES), 12))
    shape.rect(0.08, 0.35, wide - 0.08, 0.95, near(rng, (70, 75, 80), 15), 0.2)
    first = pick(rng, (*ORANGES, *REDS, *YELLOWS, (30, 100, 70)), 12)
    second = pick(rng, WHITES, 8) if rng.random() < 0.5 else first
    count = 9
    for index in range(count):
        x = index * wide / count
        shape.poly([(x, 0.18), (x + wide / count, 0.18), (x + wide / count, 0.42), (x, 0.42)],
                   first if index % 2 else second)  # fmt: skip
    return shape


def umbrella(rng: np.random.Generator) -> Shape:
    """A parasol or market stall, often orange or red and white."""
    shape = Shape("umbrella", float(rng.uniform(2.0, 2.6)), 1.0)
    shape.rect(0.49, 0.2, 0.51, 1, pick(rng, GREYS, 8))
    first = pick(rng, (*ORANGES, *REDS, *YELLOWS, *WHITES), 12)
    second = pick(rng, WHITES, 8) if rng.random() < 0.5 else scaled(first, 0.88)
    for index, x in enumerate((0.0, 0.25, 0.5, 0.75)):
        shape.poly([(0.5, 0.02), (x + 0.25, 0.35), (x, 0.35)], first if index % 2 else second)
    return shape


def animal(rng: np.random.Generator) -> Shape:
    """A cow or dog on the road, brown to orange."""
    shape = Shape("animal", float(rng.uniform(0.6, 1.5)), 1.4)
    coat = pick(
        rng, ((170, 110, 60), (120, 85, 60), (210, 200, 190), (60, 50, 45), (195, 120, 55)), 12
    )
    for x in (0.25, 0.38, 0.95, 1.08):
        shape.line([(x, 0.55), (x, 1)], 0.08, scaled(coat, 0.85))
    shape.ellipse(0.68, 0.45, 0.5, 0.22, coat)
    shape.ellipse(1.25, 0.28, 0.14, 0.14, coat)
    shape.line([(1.0, 0.4), (1.25, 0.28)], 0.16, coat)
    return shape


def clutter(rng: np.random.Generator) -> Shape:
    """Something nameless in any colour: a blob, a slab, a triangle, a bundle of bars."""
    shape = Shape("clutter", float(rng.uniform(0.3, 2.5)), float(rng.uniform(0.3, 1.6)))
    wide = shape.aspect
    red, green, blue = rng.uniform(20, 250, 3).tolist()
    anything: tuple[Colour, ...] = ((red, green, blue),)
    loud = (*ORANGES, *REDS, *YELLOWS, *AUTUMN) if rng.random() < 0.6 else anything
    first, second = pick(rng, loud, 14), pick(rng, (*WHITES, *GREYS, *FACADES, *loud), 14)
    style = int(rng.integers(6))
    if style == 0:
        shape.rect(0, 0, wide, 1, first)
        shape.rect(wide * 0.1, 0.1, wide * 0.9, float(rng.uniform(0.3, 0.9)), second)
    elif style == 1:
        shape.ellipse(wide / 2, 0.5, wide / 2, 0.5, first)
    elif style == 2:
        corners = rng.uniform(0, 1, (int(rng.integers(4, 8)), 2)) * (wide, 1)
        shape.poly([(x, y) for x, y in corners.tolist()], first)
    elif style == 3:
        for x in np.arange(0, wide, 0.2):
            shape.rect(
                x, float(rng.uniform(0, 0.4)), x + 0.09, 1, first if rng.random() < 0.5 else second
            )
    elif style == 4:
        shape.poly([(0, 1), (wide, 1), (wide * float(rng.uniform(0, 1)), 0)], second)
    else:
        for _ in range(12):
            x, y = float(rng.uniform(0, 1)) * wide, float(rng.uniform(0.1, 1))
            shape.ellipse(x, y, 0.1, 0.08, near(rng, first if rng.random() < 0.6 else second, 20))
    return shape


def _disc(
    shape: Shape,
    middle: tuple[float, float],
    radius: float,
    corners: int,
    colour: Colour,
    lit: float = 0.0,
) -> None:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + np.pi / corners
    points = [(middle[0] + radius * np.cos(a), middle[1] + radius * np.sin(a)) for a in angles]
    shape.poly(points, colour, lit)
