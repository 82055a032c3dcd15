"""Pools: from calibrated votes, of which some may be missing, to one log-odds value."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from natix_miner.consensus.calibration import Platt
from natix_miner.consensus.fitted import FittedConsensus, Pool, PoolKind
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

    `disagreement` is the weighted standard deviation of the votes' log-odds (0 for a single vote);
    `bias` what the pool added to the votes for the frame and for missing votes.
    """

    log_odds: float
    probability: float
    disagreement: float
    votes: tuple[Vote, ...]
    bias: float = 0.0


class Consensus(Protocol):
    """Pools opinions; None when not one of them is usable."""

    @property
    def version(self) -> str:
        """Identifies weights and method in traces."""
        ...

    def pool(
        self,
        opinions: Iterable[Opinion],
        size_class: str | None = None,
        conditions: Mapping[str, float] | None = None,
    ) -> Pooled | None:
        """The consensus of these opinions on a frame of this size class and these conditions
        (`frame_conditions`); the order of opinions does not matter."""
        ...


class _FittedPool(ABC):
    """A pool with the calibrations and weights of a fitted file.

    A vote's weight is its fitted weight times the trust of this query's opinion.
    Of the weight sets in the file the one is used that names just the experts that voted; without
    one, that which names just those that were asked; without one, that which covers most of the
    voters, and of those the one that names fewest others. Experts without any weight count equally
    when nobody else spoke: little is better than nothing.
    """

    name: PoolKind

    def __init__(self, fitted: FittedConsensus) -> None:
        self.fitted = fitted
        self.version = f"{self.name}:{fitted.digest()}"

    def pool(
        self,
        opinions: Iterable[Opinion],
        size_class: str | None = None,
        conditions: Mapping[str, float] | None = None,
    ) -> Pooled | None:
        """The pooled value of all usable opinions; None without one."""
        opinions = tuple(opinions)
        usable = _usable(opinions)
        if not usable:
            return None
        told = dict(conditions or {})
        for name, value in ((n, v) for opinion in opinions for n, v in opinion.conditions.items()):
            told[name] = max(value, told.get(name, 0.0))
        chosen = choose_pool(
            self.fitted.pools,
            frozenset(usable),
            frozenset(opinion.expert for opinion in opinions),
        )
        votes = {
            name: (probability, chosen.weights.get(name, 0.0) * trust)
            for name, (probability, trust) in usable.items()
        }
        present = math.fsum(abs(weight) for _, weight in votes.values())
        total = math.fsum(abs(weight) for weight in chosen.weights.values())
        if present <= NOTHING * total:
            share = 1.0 / len(votes)
            return self._sum({name: (p, share) for name, (p, _) in votes.items()}, 0.0)
        absence = {name: 1.0 - usable.get(name, (0.0, 0.0))[1] for name in chosen.missing}
        return self._join(votes, chosen, present, absence, chosen.bias_for(size_class, told))

    @abstractmethod
    def _join(
        self,
        votes: dict[str, tuple[float, float]],
        chosen: Pool,
        present: float,
        absence: dict[str, float],
        bias: float,
    ) -> Pooled:
        """Pool raw probabilities and weights by expert, whose absolute weights sum to `present`.

        `absence` in [0, 1] says how much each expert of `chosen.missing` is missing, `bias` is the
        pool's own for the frame.
        """

    def _votes(self, votes: dict[str, tuple[float, float]]) -> list[Vote]:
        made = []
        for name, (probability, weight) in votes.items():
            calibration = self.fitted.calibrations.get(name, _UNCALIBRATED)
            calibrated = calibration.calibrate(probability)
            made.append(Vote(name, calibrated, logit(calibrated), weight))
        return made

    def _sum(self, votes: dict[str, tuple[float, float]], bias: float) -> Pooled:
        made = self._votes(votes)
        return _pooled(made, bias + math.fsum(v.weight * v.log_odds for v in made), bias)


