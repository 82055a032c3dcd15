"""The comparison as one self-contained HTML page: figures, and the flips with their pictures."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

from natix_miner.lab.compare import Comparison
from natix_miner.lab.compare_draws import DRAWN
from natix_miner.lab.compare_flips import Flip, counts_of
from natix_miner.lab.story_page import render_page
from natix_miner.scoring.gallery import thumbnail

#: Flips shown with their pictures, and in all: the page must open quickly.
MOST_PICTURES, MOST_ROWS = 120, 1000
#: Points of the scatter; of more queries an even choice is shown.
MOST_POINTS = 2000
_FIGURES = {"reward": "reward", "mcc": "MCC", "accuracy": "accuracy"}


@dataclass(frozen=True, slots=True)
class Card:
    """One flip of the gallery; `picture` a data URI, "" where it was not kept."""

    flip: Flip
    picture: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A difference with its interval, on an axis from -`reach` to +`reach` that all share."""

    name: str
    low: float
    mean: float
    high: float
    sure: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A query in the scatter: A's probability to the right, B's upwards."""

    a: float
    b: float
    kind: str  # class of the mark: roadwork, none or unknown
    flipped: bool
    name: str


def compare_page(found: Comparison) -> str:
    """The page of a comparison. It refers to nothing outside itself."""
    strips = _strips(found)
    return render_page(
        "compare.html",
        found=found,
        sides=(found.a, found.b),
        tests=found.mcnemar,
        strips=strips,
        reach=_reach(strips),
        counts=counts_of(found.flips),
        cards=[_card(flip) for flip in found.flips[:MOST_PICTURES]],
        rest=found.flips[MOST_PICTURES:MOST_ROWS],
        untold=max(0, len(found.flips) - MOST_ROWS),
        points=_points(found),
        words={1: "roadwork", 0: "none", None: "unknown"},
    )


def _card(flip: Flip) -> Card:
    encoded = flip.pair.a.picture() or flip.pair.b.picture()
    small = thumbnail(encoded) if encoded is not None else None
    if small is None:
        return Card(flip, "")
    return Card(flip, "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii"))


def _strips(found: Comparison) -> list[Strip]:
    return [
        Strip(_FIGURES[name], one.low, one.mean, one.high, one.sure)
        for name in DRAWN
        if (one := found.differences.get(name)) is not None
    ]


def _reach(strips: list[Strip]) -> float:
    """Half of the axis: the next of 1, 2, 5 times a power of ten that holds all intervals."""
    most = max((max(abs(one.low), abs(one.high)) for one in strips), default=0.0)
    if most <= 0.0:
        return 0.01
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= most)


def _points(found: Comparison) -> list[Point]:
    pairs = [pair for pair in found.pairs.pairs if pair.a.answered and pair.b.answered]
    every = max(1, math.ceil(len(pairs) / MOST_POINTS))
    kinds = {1: "roadwork", 0: "none", None: "unknown"}
    return [
        Point(
            pair.a.prediction,
            pair.b.prediction,
            kinds[pair.label],
            pair.a.says_roadwork != pair.b.says_roadwork,
            pair.a.name,
        )
        for place, pair in enumerate(pairs)
        if place % every == 0 or pair.a.says_roadwork != pair.b.says_roadwork
    ]
