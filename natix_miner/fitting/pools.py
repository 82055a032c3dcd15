"""Pooling of many queries at once, equal to the pools of the running miner.

`natix_miner.consensus.POOLS[kind]` says how one query is pooled; here the same is done on arrays.
A test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.consensus import Calibration, FittedConsensus, Platt, Pool
from natix_miner.consensus.pool import HIGHEST, LOWEST, NOTHING, TIE
from natix_miner.fitting.votes import Floats, Votes

FLOOR = 1e-6  # of natix_miner.log_odds.logit


@dataclass(frozen=True, slots=True)
class PooledVotes:
    """Of each query, (n,): pooled log-odds, the votes' disagreement (both NaN where nobody has a
    vote), and which of the fitted pools was used."""

    log_odds: Floats
    disagreement: Floats
    pool: NDArray[np.int_]


def expit(log_odds: Floats) -> Floats:
    """Probabilities in [0, 1] of log-odds of any shape; NaN stays."""
    from scipy.special import expit as sigmoid

    return np.asarray(sigmoid(log_odds), np.float64)


def logit(probability: Floats) -> Floats:
    """Log-odds of probabilities of any shape, kept 1e-6 off both ends first; NaN stays."""
    kept = np.clip(probability, FLOOR, 1.0 - FLOOR)
    return np.asarray(np.log(kept / (1.0 - kept)), np.float64)


def shifted(calibration: Calibration, log_odds: Floats) -> Floats:
    """Calibrated log-odds of raw ones, (n,); NaN stays."""
    if isinstance(calibration, Platt):
        return calibration.slope * log_odds + calibration.intercept
    found = np.interp(log_odds, calibration.raw, calibration.calibrated)
    return np.where(np.isnan(log_odds), np.nan, found)


def calibrated_log_odds(votes: Votes, calibrations: Mapping[str, Calibration]) -> Floats:
    """Calibrated log-odds of every vote, (n, m), NaN where there is none; an expert without a
    calibration keeps what it says."""
    found = logit(votes.probability)
    for column, name in enumerate(votes.experts):
        said = shifted(calibrations.get(name, Platt()), found[:, column])
        found[:, column] = logit(expit(said))
    return found


def pool_votes(fitted: FittedConsensus, votes: Votes) -> Floats:
    """Pooled log-odds of every query, (n,), as the miner would; NaN where nobody has a vote."""
    return pooled_votes(fitted, votes).log_odds


def pooled_votes(fitted: FittedConsensus, votes: Votes) -> PooledVotes:
    """Every query pooled, with the disagreement of its votes."""
    calibrated = calibrated_log_odds(votes, fitted.calibrations)
    chosen = chosen_pools(fitted.pools, votes)
    log_odds, disagreement = np.full(len(votes), np.nan), np.full(len(votes), np.nan)
    for number, pool in enumerate(fitted.pools):
        rows = np.flatnonzero(chosen == number)
        if rows.size:
            some = _Some.of(pool, votes, calibrated, rows)
            log_odds[rows], disagreement[rows] = _JOINS[fitted.kind](some)
    return PooledVotes(log_odds, disagreement, chosen)


def chosen_pools(pools: tuple[Pool, ...], votes: Votes) -> NDArray[np.int_]:
    """The place of the pool that `choose_pool` takes for every query, (n,)."""
    experts = votes.experts
    named = np.array([[name in pool.weights for name in experts] for pool in pools], np.int64)
    sizes = np.array([len(pool.weights) for pool in pools])
    there = ~np.isnan(votes.probability) & named.any(axis=0)
    present = there.astype(np.int64)
    asked = votes.asked & named.any(axis=0) | there
    covered = present @ named.T
    chosen = np.argmax(covered * (sizes.max() + 1) - (sizes - covered), axis=1)
    for wanted in (asked.astype(np.int64), present):
        both = wanted @ named.T
        equal = (both == sizes) & (both == wanted.sum(axis=1)[:, None])
        chosen = np.where(equal.any(axis=1), equal.argmax(axis=1), chosen)
    return chosen


def answers_from(log_odds: Floats) -> Floats:
    """What goes out, (n,): as `answer_from` for each query, -1 where nobody had a vote."""
    bounded = np.clip(expit(log_odds), LOWEST, HIGHEST)
    told = np.where(np.abs(bounded - 0.5) < 0.5 - TIE, TIE, bounded)
    return np.where(np.isnan(log_odds), -1.0, told)


@dataclass(frozen=True, slots=True)
class _Some:
    """Rows that one pool is used for: log-odds (0 where missing), weights and trust, (k, m)."""

    pool: Pool
    log_odds: Floats
    there: NDArray[np.bool_]
    weights: Floats
    trust: Floats
    bias: Floats
    added: Floats
    known: Floats

    @classmethod
    def of(cls, pool: Pool, votes: Votes, calibrated: Floats, rows: NDArray[np.int_]) -> _Some:
        """`rows` of the votes, seen by `pool`."""
        there = ~np.isnan(calibrated[rows])
        trust = np.where(there, votes.trust[rows], 0.0)
        weights = np.array([pool.weights.get(name, 0.0) for name in votes.experts])
        column = {name: place for place, name in enumerate(votes.experts)}
        added, known = np.zeros(len(rows)), np.zeros(len(rows))
        for name, shift in pool.missing.items():
            absence = 1.0 - trust[:, column[name]] if name in column else np.ones(len(rows))
            added += shift * absence
            known += abs(pool.weights.get(name, 0.0)) * absence
        return cls(
            pool=pool,
            log_odds=np.where(there, calibrated[rows], 0.0),
            there=there,
            weights=np.where(there, weights * trust, 0.0),
            trust=trust,
            bias=_bias(pool, votes, rows),
            added=added,
            known=known,
        )

    @property
    def total(self) -> float:
        """Sum of the pool's absolute weights, those of experts that are not here included."""
        return float(sum(abs(weight) for weight in self.pool.weights.values()))

    @property
    def even(self) -> Floats:
        """Equal shares of those that voted, (k, m)."""
        return self.there / np.maximum(1, self.there.sum(axis=1))[:, None]

    @property
    def without_weight(self) -> NDArray[np.bool_]:
        """Rows in which only experts without a weight have a vote, (k,)."""
        return np.abs(self.weights).sum(axis=1) <= NOTHING * self.total

    def result(
        self, weights: Floats, value: Floats, extra: Floats | float = 0.0
    ) -> tuple[Floats, Floats]:
        """Log-odds and disagreement, with `weights` for the latter and NaN where nobody voted."""
        nobody = ~self.there.any(axis=1)
        spread = _spread(self.log_odds, weights, self.there)
        return np.where(nobody, np.nan, value + extra), np.where(nobody, np.nan, spread)