class LogOddsPool(_FittedPool):
    """Weighted sum of calibrated log-odds.

    A missing vote adds its fitted `missing` where the fit knows it. For those that it does not
    know, the votes at hand are scaled up by (sum of the weights, those not known to be missing
    included) / (sum of the weights present), so that a missing vote weakens nobody else's.
    Source: logarithmic opinion pool, Genest and Zidek 1986; stacking, Wolpert 1992.
    """

    name = "log-odds"

    def _join(
        self,
        votes: dict[str, tuple[float, float]],
        chosen: Pool,
        present: float,
        absence: dict[str, float],
        bias: float,
    ) -> Pooled:
        total = math.fsum(abs(weight) for weight in chosen.weights.values())
        known = math.fsum(
            abs(chosen.weights.get(name, 0.0)) * share for name, share in absence.items()
        )
        scale = max(0.0, total - known) / present
        added = math.fsum(chosen.missing[name] * share for name, share in absence.items())
        scaled = {name: (p, weight * scale) for name, (p, weight) in votes.items()}
        return self._sum(scaled, bias + added)


class GeometricMeanPool(_FittedPool):
    """Weighted geometric mean of the calibrated probabilities, normalised over both classes.

    p = prod p_i^w_i / (prod p_i^w_i + prod (1 - p_i)^w_i) with the weights scaled to sum 1, which
    is the weighted mean of the log-odds; without the normalisation any two votes of one half would
    pool to less than one half. Negative weights and biases are of no use to it and are left out;
    `after`, where it was fitted, is applied to what it comes to.
    """

    name = "geometric-mean"

    def _join(
        self,
        votes: dict[str, tuple[float, float]],
        chosen: Pool,
        present: float,
        absence: dict[str, float],
        bias: float,
    ) -> Pooled:
        kept = {name: (p, max(0.0, weight)) for name, (p, weight) in votes.items()}
        sum_of_weights = math.fsum(weight for _, weight in kept.values())
        share = 1.0 / len(kept)
        scaled = {
            name: (p, weight / sum_of_weights if sum_of_weights > 0.0 else share)
            for name, (p, weight) in kept.items()
        }
        return _after(self._sum(scaled, 0.0), chosen)


class MajorityPool(_FittedPool):
    """Each calibrated vote counts as yes or no, by its trust, whatever its weight.

    log-odds = ln((yes + 1/2) / (no + 1/2)), so that a unanimous handful is not certain; `after`,
    where it was fitted, is applied to that.
    """

    name = "majority"

    def _join(
        self,
        votes: dict[str, tuple[float, float]],
        chosen: Pool,
        present: float,
        absence: dict[str, float],
        bias: float,
    ) -> Pooled:
        made = [
            Vote(vote.expert, vote.calibrated, vote.log_odds, 1.0 / len(votes))
            for vote in self._votes(votes)
        ]
        yes = sum(vote.log_odds > 0.0 for vote in made)
        log_odds = math.log((yes + 0.5) / (len(made) - yes + 0.5))
        return _after(_pooled(made, log_odds, 0.0), chosen)


POOLS: dict[str, type[LogOddsPool] | type[GeometricMeanPool] | type[MajorityPool]] = {
    LogOddsPool.name: LogOddsPool,
    GeometricMeanPool.name: GeometricMeanPool,
    MajorityPool.name: MajorityPool,
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


def choose_pool(pools: tuple[Pool, ...], present: frozenset[str], asked: frozenset[str]) -> Pool:
    """The weight set for the experts that voted and those that were asked, see `_FittedPool`."""
    for wanted in (present, asked):
        for pool in pools:
            if pool.weights.keys() == wanted:
                return pool

    def fit(pool: Pool) -> tuple[int, int]:
        named = pool.weights.keys()
        return len(named & present), -len(named - present)

    return max(pools, key=fit)


def _pooled(votes: list[Vote], log_odds: float, bias: float) -> Pooled:
    return Pooled(
        log_odds=log_odds,
        probability=expit(log_odds),
        disagreement=_spread(votes),
        votes=tuple(votes),
        bias=bias,
    )


def _after(pooled: Pooled, chosen: Pool) -> Pooled:
    if chosen.after is None:
        return pooled
    log_odds = chosen.after.shift(pooled.log_odds)
    return replace(pooled, log_odds=log_odds, probability=expit(log_odds))


def _spread(votes: list[Vote]) -> float:
    """Standard deviation of the log-odds, weighted by the absolute weights."""
    shares = [abs(vote.weight) for vote in votes]
    total = math.fsum(shares)
    if total <= 0.0 or len(votes) < 2:
        return 0.0
    mean = math.fsum(s * v.log_odds for s, v in zip(shares, votes, strict=True)) / total
    return math.sqrt(
        math.fsum(s * (v.log_odds - mean) ** 2 for s, v in zip(shares, votes, strict=True)) / total
    )
