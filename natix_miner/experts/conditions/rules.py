"""From what was measured to conditions in [0, 1].

Each is a smooth step in one statistic (see `Statistics`), 0 up to one bound and 1 from the other;
`backlight` is the product of two. The bounds were set by eye on street pictures; docs/conditions.md
tells which and what is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from natix_miner.experts.conditions.statistics import Statistics

ConditionName = Literal[
    "night", "low-light", "haze", "backlight", "flat", "colourless", "blur", "noise"
]
#: Part of the expert's version; raise it when a statistic or a bound changes.
RULES_VERSION = 1


def step(value: float, none: float, full: float) -> float:
    """0 at `none` and beyond, 1 at `full` and beyond, a cubic with level ends between them."""
    at = min(1.0, max(0.0, (value - none) / (full - none)))
    return at * at * (3.0 - 2.0 * at)


RULES: Mapping[ConditionName, Callable[[Statistics], float]] = {
    "night": lambda s: step((s.light + s.sky_light) / 2, 0.36, 0.14),
    "low-light": lambda s: step(s.light, 0.36, 0.18),
    "haze": lambda s: step(s.veil, 0.2, 0.6),
    "backlight": lambda s: step(s.stops, 2.0, 4.0) * step(s.sky_light, 0.4, 0.7),
    "flat": lambda s: step(s.span, 0.45, 0.15),
    "colourless": lambda s: step(s.chroma, 0.05, 0.015),
    "blur": lambda s: step(s.smear, 0.33, 0.52),
    "noise": lambda s: step(s.noise, 0.012, 0.03),
}
ALL: tuple[ConditionName, ...] = get_args(ConditionName)


def told(statistics: Statistics, names: tuple[ConditionName, ...] = ALL) -> dict[str, float]:
    """The named conditions, each in [0, 1]."""
    return {name: RULES[name](statistics) for name in names}
