"""What routing is replayed on: the pool's value after every set of levels, and what levels cost.

All of it is out of fold: the values of a query come from fits that did not see its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from natix_miner.consensus import FittedConsensus
from natix_miner.errors import FittingError
from natix_miner.fitting.folding import class_weights
from natix_miner.fitting.pools import pooled_votes
from natix_miner.fitting.votes import Floats, Votes

#: Sets of levels double with every level.
MOST_LEVELS = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """n labelled queries on which every level was asked, seen level by level.

    A set of entered levels is a bit mask: bit 0 for the first of the L levels. `log_odds` and
    `disagreement` of shape (2**L, n) are the pool's after each set, NaN where nobody had a vote or
    the first level is not in the set. Of shape (L, n): `cost_ms`, the sum of the times of a level's
    experts, and `time_ms`, that of its slowest. A level is started only with more than its
    `needs_ms` (L,) left of `limit_ms`, and if it will be done by then. `weight` (n,) gives both
    labels the share that validators ask; it sums to 1.
    """

    levels: tuple[str, ...]
    log_odds: Floats
    disagreement: Floats
    cost_ms: Floats
    time_ms: Floats
    needs_ms: Floats
    limit_ms: float
    label: NDArray[np.int8]
    weight: Floats
    prior: float

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.bool_]) -> Stage:
        """Some of the queries, weighted anew; raises FittingError unless both labels are there."""
        label = self.label[rows]
        return replace(
            self,
            log_odds=self.log_odds[:, rows],
            disagreement=self.disagreement[:, rows],
            cost_ms=self.cost_ms[:, rows],
            time_ms=self.time_ms[:, rows],
            label=label,
            weight=_weights(label, self.prior),
        )


def held_out_stage(
    votes: Votes,
    fold: NDArray[np.int_],
    fits: Sequence[FittedConsensus],
    *,
    limit_ms: float,
    needs_ms: Sequence[float] | None = None,
    prior: float = 0.5,
) -> Stage:
    """The stage of labelled votes on which every level was asked.

    `fits[k]` is the fit that did not see the queries whose `fold` (n,) is k. `needs_ms` is by the
    levels that have experts (none needed by default). Raises FittingError for a cascade of one
    level, of too many, or without times.
    """
    levels = check_levels(votes)
    shape = (2 ** len(levels), len(votes))
    log_odds, disagreement = np.full(shape, np.nan), np.full(shape, np.nan)
    for entered in range(1, 2 ** len(levels), 2):
        seen = _only(votes, [bool(entered >> place & 1) for place in range(len(levels))])
        for number, fitted in enumerate(fits):
            rows = np.flatnonzero(fold == number)
            pooled = pooled_votes(fitted, seen.take(rows))
            log_odds[entered, rows] = pooled.log_odds
            disagreement[entered, rows] = pooled.disagreement
    cost_ms, time_ms = level_times(votes)
    return Stage(
        levels=tuple(name for name, _ in levels),
        log_odds=log_odds,
        disagreement=disagreement,
        cost_ms=cost_ms,
        time_ms=time_ms,
        needs_ms=np.zeros(len(levels)) if needs_ms is None else np.asarray(needs_ms, np.float64),
        limit_ms=limit_ms,
        label=votes.label,
        weight=_weights(votes.label, prior),
        prior=prior,
    )


def check_levels(votes: Votes) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The levels that have experts; raises FittingError where there are too few or too many."""
    levels = tuple((name, experts) for name, experts in votes.levels if experts)
    if len(levels) < 2:
        raise FittingError(
            f"the votes are of {len(levels)} level with experts: there is nothing to route; give "
            "the profile a cheap first level and a second one"
        )
    if len(levels) > MOST_LEVELS:
        raise FittingError(
            f"the votes are of {len(levels)} levels, routing is learned for {MOST_LEVELS} at most"
        )
    return levels


def all_asked(votes: Votes) -> NDArray[np.bool_]:
    """Queries on which somebody of every level was asked, (n,)."""
    place = {name: column for column, name in enumerate(votes.experts)}
    return np.all(
        [
            votes.asked[:, [place[name] for name in experts]].any(axis=1)
            for _, experts in votes.levels
            if experts
        ],
        axis=0,
    )


def level_times(votes: Votes) -> tuple[Floats, Floats]:
    """Of each level that has experts, (L, n) in ms: the sum of its experts' times, and the slowest.

    An expert whose time is not told for one query took its mean time; raises FittingError for one
    that has none at all.
    """
    ms, asked = votes.ms, votes.asked
    known = ~np.isnan(ms)
    silent = np.flatnonzero(np.any(asked, axis=0) & ~np.any(known, axis=0))
    unknown = [votes.experts[column] for column in silent]
    if unknown:
        raise FittingError(
            f"no time is told for the experts {unknown}: routing needs what each vote cost (`ms`)"
        )
    mean = np.where(known, ms, 0.0).sum(axis=0) / np.maximum(1, known.sum(axis=0))
    spent = np.where(asked, np.where(known, ms, mean), 0.0)
    place = {name: column for column, name in enumerate(votes.experts)}
    own = [[place[name] for name in experts] for _, experts in votes.levels if experts]
    return (
        np.stack([spent[:, columns].sum(axis=1) for columns in own]),
        np.stack([spent[:, columns].max(axis=1) for columns in own]),
    )


def _only(votes: Votes, kept: Sequence[bool]) -> Votes:
    """The votes as if only some of the levels that have experts had been entered."""
    levels = [experts for _, experts in votes.levels if experts]
    heard = {name for experts, keep in zip(levels, kept, strict=True) if keep for name in experts}
    there = np.array([name in heard for name in votes.experts])
    return replace(
        votes,
        probability=np.where(there, votes.probability, np.nan),
        asked=votes.asked & there,
    )


def _weights(label: NDArray[np.int8], prior: float) -> Floats:
    if not (np.any(label == 1) and np.any(label == 0)):
        raise FittingError(
            f"{len(label)} queries of one label are left to route: both labels are needed"
        )
    weights = class_weights(label, prior)
    return weights / weights.sum()
