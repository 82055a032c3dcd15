"""Time of day, weather and kind of place: drawn once, obeyed by everything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from natix_miner.scenes.shapes import Colour

HOURS = ("day", "dusk", "night")
WEATHERS = ("clear", "cloudy", "rain", "fog", "snow")
PLACES = ("city", "suburb", "highway", "rural")


@dataclass(frozen=True, slots=True)
class Mood:
    """``hour``, ``weather`` and ``place`` are one of the words above; ``autumn`` is the chance
    that a tree's leaves are orange; ``light`` multiplies colours; ``sunny`` casts shadows."""

    hour: str
    weather: str
    place: str
    autumn: float
    light: Colour
    sunny: bool


def draw_mood(rng: np.random.Generator) -> Mood:
    """Draw a mood; it never depends on whether there is roadwork."""
    hour = str(rng.choice(HOURS, p=(0.74, 0.1, 0.16)))
    weather = str(rng.choice(WEATHERS, p=(0.44, 0.34, 0.1, 0.06, 0.06)))
    place = str(rng.choice(PLACES, p=(0.42, 0.23, 0.2, 0.15)))
    autumn = float(rng.uniform(0.4, 1.0)) if rng.random() < 0.22 else 0.05
    level = float(rng.uniform(0.75, 1.12))
    warm = float(rng.normal(0, 0.05)) + (0.1 if hour == "dusk" else 0.0)
    light = (level * (1 + warm), level, level * (1 - warm))
    return Mood(hour, weather, place, autumn, light, hour == "day" and weather == "clear")
