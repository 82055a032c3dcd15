"""Entry thresholds learned from stored opinions: nearly the reward of all experts, for less time.

Levels are replayed on out-of-fold values of the pool, so that thresholds are not tuned on what the
weights saw. What is told of a way of routing is held out once more: the thresholds with which a
query is replayed were chosen on the other folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from natix_miner.cascade.level import EntryRule
from natix_miner.errors import FittingError
from natix_miner.fitting.choice import with_shift
from natix_miner.fitting.fit import Fit
from natix_miner.fitting.routing_draws import at_prior, drawn_counts, ends
from natix_miner.fitting.routing_replay import (
    ALWAYS,
    Replayed,
    Worth,
    replay,
    sums,
    worth,
)
from natix_miner.fitting.routing_results import Ends, Point, Routing
from natix_miner.fitting.routing_reward import long_run_reward
from natix_miner.fitting.routing_search import NEVER, Tried, believed_reward, search
from natix_miner.fitting.routing_settings import GOAL_SHARE, RoutingSettings
from natix_miner.fitting.routing_stage import (
    Stage,
    all_asked,
    check_levels,
    held_out_stage,
    level_times,
)
from natix_miner.fitting.settings import LEAST_LABELLED, LEAST_PER_LABEL
from natix_miner.fitting.votes import Votes

#: With a smaller share asked at every level there is no routing; with less than this, a remark.
LEAST_ASKED, NEARLY_ALL = 0.5, 0.95
#: The search aims at this part of what may be lost: thresholds lose a little more on queries that
#: they were not chosen on.
MARGIN = 0.6
#: Budgets of the curve, from the first level's cost to that of all.
_BUDGETS = 16

_Pick = Callable[[Tried], tuple[EntryRule, ...]]


def learn_routing(fit: Fit, settings: RoutingSettings | None = None) -> Routing:
    """Thresholds for the levels after the first, from the votes of a fit and its held-out fits.

    Raises FittingError with one level, without times, or when too few queries were asked at every
    level.
    """
    settings = settings or RoutingSettings()
    votes, fold = fit.labelled, fit.held_out.fold
    full = all_asked(votes)
    remarks = _check_asked(votes, full)
    fits = [
        with_shift(one.fitted[fit.choice.name], fit.shift.log_odds) for one in fit.held_out.fits
    ]
    votes, fold = votes.take(full), fold[full]
    needs = [
        1000.0 * settings.needs_seconds.get(name, 0.0) for name, experts in votes.levels if experts
    ]
    stage = held_out_stage(
        votes,
        fold,
        fits,
        limit_ms=1000.0 * settings.seconds,
        needs_ms=needs,
        prior=settings.prior,
    )
    found = route(stage, fold, votes.groups, settings)
    return replace(found, remarks=(*remarks, *found.remarks))


def check_routable(votes: Votes) -> None:
    """Raise FittingError for votes that no fit makes routable: of one level, or without times."""
    check_levels(votes)
    level_times(votes)


def route(
    stage: Stage, fold: NDArray[np.int_], groups: tuple[str, ...], settings: RoutingSettings
) -> Routing:
    """The same on a stage whose queries are in `fold` (n,) and belong to `groups`."""
    nested = _Nested(stage, fold)
    later = len(stage.levels) - 1
    everybody = replay(stage, (ALWAYS,) * later)
    most = worth(stage, everybody)
    alone = (EntryRule(unsure_below=NEVER),) * later
    lost = MARGIN * settings.within
    chosen, held = nested.point(lambda tried: tried.cheapest(tried.all_reward - lost), most)
    curve = [nested.point(_best_for(budget), most)[0] for budget in _budgets(stage, most)]
    interval = _intervals(stage, everybody, held, groups, settings)
    p50, p99 = np.quantile(held.time_ms, [0.5, 0.99])
    reached = chosen.cost_share <= GOAL_SHARE and chosen.reward_loss <= settings.within
    return Routing(
        all=_point(stage, (ALWAYS,) * later, most, most),
        first_level_only=_point(stage, alone, worth(stage, replay(stage, alone)), most),
        chosen=chosen,
        interval=interval,
        believed_loss=believed_reward(stage, everybody.log_odds)
        - believed_reward(stage, held.log_odds),
        curve=_with_front(curve),
        time_ms={"p50": float(p50), "p99": float(p99)},
        reached=reached,
        n=len(stage),
        groups=len(set(groups)),
        within=settings.within,
        remarks=_remarks(stage, chosen, interval, reached, settings.within),
    )


class _Nested:
    """The grid tried on all queries and on all folds but one, for each fold."""

    def __init__(self, stage: Stage, fold: NDArray[np.int_]) -> None:
        self._stage = stage
        self._all = search(stage)
        self._folds = [
            (np.flatnonzero(fold == number), search(stage.take(fold != number)))
            for number in np.unique(fold)
        ]

    def point(self, pick: _Pick, most: Worth) -> tuple[Point, Replayed]:
        """The rules that `pick` takes on all queries, with what the same picking on the other folds
        comes to on each fold."""
        held = self._held_out(pick)
        return _point(self._stage, pick(self._all), worth(self._stage, held), most), held

    def _held_out(self, pick: _Pick) -> Replayed:
        size = len(self._stage)
        entered = np.zeros(size, np.int_)
        log_odds, cost_ms, time_ms = np.empty(size), np.empty(size), np.empty(size)
        for rows, tried in self._folds:
            one = replay(self._stage, pick(tried))
            entered[rows], log_odds[rows] = one.entered[rows], one.log_odds[rows]
            cost_ms[rows], time_ms[rows] = one.cost_ms[rows], one.time_ms[rows]
        return Replayed(entered, log_odds, cost_ms, time_ms)


def _budgets(stage: Stage, most: Worth) -> list[float]:
    """Costs in ms from that of the first level to that of all, each the same factor dearer."""
    if most.cost_ms <= 0.0:
        return []
    first = max(float(stage.weight @ stage.cost_ms[0]), 1e-3 * most.cost_ms)
    return [float(budget) for budget in np.geomspace(first, most.cost_ms, _BUDGETS)]


def _best_for(budget_ms: float) -> _Pick:
    return lambda tried: tried.best(budget_ms)


def _point(stage: Stage, rules: tuple[EntryRule, ...], found: Worth, most: Worth) -> Point:
    later = stage.levels[1:]
    return Point(
        reward=found.reward,
        cost_ms=found.cost_ms,
        cost_share=found.cost_ms / most.cost_ms if most.cost_ms > 0.0 else 1.0,
        reward_loss=most.reward - found.reward,
        rules=dict(zip(later, rules, strict=True)),
        entered=dict(zip(later, found.entered[1:], strict=True)),
    )


def _with_front(curve: list[Point]) -> tuple[Point, ...]:
    """The points by cost, each once, those marked that beat all cheaper ones."""
    found: list[Point] = []
    best = -1.0
    for point in sorted(curve, key=lambda one: (one.cost_ms, -one.reward)):
        if found and abs(point.cost_ms - found[-1].cost_ms) < 1e-9:
            continue
        found.append(replace(point, front=point.reward > best))
        best = max(best, point.reward)
    return tuple(found)


def _intervals(
    stage: Stage,
    everybody: Replayed,
    held: Replayed,
    groups: tuple[str, ...],
    settings: RoutingSettings,
) -> dict[str, Ends]:
    """Where reward, loss and cost share lie in 95 % of the draws of whole groups, both ways of
    routing on the same draws."""
    counts = drawn_counts(groups, settings.resamples, settings.seed)
    weights = at_prior(counts, (stage.label == 1).astype(np.float64), stage.prior)
    if not len(weights):
        return {}
    quality, cost = sums(stage, held, weights)
    full_quality, full_cost = sums(stage, everybody, weights)
    reward = long_run_reward(quality, stage.prior)
    figures = {
        "reward": reward,
        "reward_loss": long_run_reward(full_quality, stage.prior) - reward,
        "cost_share": cost / np.where(full_cost > 0.0, full_cost, 1.0),
    }
    return {name: ends(values) for name, values in figures.items()}


def _check_asked(votes: Votes, full: NDArray[np.bool_]) -> tuple[str, ...]:
    """A remark, or none, on queries that were not asked at every level."""
    count, n = int(full.sum()), len(votes)
    told = f"{count} of {n} labelled queries were asked at every level"
    how = "collect opinions with natix-miner score --all-levels"
    label = votes.label[full]
    if count < LEAST_LABELLED or min(np.sum(label == 1), np.sum(label == 0)) < LEAST_PER_LABEL:
        raise FittingError(
            f"{told}: routing needs at least {LEAST_LABELLED}, with {LEAST_PER_LABEL} of each "
            f"label; {how}"
        )
    if count < LEAST_ASKED * n:
        raise FittingError(
            f"{told}, and those are the unsure ones: what the others would have got cannot be "
            f"told; {how}"
        )
    if count < NEARLY_ALL * n:
        return (
            f"{told}; only these are replayed. If the rest was sure early, the figures are too "
            f"hard on the first level; {how}",
        )
    return ()


def _remarks(
    stage: Stage, chosen: Point, interval: Mapping[str, Ends], reached: bool, within: float
) -> tuple[str, ...]:
    found = []
    if not reached:
        found.append(
            f"the goal is not reached: {100 * chosen.cost_share:.1f} % of the cost of all experts "
            f"(goal {100 * GOAL_SHARE:.0f} %) at a held-out loss of {chosen.reward_loss:+.4f} "
            f"(goal {within:g})"
        )
    first = float(stage.weight @ stage.cost_ms[0]) / max(chosen.cost_ms, 1e-12) * chosen.cost_share
    if first > GOAL_SHARE:
        found.append(
            f"the first level alone is {100 * first:.1f} % of the cost of all experts: no "
            "threshold reaches the goal, only a cheaper first level"
        )
    if interval and interval["reward_loss"][1] > within:
        found.append(
            f"the data do not show the loss to be within {within:g}: it lies in "
            f"[{interval['reward_loss'][0]:+.4f}, {interval['reward_loss'][1]:+.4f}] with 95 % "
            "confidence; more labelled queries would tell"
        )
    for name, rule in chosen.rules.items():
        if rule.unsure_below == NEVER and rule.disagreement_above is None:
            found.append(f"level {name!r} is not worth its time: take it out of the profile")
    late = int(np.sum(stage.time_ms.sum(axis=0) > stage.limit_ms))
    if late:
        found.append(
            f"{late} of {len(stage)} queries have no time for all levels: levels that would not be "
            "done before the deadline are not entered, in no way of routing"
        )
    return tuple(found)
