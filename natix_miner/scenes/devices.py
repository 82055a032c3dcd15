"""Roadwork's small devices: cones, drums, panels, barricades, barriers, boards, fences.

Each function draws one ``Shape`` with its own colours. ``plain`` asks for one without orange.
"""

from __future__ import annotations

import numpy as np

from natix_miner.scenes.palette import GREYS, LIMES, ORANGES, REDS, WHITES, YELLOWS, near, pick
from natix_miner.scenes.shapes import Colour, Shape

REFLECT = 0.75


def cone(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A traffic cone with zero to three reflective bands on a square foot."""
    shape = Shape("cone", float(rng.uniform(0.45, 1.1)), float(rng.uniform(0.42, 0.75)), True)
    body = pick(rng, LIMES if plain else ORANGES, 14)
    foot = body if rng.random() < 0.55 else pick(rng, GREYS, 10)
    middle, top = shape.aspect / 2, float(rng.uniform(0.03, 0.07))
    wide = shape.aspect * float(rng.uniform(0.28, 0.4))
    shape.rect(0, 0.94, shape.aspect, 1, foot)
    edges = ((middle - top, 0.0), (middle + top, 0.0))
    shape.poly([*edges, (middle + wide, 0.95), (middle - wide, 0.95)], body)
    bands: tuple[tuple[float, float], ...] = ((), ((0.3, 0.55),), ((0.2, 0.38), (0.5, 0.64)),
                                              ((0.12, 0.24), (0.36, 0.5), (0.62, 0.76)))[
        int(rng.choice(4, p=(0.2, 0.3, 0.38, 0.12)))
    ]  # fmt: skip
    white = pick(rng, WHITES, 8)
    for high, low in bands:
        at = [(y, top + (wide - top) * y / 0.95) for y in (high, low)]
        shape.poly(
            [(middle - at[0][1], high), (middle + at[0][1], high),
             (middle + at[1][1], low), (middle - at[1][1], low)],
            white, REFLECT,
        )  # fmt: skip
    return shape


def drum(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A plastic barrel with alternating bands."""
    shape = Shape("drum", float(rng.uniform(0.85, 1.15)), float(rng.uniform(0.5, 0.72)), True)
    body = pick(rng, YELLOWS if plain else ORANGES, 14)
    white, wide = pick(rng, WHITES, 8), shape.aspect
    inset = wide * 0.1
    shape.poly([(inset, 0.03), (wide - inset, 0.03), (wide, 0.93), (0, 0.93)], body)
    shape.rect(0, 0.9, wide, 1, pick(rng, GREYS, 8) if rng.random() < 0.7 else body)
    count = int(rng.integers(2, 4))
    for index in range(count):
        high = 0.14 + index * 0.72 / count
        shape.rect(inset * (1 - high), high, wide - inset * (1 - high), high + 0.3 / count,
                   white, REFLECT)  # fmt: skip
    if rng.random() < 0.5:
        shape.rect(wide * 0.4, 0, wide * 0.6, 0.06, body)
    return shape


def tube(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A slim tubular marker."""
    shape = Shape("tube", float(rng.uniform(0.7, 1.15)), 0.26, True)
    body = pick(rng, YELLOWS if plain else ORANGES, 14)
    shape.rect(0, 0.93, 0.26, 1, pick(rng, GREYS, 8))
    shape.rect(0.08, 0, 0.18, 0.95, body)
    for high in (0.1, 0.3)[: int(rng.integers(1, 3))]:
        shape.rect(0.075, high, 0.185, high + 0.1, pick(rng, WHITES, 6), REFLECT)
    return shape


def panel(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A vertical panel with slanted stripes on a foot."""
    shape = Shape("panel", float(rng.uniform(0.9, 1.3)), 0.34)
    colour = pick(rng, REDS if plain else ORANGES, 12)
    shape.rect(0, 0.95, 0.34, 1, pick(rng, GREYS, 8))
    shape.rect(0.15, 0.6, 0.19, 0.96, pick(rng, GREYS, 8))
    _stripes(shape, (0.06, 0.0, 0.28, 0.72), colour, pick(rng, WHITES, 6), 0.13, upright=True)
    return shape


def barricade(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A barricade of one to three striped boards on legs (type I to type III)."""
    boards = int(rng.integers(1, 4))
    tall = float(rng.uniform(0.9, 1.1)) if boards < 3 else float(rng.uniform(1.3, 1.7))
    shape = Shape("barricade", tall, float(rng.uniform(0.9, 1.9)))
    colour = pick(rng, (REDS if rng.random() < 0.6 else YELLOWS) if plain else ORANGES, 12)
    wide, leg = shape.aspect, pick(rng, GREYS if rng.random() < 0.5 else WHITES, 8)
    for x in (wide * 0.08, wide * 0.88):
        shape.rect(x, 0.02, x + 0.05, 1, leg)
        shape.line([(x - 0.07, 0.99), (x + 0.12, 0.99)], 0.03, leg)
    white = pick(rng, WHITES, 6)
    for index in range(boards):
        high = 0.05 + index * 0.3
        slant = 0.16 if rng.random() < 0.5 else -0.16
        _stripes(shape, (0, high, wide, high + 0.2), colour, white, slant)
    if rng.random() < 0.3:
        shape.ellipse(wide * 0.15, 0.0, 0.06, 0.06, near(rng, (255, 170, 40)), 1.0)
    return shape


def plastic_barrier(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A water-filled barrier segment."""
    shape = Shape("barrier", float(rng.uniform(0.8, 1.1)), float(rng.uniform(1.2, 2.2)))
    colour = pick(rng, (*REDS, *WHITES, *YELLOWS[:2]) if plain else ORANGES, 12)
    wide = shape.aspect
    shape.poly([(0.08, 0), (wide - 0.08, 0), (wide - 0.03, 0.55), (wide, 1), (0, 1), (0.03, 0.55)],
               colour)  # fmt: skip
    shape.rect(0.05, 0.5, wide - 0.05, 0.56, near(rng, colour, 25))
    for x in np.arange(0.25, wide - 0.2, 0.5):
        shape.rect(x, 0.86, x + 0.2, 1, (40, 38, 38))
        shape.rect(x, 0.15, x + 0.22, 0.4, near(rng, colour, 20))
    if rng.random() < 0.4:
        shape.rect(wide * 0.3, 0.1, wide * 0.7, 0.3, pick(rng, WHITES, 6), REFLECT)
    return shape


def concrete_barrier(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A grey concrete wall segment; stands on medians without any roadwork, too."""
    del plain
    shape = Shape("concrete", float(rng.uniform(0.8, 1.1)), float(rng.uniform(2.5, 4.0)))
    wide, grey = shape.aspect, near(rng, (165, 162, 155), 14)
    shape.poly([(0.02, 0), (wide - 0.02, 0), (wide, 1), (0, 1)], grey)
    shape.rect(0, 0.6, wide, 1, near(rng, grey, 8))
    shape.line([(0.02, 0), (0.0, 1)], 0.03, (90, 88, 84))
    for _ in range(3):
        x = float(rng.uniform(0, wide))
        shape.line([(x, 0.1), (x + 0.02, float(rng.uniform(0.4, 1)))], 0.03, near(rng, grey, 12))
    return shape


def work_sign(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A diamond or board on a stand; orange, or the yellow and red triangle used elsewhere."""
    shape = Shape("work-sign", float(rng.uniform(1.4, 2.6)), 0.5)
    legs = pick(rng, GREYS, 8)
    shape.line([(0.25, 0.4), (0.12, 1.0)], 0.02, legs)
    shape.line([(0.25, 0.4), (0.38, 1.0)], 0.02, legs)
    ink: Colour = (20, 18, 16)
    if plain:
        shape.poly([(0.25, 0.05), (0.48, 0.5), (0.02, 0.5)], pick(rng, REDS, 8), 0.5)
        shape.poly([(0.25, 0.14), (0.41, 0.46), (0.09, 0.46)],
                   pick(rng, WHITES if rng.random() < 0.5 else YELLOWS, 8), 0.6)  # fmt: skip
        _digger(shape, 0.25, 0.36, 0.055, ink)
        return shape
    face = pick(rng, ORANGES, 14)
    if rng.random() < 0.72:
        shape.poly([(0.25, 0), (0.5, 0.25), (0.25, 0.5), (0, 0.25)], ink)
        shape.poly([(0.25, 0.02), (0.48, 0.25), (0.25, 0.48), (0.02, 0.25)], face, 0.45)
    else:
        shape.rect(0, 0.08, 0.5, 0.46, face, 0.45)
    if rng.random() < 0.35:
        _digger(shape, 0.25, 0.25, 0.1, ink)
    else:
        for index in range(int(rng.integers(2, 4))):
            half = float(rng.uniform(0.08, 0.14))
            y = 0.17 + 0.075 * index
            for x in np.arange(0.25 - half, 0.25 + half, 0.032):
                shape.rect(x, y, x + 0.02, y + 0.045, ink)
    if rng.random() < 0.2:
        flag = pick(rng, ORANGES, 12)
        shape.poly([(0.25, 0.0), (0.1, -0.0), (0.14, 0.08)], flag)
    return shape


def fence(rng: np.random.Generator, plain: bool = False) -> Shape:
    """A building-site fence: plastic mesh, or metal bars with a coloured edge."""
    shape = Shape("fence", float(rng.uniform(1.0, 1.9)), float(rng.uniform(1.2, 2.4)))
    wide = shape.aspect
    mesh = not plain and rng.random() < 0.6
    colour = pick(rng, ORANGES if mesh else GREYS if rng.random() < 0.6 else REDS, 12)
    step = float(rng.uniform(0.06, 0.12))
    for x in np.arange(0.01, wide, step):
        shape.line([(x, 0.04), (x, 0.96)], 0.025 if mesh else 0.015, colour)
    for y in np.arange(0.06, 0.96, step * 1.3 if mesh else 0.42):
        shape.line([(0, y), (wide, y)], 0.03, colour)
    for x in (0.02, wide - 0.02):
        shape.line([(x, 0), (x, 1)], 0.04, pick(rng, GREYS, 8))
    return shape


def _stripes(
    shape: Shape,
    box: tuple[float, float, float, float],
    colour: Colour,
    white: Colour,
    slant: float,
    upright: bool = False,
) -> None:
    """Fill a board with slanted stripes of two colours."""
    left, top, right, low = box
    shape.rect(left, top, right, low, white, REFLECT)
    if upright:
        step = 0.18
        for y in np.arange(top - step, low, step):
            corners = [
                (left, y + slant),
                (right, y),
                (right, y + step / 2),
                (left, y + slant + 0.09),
            ]
            shape.poly([(x, float(np.clip(v, top, low))) for x, v in corners], colour, 0.3)
        return
    step = 0.24
    for x in np.arange(left - abs(slant), right + abs(slant), step):
        corners = [(x + slant, top), (x + slant + step / 2, top), (x + step / 2, low), (x, low)]
        shape.poly([(float(np.clip(u, left, right)), y) for u, y in corners], colour, 0.3)


def _digger(shape: Shape, x: float, y: float, size: float, ink: Colour) -> None:
    """The man with the shovel, roughly."""
    shape.ellipse(x - size * 0.2, y - size * 0.8, size * 0.22, size * 0.22, ink)
    shape.line(
        [(x - size * 0.2, y - size * 0.6), (x, y), (x - size * 0.5, y + size)], size * 0.3, ink
    )
    shape.line(
        [(x - size * 0.1, y - size * 0.3), (x + size * 0.6, y + size * 0.5)], size * 0.2, ink
    )
    shape.poly(
        [(x + size * 0.3, y + size), (x + size * 0.7, y + size * 0.5), (x + size, y + size)], ink
    )
