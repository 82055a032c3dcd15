"""Vehicles and people of every street, many in the colours of roadwork."""

from __future__ import annotations

import numpy as np

from natix_miner.scenes.palette import (
    CARS,
    CLOTHES,
    GREYS,
    ORANGES,
    REDS,
    SKINS,
    WHITES,
    YELLOWS,
    near,
    pick,
    scaled,
)
from natix_miner.scenes.shapes import Colour, Shape

GLASS: Colour = (60, 72, 82)
TYRE: Colour = (26, 26, 27)
LAMP: Colour = (255, 245, 215)
TAIL: Colour = (215, 25, 25)


def paint(rng: np.random.Generator, loud: float) -> Colour:
    """A car's colour; ``loud`` is the share of orange, yellow and red ones."""
    return pick(rng, (*ORANGES, *YELLOWS, *REDS) if rng.random() < loud else CARS, 12)


def car(rng: np.random.Generator, loud: float = 0.2, behind: bool | None = None) -> Shape:
    """A car or taxi from behind (tail lights) or in front (head lamps)."""
    shape = Shape("car", float(rng.uniform(1.4, 1.95)), float(rng.uniform(0.95, 1.3)))
    wide, body = shape.aspect, paint(rng, loud)
    back = bool(rng.random() < 0.6) if behind is None else behind
    shape.rect(0.06 * wide, 0.8, 0.24 * wide, 1, TYRE)
    shape.rect(0.76 * wide, 0.8, 0.94 * wide, 1, TYRE)
    shape.poly([(0.02 * wide, 0.45), (0.1 * wide, 0.38), (0.9 * wide, 0.38), (0.98 * wide, 0.45),
                (0.98 * wide, 0.86), (0.02 * wide, 0.86)], body)  # fmt: skip
    shape.poly([(0.22 * wide, 0.03), (0.78 * wide, 0.03), (0.9 * wide, 0.42), (0.1 * wide, 0.42)],
               body)  # fmt: skip
    shape.poly([(0.25 * wide, 0.08), (0.75 * wide, 0.08), (0.84 * wide, 0.39), (0.16 * wide, 0.39)],
               near(rng, GLASS, 15))  # fmt: skip
    shape.rect(0.02 * wide, 0.72, 0.98 * wide, 0.82, scaled(body, 0.75))
    high = 0.48 if rng.random() < 0.7 else 0.55
    colour, lit = (near(rng, TAIL, 15), 0.9) if back else (LAMP, 1.0)
    for x in (0.04, 0.8):
        shape.rect(x * wide, high, (x + 0.16) * wide, high + 0.13, colour, lit)
    shape.rect(0.4 * wide, 0.62, 0.6 * wide, 0.7, pick(rng, WHITES, 8))
    if rng.random() < 0.12:
        shape.rect(0.42 * wide, 0, 0.58 * wide, 0.05, near(rng, (250, 215, 90)), 0.9)
    return shape


def side_car(rng: np.random.Generator, loud: float = 0.2) -> Shape:
    """A car from the side."""
    shape = Shape("car", float(rng.uniform(1.4, 1.9)), float(rng.uniform(2.5, 3.1)))
    wide, body = shape.aspect, paint(rng, loud)
    shape.poly([(0.01 * wide, 0.55), (0.2 * wide, 0.42), (0.82 * wide, 0.42), (0.99 * wide, 0.52),
                (0.99 * wide, 0.84), (0.01 * wide, 0.84)], body)  # fmt: skip
    shape.poly([(0.24 * wide, 0.44), (0.36 * wide, 0.05), (0.7 * wide, 0.05), (0.84 * wide, 0.44)],
               body)  # fmt: skip
    shape.poly([(0.3 * wide, 0.41), (0.38 * wide, 0.12), (0.68 * wide, 0.12), (0.78 * wide, 0.41)],
               near(rng, GLASS, 12))  # fmt: skip
    shape.line([(0.53 * wide, 0.1), (0.53 * wide, 0.8)], 0.03, scaled(body, 0.7))
    for x in (0.2, 0.8):
        shape.ellipse(x * wide, 0.83, 0.19, 0.17, TYRE)
        shape.ellipse(x * wide, 0.83, 0.1, 0.09, (150, 150, 152))
    return shape


def truck(rng: np.random.Generator, loud: float = 0.3) -> Shape:
    """A box truck, van or bus from behind."""
    shape = Shape("truck", float(rng.uniform(2.6, 3.9)), float(rng.uniform(0.68, 0.85)))
    wide, body = shape.aspect, paint(rng, loud)
    if rng.random() < 0.35:
        body = pick(rng, WHITES, 10)
    shape.rect(0.1 * wide, 0.85, 0.28 * wide, 1, TYRE)
    shape.rect(0.72 * wide, 0.85, 0.9 * wide, 1, TYRE)
    shape.rect(0.03 * wide, 0.02, 0.97 * wide, 0.84, body)
    shape.rect(0.03 * wide, 0.84, 0.97 * wide, 0.9, (40, 40, 42))
    style = rng.random()
    if style < 0.35:
        shape.rect(0.1 * wide, 0.12, 0.9 * wide, 0.42, near(rng, GLASS, 12))
    elif style < 0.7:
        shape.line([(0.5 * wide, 0.04), (0.5 * wide, 0.82)], 0.012, scaled(body, 0.6))
        shape.rect(0.2 * wide, 0.2, 0.8 * wide, 0.36, pick(rng, (*CARS, *REDS, *ORANGES), 12))
    else:
        shape.rect(0.08 * wide, 0.08, 0.92 * wide, 0.78, scaled(body, 0.86))
    for x in (0.05, 0.83):
        shape.rect(x * wide, 0.76, (x + 0.12) * wide, 0.83, near(rng, TAIL, 12), 0.9)
    if rng.random() < 0.25:  # the red and white tape that trucks wear
        for index, x in enumerate(np.linspace(0.05, 0.9, 10)):
            colour: Colour = (205, 40, 40) if index % 2 else (230, 230, 230)
            shape.rect(x * wide, 0.855, (x + 0.09) * wide, 0.885, colour, 0.5)
    return shape


