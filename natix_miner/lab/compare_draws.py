"""The paired bootstrap: the same queries drawn for both sides, so that only the sides differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.cascade import NO_ANSWER
from natix_miner.scoring.reward import mean_rewards

Floats = NDArray[np.float64]
#: Figures that are computed on every drawn stream.
DRAWN = ("reward", "mcc", "accuracy")
_CHUNK_ELEMENTS = 500_000


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A over drawn streams: its mean, and where it lies in `confidence` of them."""

    mean: float
    low: float
    high: float
    confidence: float

    @property
    def sure(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, slots=True)
class Draws:
    """Figures of drawn streams: by name, an array (resamples, 2) with A and B in its columns."""

    values: dict[str, Floats]
    confidence: float

    def difference(self, name: str) -> Difference:
        """B minus A."""
        a, b = self.values[name].T
        low, high = self._interval(b - a)
        return Difference(float((b - a).mean()), low, high, self.confidence)

    def interval(self, name: str, side: int) -> tuple[float, float]:
        """Where the figure of one side (0: A, 1: B) lies."""
        return self._interval(self.values[name][:, side])

    def mean(self, name: str, side: int) -> float:
        """The figure of one side over all drawn streams."""
        return float(self.values[name][:, side].mean())

    def _interval(self, values: Floats) -> tuple[float, float]:
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(values, [tail, 1.0 - tail])
        return float(low), float(high)


def draw(
    answers: tuple[Sequence[float], Sequence[float]],
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    seed: int,
    resamples: int,
    confidence: float = 0.95,
) -> Draws:
    """Percentile bootstrap of both sides' figures over the same drawn streams.

    `answers` of A and B in [0, 1] or -1, `labels` 0 or 1, all of length n. A drawn stream has n
    pairs in random order, drawn with replacement; pairs of one group (not "") are drawn together,
    because they resemble each other. Rewards are those of the validator (`scoring.reward`), `mcc`
    and `accuracy` over the answered ones, 0 where they are not defined.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; for groups the cluster
    bootstrap, Field and Welsh, Bootstrapping clustered data, 2007.
    """
    truth = np.asarray(labels, np.int8)
    sides = [np.asarray(side, np.float64) for side in answers]
    rng = np.random.default_rng(seed)
    found: dict[str, list[Floats]] = {name: [] for name in DRAWN}
    for places in _places(groups, resamples, rng):
        drawn = truth[places]
        both = [_figures(side[places], drawn) for side in sides]
        for name in DRAWN:
            found[name].append(np.stack([figures[name] for figures in both], axis=1))
    return Draws({name: np.concatenate(parts) for name, parts in found.items()}, confidence)


def _places(
    groups: Sequence[str], resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Places of drawn streams, some streams (rows) at a time."""
    n = len(groups)
    rows = max(1, _CHUNK_ELEMENTS // n)
    grouped = _Groups(groups) if any(groups) else None
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        if grouped is None:
            yield rng.integers(n, size=(count, n))
        else:
            yield np.stack([grouped.draw(rng) for _ in range(count)])


class _Groups:
    """Draws whole groups until there are as many queries as before; the last may be cut."""

    def __init__(self, groups: Sequence[str]) -> None:
        # Without a group a query is one of its own.
        names = [name or (place,) for place, name in enumerate(groups)]
        number: dict[object, int] = {}
        members = np.array([number.setdefault(name, len(number)) for name in names])
        self._order = np.argsort(members, kind="stable")
        self._sizes = np.bincount(members)
        self._starts = np.cumsum(self._sizes) - self._sizes

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        n = len(self._order)
        drawn = rng.integers(len(self._sizes), size=n)
        ends = np.cumsum(self._sizes[drawn])
        drawn = drawn[: int(np.searchsorted(ends, n)) + 1]
        sizes = self._sizes[drawn]
        offsets = np.repeat(self._starts[drawn] - (np.cumsum(sizes) - sizes), sizes)
        places = self._order[(offsets + np.arange(len(offsets)))[:n]]
        return np.asarray(rng.permutation(places), np.int64)


def _figures(answers: Floats, truth: NDArray[np.int8]) -> dict[str, Floats]:
    """The figures of many streams; both arrays of shape (streams, n)."""
    kept, says, true = answers != NO_ANSWER, answers > 0.5, truth == 1
    tp, fp, fn, tn = (
        np.sum(hits, axis=1, dtype=np.float64)
        for hits in (
            kept & says & true,
            kept & says & ~true,
            kept & ~says & true,
            kept & ~says & ~true,
        )
    )
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    mcc = (tp * tn - fp * fn) / np.sqrt(np.where(spread > 0, spread, 1.0))
    answered = tp + fp + fn + tn
    return {
        "reward": np.asarray(mean_rewards(answers, truth), np.float64),
        "mcc": np.where(spread > 0, mcc, 0.0),
        "accuracy": (tp + tn) / np.maximum(1.0, answered),
    }
