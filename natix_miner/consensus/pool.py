"""Pools: from calibrated votes, of which some may be missing, to one log-odds value.

The same opinions, in whatever order, give the same bits: votes are taken by name and sums are
rounded once (`math.fsum`). Replay depends on it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from natix_miner.consensus.calibration import Platt
from natix_miner.consensus.choosing import choose_pool
from natix_miner.consensus.fitted import FittedConsensus, Pool, PoolKind
from natix_miner.consensus.pooled import Pooled, Vote
from natix_miner.experts import Opinion, Status
from natix_miner.log_odds import expit, logit

#: Answers stay off the ends: one wrong certainty must not look like a broken miner.
LOWEST, HIGHEST = 0.001, 0.999
#: The validator rounds 0.5 down to "none"; an answer says which side it is on.
TIE = 0.4999
#: A share of all weights that counts as none: scaling it up would only scale up its rounding.
NOTHING = 1e-9
#: Sets of voters whose weights are kept worked out; more than a cascade meets in practice.
REMEMBERED = 8192
_uncalibrated = Platt().calibrate
_OK = Status.OK


class Consensus(Protocol):
    """Pools opinions; None when not one of them is usable."""

    @property
    def version(self) -> str:
        """Identifies weights and method in traces."""
        ...

    @property
    def fitted(self) -> FittedConsensus:
        """What it pools with."""
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


@dataclass(frozen=True, slots=True)
class Weights:
    """What each voter counts, in the order of their names.

    `added` is for missing votes, `voices` the sum of the voters' trust; `chosen` is the weight set
    that all of it comes from, None when none has a weight for any of the voters.
    """

    shares: tuple[float, ...]
    chosen: Pool | None
    added: float = 0.0
    voices: float = 0.0


class _FittedPool(ABC):
    """A pool with the calibrations and weights of a fitted file.

    A vote's weight is its fitted weight times the trust of this query's opinion (`choose_pool` says
    out of which weight set). Experts without any weight count equally when nobody else spoke:
    little is better than nothing.
    """

    name: PoolKind

    def __init__(self, fitted: FittedConsensus) -> None:
        self.fitted = fitted
        self.version = f"{self.name}:{fitted.digest()}"
        self._calibrate = {
            name: calibration.calibrate for name, calibration in fitted.calibrations.items()
        }
        self._worked_out: dict[tuple[tuple[str, ...], frozenset[str]], tuple[Pool, Weights]] = {}

    def pool(
        self,
        opinions: Iterable[Opinion],
        size_class: str | None = None,
        conditions: Mapping[str, float] | None = None,
    ) -> Pooled | None:
        """The pooled value of all usable opinions; None without one."""
        asked, usable = [], []
        told = dict(conditions) if conditions else {}
        for opinion in opinions:
            asked.append(opinion.expert)
            value = opinion.probability
            # Written so that NaN, of which every comparison is false, is left out.
            if opinion.status is _OK and value is not None and 0.0 <= value <= 1.0:
                trust = opinion.trust
                usable.append((opinion.expert, value, trust if trust == 1.0 else _kept(trust)))
            if opinion.conditions:
                for name, share in opinion.conditions.items():
                    told[name] = max(share, told.get(name, 0.0))
        if not usable:
            return None
        usable.sort()
        trusts = {expert: trust for expert, _, trust in usable}
        if len(trusts) < len(usable):  # somebody spoke twice: the last by order counts
            usable = list({one[0]: one for one in usable}.values())
        weights = self._weights(trusts, frozenset(asked))
        votes = []
        for (expert, value, _), weight in zip(usable, weights.shares, strict=True):
            calibrated = self._calibrate.get(expert, _uncalibrated)(value)
            votes.append(Vote(expert, calibrated, logit(calibrated), weight))
        return self._join(tuple(votes), weights, size_class, told)

    def _weights(self, trusts: dict[str, float], asked: frozenset[str]) -> Weights:
        """Worked out once for each set of voters; again only where one is not trusted whole."""
        key = (tuple(trusts), asked)
        known = self._worked_out.get(key)
        if known is None:
            if len(self._worked_out) >= REMEMBERED:
                self._worked_out.clear()
            chosen = choose_pool(self.fitted.pools, frozenset(trusts), asked)
            known = chosen, self._weigh(chosen, dict.fromkeys(trusts, 1.0))
            self._worked_out[key] = known
        chosen, whole = known
        return whole if min(trusts.values()) >= 1.0 else self._weigh(chosen, trusts)

    @abstractmethod
    def _weigh(self, chosen: Pool, trusts: dict[str, float]) -> Weights:
        """What voters of these trusts (by expert) count with this weight set."""

    @abstractmethod
    def _join(
        self,
        votes: tuple[Vote, ...],
        weights: Weights,
        size_class: str | None,
        conditions: Mapping[str, float],
    ) -> Pooled:
        """The pooled value of the votes."""


class LogOddsPool(_FittedPool):
    """Weighted sum of calibrated log-odds.

    A missing vote adds its fitted `missing` where the fit knows it. For those that it does not
    know, the votes at hand are scaled up by (sum of the weights, those not known to be missing
    included) / (sum of the weights present), so that a missing vote weakens nobody else's. A vote
    of trust t is there for t and missing for 1 - t.
    Source: logarithmic opinion pool, Genest and Zidek 1986; stacking, Wolpert 1992.
    """

    name = "log-odds"

    def _weigh(self, chosen: Pool, trusts: dict[str, float]) -> Weights:
        weights, present = _present(chosen, trusts)
        if present <= _nothing(chosen):
            return _alike(trusts)
        missing = chosen.missing
        due = math.fsum(
            [
                abs(weight * trusts.get(name, 0.0) if name in missing else weight)
                for name, weight in chosen.weights.items()
            ]
        )
        added = math.fsum(
            [shift * (1.0 - trusts.get(name, 0.0)) for name, shift in missing.items()]
        )
        scale = due / present
        return Weights(tuple([weight * scale for weight in weights]), chosen, added)

    def _join(
        self,
        votes: tuple[Vote, ...],
        weights: Weights,
        size_class: str | None,
        conditions: Mapping[str, float],
    ) -> Pooled:
        chosen = weights.chosen
        bias = chosen.bias_for(size_class, conditions) + weights.added if chosen else 0.0
        return Pooled.of(votes, bias + _sum(votes), bias)


class GeometricMeanPool(_FittedPool):
    """Weighted geometric mean of the calibrated probabilities, normalised over both classes.

    p = prod p_i^w_i / (prod p_i^w_i + prod (1 - p_i)^w_i) with the weights scaled to sum 1, which
    is the weighted mean of the log-odds; without the normalisation any two votes of one half would
    pool to less than one half. Negative weights and biases are of no use to it and are left out;
    `after`, where it was fitted, is applied to what it comes to.
    """

    name = "geometric-mean"

    def _weigh(self, chosen: Pool, trusts: dict[str, float]) -> Weights:
        weights, present = _present(chosen, trusts)
        if present <= _nothing(chosen):
            return _alike(trusts)
        kept = [max(0.0, weight) for weight in weights]
        total = math.fsum(kept)
        if total <= 0.0:
            return _alike(trusts, chosen)
        return Weights(tuple(weight / total for weight in kept), chosen)

    def _join(
        self,
        votes: tuple[Vote, ...],
        weights: Weights,
        size_class: str | None,
        conditions: Mapping[str, float],
    ) -> Pooled:
        return Pooled.of(votes, _after(_sum(votes), weights.chosen))


class MajorityPool(_FittedPool):
    """Each calibrated vote counts as yes or no, by its trust, whatever its weight.

    log-odds = ln((yes + 1/2) / (no + 1/2)), so that a unanimous handful is not certain; `after`,
    where it was fitted, is applied to that.
    """

    name = "majority"

    def _weigh(self, chosen: Pool, trusts: dict[str, float]) -> Weights:
        voices = math.fsum(trusts.values())
        if voices <= 0.0:
            return _alike(trusts, chosen)
        return Weights(tuple(t / voices for t in trusts.values()), chosen, voices=voices)

    def _join(
        self,
        votes: tuple[Vote, ...],
        weights: Weights,
        size_class: str | None,
        conditions: Mapping[str, float],
    ) -> Pooled:
        yes = weights.voices * math.fsum([v.weight for v in votes if v.log_odds > 0.0])
        no = weights.voices * math.fsum([v.weight for v in votes if v.log_odds <= 0.0])
        return Pooled.of(votes, _after(math.log((yes + 0.5) / (no + 0.5)), weights.chosen))


POOLS: dict[str, type[LogOddsPool] | type[GeometricMeanPool] | type[MajorityPool]] = {
    LogOddsPool.name: LogOddsPool,
    GeometricMeanPool.name: GeometricMeanPool,
    MajorityPool.name: MajorityPool,
}


def answer_from(log_odds: float) -> float:
    """The probability that goes out: in [0.001, 0.999], never exactly one half."""
    probability = min(max(expit(log_odds), LOWEST), HIGHEST)
    return TIE if abs(probability - 0.5) < 0.5 - TIE else probability


def _kept(trust: float) -> float:
    """In [0, 1]; what is no number is not trusted at all."""
    return min(trust, 1.0) if trust > 0.0 else 0.0


def _present(chosen: Pool, trusts: dict[str, float]) -> tuple[list[float], float]:
    """The voters' own weights and the sum of their absolute values."""
    fitted = chosen.weights
    weights = [fitted.get(name, 0.0) * trust for name, trust in trusts.items()]
    return weights, math.fsum([abs(weight) for weight in weights])


def _nothing(chosen: Pool) -> float:
    return NOTHING * math.fsum([abs(weight) for weight in chosen.weights.values()])


def _alike(trusts: dict[str, float], chosen: Pool | None = None) -> Weights:
    share = 1.0 / len(trusts)
    return Weights((share,) * len(trusts), chosen, voices=float(len(trusts)))


def _sum(votes: tuple[Vote, ...]) -> float:
    return math.fsum([vote.weight * vote.log_odds for vote in votes])


def _after(log_odds: float, chosen: Pool | None) -> float:
    return log_odds if chosen is None or chosen.after is None else chosen.after.shift(log_odds)
