"""Pools: from calibrated votes, of which some may be missing, to one log-odds value."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from natix_miner.consensus.fitted import FittedConsensus, Platt, Pool
from natix_miner.experts import Opinion
from natix_miner.log_odds import expit, logit

#: Answers stay off the ends: one wrong certainty must not look like a broken miner.
LOWEST, HIGHEST = 0.001, 0.999
#: The validator rounds 0.5 down to "none"; an answer says which side it is on.
TIE = 0.4999
#: A share of all weights that counts as none: scaling it up would only scale up its rounding.
NOTHING = 1e-9
_UNCALIBRATED = Platt()


@dataclass(frozen=True, slots=True)
class Vote:
    """One usable opinion after calibration; `weight` is its share in the pool."""

    expert: str
    calibrated: float
    log_odds: float
    weight: float


@dataclass(frozen=True, slots=True)
class Pooled:
    """The pool's value over the votes.

    `disagreement` is the weighted standard deviation of the votes' log-odds (0 for a single vote).
    """

    log_odds: float
    probability: float
    disagreement: float
    votes: tuple[Vote, ...]


class Consensus(Protocol):
    """Pools opinions; None when not one of them is usable."""

    @property
    def version(self) -> str:
        """Identifies weights and method in traces."""
        ...

    def pool(self, opinions: Iterable[Opinion], size_class: str | None = None) -> Pooled | None:
        """The consensus of these opinions on a frame of this size class; their order does not
        matter."""
        ...


class _FittedPool(ABC):
    """A pool with the calibrations and weights of a fitted file.

    A vote's weight is its fitted weight times the trust of this query's opinion.
    Of the weight sets in the file the one is used that covers most of the experts that voted, and
    of those the one that names fewest others. Experts without any weight count equally when nobody
    else spoke: little is better than nothing.
    """

    name: str

    def __init__(self, fitted: FittedConsensus) -> None:
        self._fitted = fitted
        self.version = f"{self.name}:{fitted.digest()}"

    def pool(self, opinions: Iterable[Opinion], size_class: str | None = None) -> Pooled | None:
        """The pooled value of all usable opinions; None without one."""
        opinions = tuple(opinions)
        usable = _usable(opinions)
        if not usable:
            return None
        told = {name: value for o in opinions for name, value in o.conditions.items()}
        votes = {name: probability for name, (probability, _) in usable.items()}
        chosen = _best_pool(self._fitted.pools, frozenset(votes))
        weights = {
            name: chosen.weights.get(name, 0.0) * trust for name, (_, trust) in usable.items()
        }
        present = math.fsum(weights.values())
        if present <= NOTHING * math.fsum(chosen.weights.values()):
            return _pooled(votes, dict.fromkeys(votes, 1.0 / len(votes)), 0.0, self._fitted)
        scale, bias = self._scale(chosen, present, chosen.bias_for(size_class, told))
        weights = {name: weight * scale for name, weight in weights.items()}
        return _pooled(votes, weights, bias, self._fitted)

    @abstractmethod
    def _scale(self, chosen: Pool, present: float, bias: float) -> tuple[float, float]:
        """Factor for the weights and the bias to add, given the sum of the weights that are
        `present` and the pool's own bias for the frame."""


class LogOddsPool(_FittedPool):
    """Weighted sum of calibrated log-odds.

    When votes are missing, those at hand are scaled up by (sum of all weights / sum of the weights
    present), so that a missing vote weakens nobody else's.
    Source: logarithmic opinion pool, Genest and Zidek 1986.
    """

    name = "log-odds"

    def _scale(self, chosen: Pool, present: float, bias: float) -> tuple[float, float]:
        return math.fsum(chosen.weights.values()) / present, bias


class GeometricMeanPool(_FittedPool):
    """Weighted geometric mean of the calibrated probabilities, normalised over both classes.

    p = prod p_i^w_i / (prod p_i^w_i + prod (1 - p_i)^w_i) with the weights scaled to sum 1, which
    is the weighted mean of the log-odds; without the normalisation any two votes of one half would
    pool to less than one half.
    """

    name = "geometric-mean"

    def _scale(self, chosen: Pool, present: float, bias: float) -> tuple[float, float]:
        return 1.0 / present, 0.0


POOLS: dict[str, type[LogOddsPool] | type[GeometricMeanPool]] = {
    LogOddsPool.name: LogOddsPool,
    GeometricMeanPool.name: GeometricMeanPool,
}


def answer_from(log_odds: float) -> float:
    """The probability that goes out: in [0.001, 0.999], never exactly one half."""
    probability = min(max(expit(log_odds), LOWEST), HIGHEST)
    return TIE if abs(probability - 0.5) < 0.5 - TIE else probability


def _usable(opinions: Iterable[Opinion]) -> dict[str, tuple[float, float]]:
    """Raw probability and trust by expert, of those opinions that can be pooled at all."""
    usable = [
        (opinion.expert, (opinion.probability, opinion.trust))
        for opinion in opinions
        if opinion.usable
        and opinion.probability is not None
        and math.isfinite(opinion.probability)
        and 0.0 <= opinion.probability <= 1.0
    ]
    return dict(sorted(usable))


def _best_pool(pools: tuple[Pool, ...], present: frozenset[str]) -> Pool:
    def fit(pool: Pool) -> tuple[int, int]:
        named = frozenset(pool.weights)
        return len(named & present), -len(named - present)

    return max(pools, key=fit)


def _pooled(
    raw: dict[str, float], weights: dict[str, float], bias: float, fitted: FittedConsensus
) -> Pooled:
    votes = []
    for name, probability in raw.items():
        calibrated = fitted.calibrations.get(name, _UNCALIBRATED).calibrate(probability)
        votes.append(
            Vote(
                expert=name,
                calibrated=calibrated,
                log_odds=logit(calibrated),
                weight=weights[name],
            )
        )
    log_odds = bias + math.fsum(vote.weight * vote.log_odds for vote in votes)
    return Pooled(
        log_odds=log_odds,
        probability=expit(log_odds),
        disagreement=_spread(votes),
        votes=tuple(votes),
    )


def _spread(votes: list[Vote]) -> float:
    total = math.fsum(vote.weight for vote in votes)
    if total <= 0.0 or len(votes) < 2:
        return 0.0
    mean = math.fsum(vote.weight * vote.log_odds for vote in votes) / total
    return math.sqrt(math.fsum(vote.weight * (vote.log_odds - mean) ** 2 for vote in votes) / total)
