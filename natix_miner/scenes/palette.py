"""Colours of streets as RGB triples 0-255, drawn with some spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from natix_miner.scenes.shapes import Colour

ORANGES: tuple[Colour, ...] = (
    (235, 88, 40),
    (245, 105, 30),
    (255, 95, 60),
    (225, 75, 35),
    (250, 125, 45),
    (205, 85, 50),
    (240, 70, 55),
)
LIMES: tuple[Colour, ...] = ((200, 235, 40), (180, 220, 30), (215, 245, 70), (190, 230, 80))
YELLOWS: tuple[Colour, ...] = ((245, 190, 30), (250, 205, 50), (230, 170, 20), (240, 200, 80))
REDS: tuple[Colour, ...] = ((190, 30, 35), (215, 45, 40), (160, 25, 30), (200, 20, 50))
WHITES: tuple[Colour, ...] = ((235, 235, 235), (215, 218, 222), (245, 245, 240), (200, 200, 195))
GREYS: tuple[Colour, ...] = ((90, 92, 96), (120, 122, 125), (150, 150, 150), (70, 72, 78))
BRICKS: tuple[Colour, ...] = (
    (150, 75, 55),
    (170, 85, 60),
    (130, 65, 55),
    (185, 105, 75),
    (200, 120, 80),
    (160, 100, 80),
    (120, 60, 50),
    (205, 125, 60),
)
FACADES: tuple[Colour, ...] = (
    (180, 170, 155),
    (200, 190, 175),
    (150, 150, 155),
    (110, 115, 125),
    (215, 210, 200),
    (170, 150, 120),
    (90, 95, 105),
    (190, 175, 140),
    (70, 75, 85),
    (205, 185, 120),
)
CARS: tuple[Colour, ...] = (
    (30, 30, 34),
    (230, 230, 232),
    (170, 172, 176),
    (110, 112, 118),
    (60, 70, 110),
    (140, 25, 30),
    (190, 35, 35),
    (40, 60, 50),
    (200, 190, 170),
    (25, 45, 90),
    (80, 80, 84),
)
CLOTHES: tuple[Colour, ...] = (
    (40, 45, 60),
    (90, 90, 95),
    (30, 30, 30),
    (160, 60, 60),
    (60, 90, 140),
    (200, 200, 200),
    (110, 80, 60),
    (70, 110, 80),
)
SKINS: tuple[Colour, ...] = ((225, 180, 150), (190, 140, 105), (140, 95, 70), (95, 65, 50))
LEAVES: tuple[Colour, ...] = (
    (50, 85, 35),
    (70, 100, 45),
    (40, 65, 35),
    (90, 115, 55),
    (60, 75, 50),
)
AUTUMN: tuple[Colour, ...] = (
    (205, 110, 30),
    (220, 145, 40),
    (180, 70, 30),
    (200, 60, 35),
    (215, 170, 60),
    (150, 90, 45),
)
EARTH: tuple[Colour, ...] = (
    (120, 92, 65),
    (140, 110, 80),
    (100, 80, 62),
    (155, 95, 65),
    (130, 120, 105),
    (165, 150, 125),
)


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 10.0) -> Colour:
    """Draw one of the colours, each channel moved by a normal of this spread."""
    base = colours[int(rng.integers(len(colours)))]
    return near(rng, base, spread)


def near(rng: np.random.Generator, colour: Colour, spread: float = 10.0) -> Colour:
    """Move a colour's brightness together and each channel a little."""
    together = rng.normal(0, spread)
    red, green, blue = (
        min(255.0, max(0.0, part + together + change))
        for part, change in zip(colour, rng.normal(0, spread / 3, 3).tolist(), strict=True)
    )
    return red, green, blue


def scaled(colour: Colour, factor: float) -> Colour:
    """Multiply a colour, clipped to 0-255."""
    red, green, blue = (min(255.0, part * factor) for part in colour)
    return red, green, blue