def side_truck(rng: np.random.Generator, loud: float = 0.35) -> Shape:
    """A lorry or bus from the side."""
    shape = Shape("truck", float(rng.uniform(2.8, 3.8)), float(rng.uniform(2.2, 3.2)))
    wide, body, cab = shape.aspect, paint(rng, loud), paint(rng, loud)
    shape.rect(0.25 * wide, 0.04, 0.99 * wide, 0.8, body)
    if rng.random() < 0.4:
        shape.rect(0.3 * wide, 0.16, 0.94 * wide, 0.4, near(rng, GLASS, 12))
    else:
        shape.rect(0.35 * wide, 0.3, 0.8 * wide, 0.5, pick(rng, (*CARS, *WHITES, *REDS), 12))
    shape.poly([(0.01 * wide, 0.5), (0.06 * wide, 0.2), (0.23 * wide, 0.2), (0.23 * wide, 0.85),
                (0.01 * wide, 0.85)], cab)  # fmt: skip
    shape.poly([(0.04 * wide, 0.48), (0.08 * wide, 0.25), (0.19 * wide, 0.25), (0.19 * wide, 0.48)],
               GLASS)  # fmt: skip
    for x in (0.12, 0.7, 0.84):
        shape.ellipse(x * wide, 0.87, 0.14, 0.13, TYRE)
        shape.ellipse(x * wide, 0.87, 0.06, 0.06, (140, 140, 140))
    return shape


def rickshaw(rng: np.random.Generator, loud: float = 0.5) -> Shape:
    """A three-wheeled taxi from behind, green and yellow or any other colour."""
    shape = Shape("rickshaw", float(rng.uniform(1.6, 1.9)), 0.75)
    roof = pick(rng, YELLOWS, 12)
    body = pick(rng, ((40, 110, 60), (235, 180, 40), (45, 45, 45)), 12)
    shape.rect(0.1, 0.82, 0.2, 1, TYRE)
    shape.rect(0.55, 0.82, 0.65, 1, TYRE)
    shape.poly([(0.08, 0.08), (0.2, 0), (0.55, 0), (0.67, 0.08), (0.7, 0.5), (0.05, 0.5)], roof)
    shape.poly([(0.04, 0.48), (0.71, 0.48), (0.7, 0.88), (0.05, 0.88)], body)
    shape.rect(0.22, 0.14, 0.53, 0.32, GLASS)
    for x in (0.08, 0.58):
        shape.rect(x, 0.66, x + 0.09, 0.72, TAIL, 0.8)
    del loud
    return shape


def person(rng: np.random.Generator, loud: float = 0.25) -> Shape:
    """A walker in any clothes, orange jackets among them, without bands and helmet."""
    shape = Shape("person", float(rng.uniform(1.5, 1.9)), 0.42)
    top = pick(rng, (*ORANGES, *YELLOWS, *REDS) if rng.random() < loud else CLOTHES, 14)
    trousers, stride = pick(rng, CLOTHES, 12), float(rng.uniform(0.01, 0.11))
    for side in (-1, 1):
        shape.line([(0.21, 0.5), (0.21 + side * stride, 0.98)], 0.08, trousers)
        shape.line([(0.21 + side * 0.08, 0.2), (0.21 + side * float(rng.uniform(0.08, 0.17)), 0.5)],
                   0.055, top)  # fmt: skip
    shape.poly([(0.12, 0.17), (0.3, 0.17), (0.29, 0.55), (0.13, 0.55)], top)
    shape.ellipse(0.21, 0.09, 0.055, 0.075, pick(rng, SKINS, 8))
    hair = pick(rng, ((30, 25, 22), (80, 55, 35), (150, 120, 70), (60, 60, 62)), 10)
    shape.poly([(0.15, 0.08), (0.17, 0.01), (0.25, 0.01), (0.27, 0.08)], hair)
    if rng.random() < 0.3:
        shape.rect(0.28, 0.45, 0.4, 0.62, pick(rng, (*CLOTHES, *ORANGES), 12))
    return shape


def cyclist(rng: np.random.Generator, loud: float = 0.35) -> Shape:
    """Somebody on a bicycle or motorcycle, from behind or in front."""
    shape = Shape("cyclist", float(rng.uniform(1.5, 1.8)), 0.45)
    shape.ellipse(0.225, 0.8, 0.06, 0.2, TYRE)
    shape.line([(0.08, 0.5), (0.37, 0.5)], 0.03, pick(rng, GREYS, 8))
    top = pick(rng, (*ORANGES, *REDS, *YELLOWS) if rng.random() < loud else CLOTHES, 12)
    shape.poly([(0.12, 0.18), (0.33, 0.18), (0.3, 0.58), (0.15, 0.58)], top)
    shape.line([(0.16, 0.55), (0.14, 0.85)], 0.07, pick(rng, CLOTHES, 8))
    shape.line([(0.29, 0.55), (0.31, 0.85)], 0.07, pick(rng, CLOTHES, 8))
    shape.ellipse(0.225, 0.09, 0.06, 0.08, pick(rng, (*WHITES, *REDS, *GREYS, *ORANGES), 10))
    if rng.random() < 0.5:
        shape.rect(0.205, 0.62, 0.245, 0.66, TAIL, 0.9)
    return shape
