"""Streams of opinions whose truth is known: correlated experts of stated skill, seeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from natix_miner.consensus import Expected, FittedConsensus, LogOddsPool, Pool
from natix_miner.experts import Opinion, Status


class Stream:
    """Experts whose log-odds are `skill` * (truth and a difficulty all share) + noise of their own.

    `fitted` is the equal-weight log-odds pool over them with what they were seen to do in 4,000
    queries; `queries` goes on from there.
    """

    def __init__(self, skills: dict[str, float], seed: int = 1, missing: float = 0.0) -> None:
        self.skills = skills
        self.missing = missing
        self._rng = np.random.default_rng(seed)
        share = 1.5 / len(skills)
        self.pool = LogOddsPool(
            FittedConsensus(calibrations={}, pools=(Pool(weights=dict.fromkeys(skills, share)),))
        )
        self.expected = self._measured(list(self.queries(4000)))

    def queries(self, count: int, positives: float = 0.5) -> Iterator[list[Opinion]]:
        """So many queries, a share of them roadwork."""
        for _ in range(count):
            truth = 1.0 if self._rng.random() < positives else -1.0
            shared = truth + self._rng.normal(0.0, 0.5)
            yield [
                self._opinion(name, skill * shared + self._rng.normal())
                for name, skill in self.skills.items()
            ]

    def _opinion(self, name: str, log_odds: float) -> Opinion:
        if self._rng.random() < self.missing:
            return Opinion(name, Status.TIMED_OUT)
        return Opinion(name, Status.OK, 1.0 / (1.0 + math.exp(-log_odds)))

    def _measured(self, queries: list[list[Opinion]]) -> dict[str, Expected]:
        said: dict[str, list[float]] = {name: [] for name in self.skills}
        sides: dict[str, list[bool]] = {name: [] for name in self.skills}
        for opinions in queries:
            pooled = self.pool.pool(opinions)
            for vote in pooled.votes if pooled else ():
                said[vote.expert].append(vote.log_odds)
                sides[vote.expert].append((vote.log_odds > 0) == (pooled.log_odds > 0))
        return {
            name: Expected(
                n=len(queries),
                mean=float(np.mean(said[name])),
                spread=float(np.std(said[name])),
                agreement=float(np.mean(sides[name])),
                missing=1.0 - len(said[name]) / len(queries),
            )
            for name in self.skills
        }


@pytest.fixture
def stream() -> Callable[..., Stream]:
    """Makes a stream of these skills (name: log-odds for a plain case)."""
    return Stream