def _join_log_odds(some: _Some) -> tuple[Floats, Floats]:
    present = np.abs(some.weights).sum(axis=1)
    alone = some.without_weight
    scale = np.maximum(0.0, some.total - some.known) / np.where(alone, 1.0, present)
    weights = np.where(alone[:, None], some.even, some.weights * scale[:, None])
    bias = np.where(alone, 0.0, some.bias + some.added)
    return some.result(weights, (weights * some.log_odds).sum(axis=1), bias)


def _join_geometric_mean(some: _Some) -> tuple[Floats, Floats]:
    kept = np.maximum(0.0, some.weights)
    total = kept.sum(axis=1)
    evenly = some.without_weight | (total <= 0.0)
    shares = kept / np.where(total > 0.0, total, 1.0)[:, None]
    weights = np.where(evenly[:, None], some.even, shares)
    value = (weights * some.log_odds).sum(axis=1)
    return some.result(weights, np.where(some.without_weight, value, _after(some.pool, value)))


def _join_majority(some: _Some) -> tuple[Floats, Floats]:
    trusted = some.trust.sum(axis=1) > 0.0
    voices = np.where(trusted[:, None], some.trust, some.there)
    yes = np.where(some.log_odds > 0.0, voices, 0.0).sum(axis=1)
    no = np.where(some.log_odds > 0.0, 0.0, voices).sum(axis=1)
    return some.result(voices, _after(some.pool, np.log((yes + 0.5) / (no + 0.5))))


_JOINS = {
    "log-odds": _join_log_odds,
    "geometric-mean": _join_geometric_mean,
    "majority": _join_majority,
}


def _bias(pool: Pool, votes: Votes, rows: NDArray[np.int_]) -> Floats:
    by_class = {name: pool.bias_for(name) for name in set(votes.size_class)}
    found = np.array([by_class[votes.size_class[row]] for row in rows])
    for name, shift in pool.condition_bias.items():
        if name in votes.conditions:
            found += shift * votes.conditions[name][rows]
    return found


def _after(pool: Pool, log_odds: Floats) -> Floats:
    return log_odds if pool.after is None else shifted(pool.after, log_odds)


def _spread(log_odds: Floats, weights: Floats, there: NDArray[np.bool_]) -> Floats:
    """Standard deviation of the votes' log-odds by absolute weight; 0 for a single vote."""
    shares = np.abs(weights)
    total = shares.sum(axis=1)
    known = (total > 0.0) & (there.sum(axis=1) > 1)
    shares = shares / np.where(total > 0.0, total, 1.0)[:, None]
    mean = (shares * log_odds).sum(axis=1)
    squares = (shares * (log_odds - mean[:, None]) ** 2).sum(axis=1)
    return np.where(known, np.sqrt(squares), 0.0)
