"""Entry rules replayed on a stage: which levels would have been entered, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.cascade.level import EntryRule
from natix_miner.fitting.pools import answers_from
from natix_miner.fitting.routing_reward import Quality, long_run_reward
from natix_miner.fitting.routing_stage import Stage
from natix_miner.fitting.votes import Floats

ALWAYS = EntryRule()


@dataclass(frozen=True, slots=True)
class Replayed:
    """Of each query (n,): the mask of levels entered, the pool's log-odds after the last (NaN
    without a vote), expert-milliseconds spent, and ms until the last level was done."""

    entered: NDArray[np.int_]
    log_odds: Floats
    cost_ms: Floats
    time_ms: Floats


@dataclass(frozen=True, slots=True)
class Worth:
    """What a way of routing comes to over queries at the target share of roadwork: expected reward
    in [0, 1], expert-milliseconds a query, and the share of queries that enter each level."""

    reward: float
    cost_ms: float
    entered: tuple[float, ...]


def replay(stage: Stage, rules: Sequence[EntryRule]) -> Replayed:
    """The cascade with `rules` for the levels after the first, which is always entered.

    As `natix_miner.cascade.Cascade` goes: each level in turn is entered if its rule says so of the
    pool so far and it fits into the time; one that is passed over does not end the run.
    """
    rows = np.arange(len(stage))
    entered = np.ones(len(stage), np.int_)
    cost, time = stage.cost_ms[0].copy(), stage.time_ms[0].copy()
    for level, rule in enumerate(rules, start=1):
        go = wanted(stage.log_odds[entered, rows], stage.disagreement[entered, rows], rule)
        go &= fits(stage, level, time)
        entered = entered + np.where(go, 1 << level, 0)
        cost += np.where(go, stage.cost_ms[level], 0.0)
        time += np.where(go, stage.time_ms[level], 0.0)
    return Replayed(entered, stage.log_odds[entered, rows], cost, time)


def wanted(log_odds: Floats, disagreement: Floats, rule: EntryRule) -> NDArray[np.bool_]:
    """`EntryRule.decide` for many pooled values, (n,); NaN: nothing usable so far."""
    if rule.unsure_below is None and rule.disagreement_above is None:
        return np.ones(log_odds.shape, bool)
    go = np.isnan(log_odds)
    if rule.unsure_below is not None:
        go |= np.abs(log_odds) < rule.unsure_below
    if rule.disagreement_above is not None:
        go |= disagreement >= rule.disagreement_above
    return go


def fits(stage: Stage, level: int, spent_ms: Floats) -> NDArray[np.bool_]:
    """Whether a level can be started and done when so much of the time is spent, (n,)."""
    left = stage.limit_ms - spent_ms
    return np.asarray((left > stage.needs_ms[level]) & (left >= stage.time_ms[level]))


def worth(stage: Stage, replayed: Replayed) -> Worth:
    """What it comes to."""
    quality, cost = sums(stage, replayed, stage.weight[None])
    shares = [
        float(stage.weight @ (replayed.entered >> level & 1)) for level in range(len(stage.levels))
    ]
    reward = float(long_run_reward(quality, stage.prior)[0])
    return Worth(reward, float(cost[0]), tuple(shares))


def sums(stage: Stage, replayed: Replayed, weights: Floats) -> tuple[Quality, Floats]:
    """Quality and mean cost in ms for each row of weights (k, n) that sum to 1."""
    yes = stage.label == 1
    answered = ~np.isnan(replayed.log_odds)
    right = answered & (says_roadwork(replayed.log_odds) == yes)
    quality = Quality(
        roadwork=share(weights @ (right & yes), weights @ (answered & yes)),
        none=share(weights @ (right & ~yes), weights @ (answered & ~yes)),
        silent=1.0 - weights @ answered,
    )
    return quality, np.asarray(weights @ replayed.cost_ms)


def says_roadwork(log_odds: Floats) -> NDArray[np.bool_]:
    """Which answers a validator takes for roadwork, (n,)."""
    return answers_from(log_odds) > 0.5


def share(part: Floats, whole: Floats) -> Floats:
    """A part of a whole, 0 where there is none."""
    return np.where(whole > 0.0, part / np.where(whole > 0.0, whole, 1.0), 0.0)
