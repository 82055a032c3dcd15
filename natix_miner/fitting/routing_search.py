"""All thresholds of a grid at once: what each combination would cost and be paid.

The rules of all levels but the last are tried one after the other. For each, the whole grid of the
last level's two thresholds comes out of one pass over the queries: a query is sorted into the cell
of the first thresholds that would let it enter, and sums over cells then say what is spent and won.

What is true of a query is taken to be what the pool of all levels makes of it, as a probability,
not its label. Ways of routing differ only in queries whose answer turns over on the way, most of
them near one half: there a label is the toss of a coin, and the best of many thousand combinations
would be the one with the luckiest tosses. Labels judge what was chosen, in `routing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from natix_miner.cascade.level import EntryRule
from natix_miner.fitting.calibrating import platt
from natix_miner.fitting.pools import expit, shifted
from natix_miner.fitting.routing_replay import ALWAYS, fits, replay, says_roadwork, share
from natix_miner.fitting.routing_reward import Quality, long_run_reward
from natix_miner.fitting.routing_stage import Stage
from natix_miner.fitting.votes import Floats

#: Below every log-odds that is met: a level with this threshold is entered by nobody, except
#: where nothing usable has been said.
NEVER = 1e-6
#: Shares of queries that thresholds let through: those on uncertainty, those on disagreement.
_UNSURE = np.array([*np.arange(0.01, 0.2, 0.01), *np.arange(0.2, 0.5, 0.025), 0.5, 0.6, 0.7, 0.85])
_APART = np.array([0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.45, 0.65])
#: Combinations tried for all levels but the last.
_COMBINATIONS = 1500
#: Rules tried for such a level: thresholds on uncertainty, and on disagreement, at most.
_MOST_UNSURE, _MOST_APART = 24, 7


@dataclass(frozen=True, slots=True)
class Grid:
    """Thresholds to try for one level: `unsure` rises from 0 (never for that) to infinity (always),
    `apart` falls from infinity (never for that)."""

    unsure: Floats
    apart: Floats

    def rule(self, unsure: int, apart: int) -> EntryRule:
        """The rule of one combination."""
        below, above = float(self.unsure[unsure]), float(self.apart[apart])
        if np.isinf(below):
            return EntryRule()
        if not below and np.isinf(above):
            return EntryRule(unsure_below=NEVER)
        return EntryRule(
            unsure_below=below or None, disagreement_above=None if np.isinf(above) else above
        )


@dataclass(frozen=True, slots=True)
class Tried:
    """Every combination of thresholds: arrays of shape (outer, unsure, apart) with its cost in ms
    and its expected reward, and what they stand for; `all_reward` is that of asking everybody."""

    cost_ms: Floats
    reward: Floats
    all_reward: float
    outer: tuple[tuple[EntryRule, ...], ...]
    grid: Grid

    def rules(self, place: int) -> tuple[EntryRule, ...]:
        """The rules at one place of the flattened arrays, for the levels after the first."""
        outer, unsure, apart = np.unravel_index(place, self.cost_ms.shape)
        return (*self.outer[outer], self.grid.rule(int(unsure), int(apart)))

    def cheapest(self, least_reward: float) -> tuple[EntryRule, ...]:
        """The cheapest rules that are paid so much; the best paid ones where none is."""
        enough = self.reward >= least_reward
        if not enough.any():
            return self.rules(int(np.argmax(self.reward)))
        return self.rules(int(np.argmin(np.where(enough, self.cost_ms, np.inf))))

    def best(self, most_cost_ms: float) -> tuple[EntryRule, ...]:
        """The best paid rules that cost no more; the cheapest ones where all do."""
        within = self.cost_ms <= most_cost_ms * (1.0 + 1e-9)
        if not within.any():
            return self.rules(int(np.argmin(self.cost_ms)))
        return self.rules(int(np.argmax(np.where(within, self.reward, -1.0))))


def search(stage: Stage) -> Tried:
    """Try the grid of thresholds on a stage; the rules are those of the levels after the first."""
    last = len(stage.levels) - 1
    outer = tuple(_outer_rules(stage))
    grid = _grid(stage, last, _UNSURE, _APART)
    shape = (len(outer), len(grid.unsure), len(grid.apart))
    cost_ms = np.empty(shape)
    counted = np.empty((4, *shape))
    yes = beliefs(stage)
    for number, rules in enumerate(outer):
        found = _last_level(stage, yes, rules, last, grid)
        cost_ms[number], counted[:, number] = found[0], found[1:]
    reward = _paid(counted, stage.prior)
    everybody = next(n for n, rules in enumerate(outer) if all(rule == ALWAYS for rule in rules))
    return Tried(cost_ms, reward, float(reward[everybody, -1, 0]), outer, grid)


def _last_level(
    stage: Stage, yes: Floats, rules: Sequence[EntryRule], last: int, grid: Grid
) -> Floats:
    """Sums over all queries by thresholds of the last level, (5, unsure, apart): cost, and by
    weight roadwork answered rightly, answered at all, the rest answered rightly, at all."""
    rows = np.arange(len(stage))
    before = replay(stage, rules)
    deeper = before.entered | 1 << last
    stays = _values(stage, yes, before.log_odds, before.cost_ms)
    enters = _values(stage, yes, stage.log_odds[deeper, rows], before.cost_ms + stage.cost_ms[last])
    can = fits(stage, last, before.time_ms)
    told = ~np.isnan(before.log_odds)
    open_ = can & told
    fixed = np.where(can, enters, stays).sum(axis=1)
    distance = np.abs(before.log_odds[open_])
    apart = stage.disagreement[before.entered, rows][open_]
    # The first threshold of each kind that lets the query enter.
    by_unsure = np.searchsorted(grid.unsure, distance, side="right")
    by_apart = np.searchsorted(-grid.apart, -apart, side="left")
    shape = (len(grid.unsure) + 1, len(grid.apart) + 1)
    cells = by_unsure * shape[1] + by_apart
    lost = (stays - enters)[:, open_]
    found = np.empty((len(lost), shape[0] - 1, shape[1] - 1))
    for number, values in enumerate(lost):
        table = np.bincount(cells, values, shape[0] * shape[1]).reshape(shape)
        later = table[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
        found[number] = fixed[number] + later[1:, 1:]
    return found


def beliefs(stage: Stage) -> Floats:
    """How likely each query is roadwork by the pool of all levels, calibrated on the labels, (n,);
    one half where nobody had a vote."""
    log_odds = stage.log_odds[-1]
    told = ~np.isnan(log_odds)
    found = np.full(len(stage), 0.5)
    if len(np.unique(stage.label[told])) == 2:
        weight = stage.weight[told] / stage.weight[told].mean()
        line = platt(log_odds[told], stage.label[told], weight, stage.prior)
        found[told] = expit(shifted(line, log_odds[told]))
    return found


def believed_reward(stage: Stage, log_odds: Floats) -> float:
    """Expected reward of these answers (log-odds, (n,)) when queries are what `beliefs` say."""
    values = _values(stage, beliefs(stage), log_odds, np.zeros(len(stage)))
    return float(_paid(values[1:].sum(axis=1), stage.prior).item())


def _paid(counted: Floats, prior: float) -> Floats:
    """Expected reward of sums as in `_values` without the cost, (4, ...)."""
    yes_right, yes_answered, none_right, none_answered = counted
    quality = Quality(
        roadwork=share(yes_right, yes_answered),
        none=share(none_right, none_answered),
        silent=np.clip(1.0 - yes_answered - none_answered, 0.0, 1.0),
    )
    return long_run_reward(quality, prior)


def _values(stage: Stage, yes: Floats, log_odds: Floats, cost_ms: Floats) -> Floats:
    """What each query adds to the sums when this is its answer and its cost, (5, n); `yes` (n,) is
    how likely it is roadwork."""
    answered, says = ~np.isnan(log_odds), says_roadwork(log_odds)
    kinds = np.stack(
        [
            np.where(answered & says, yes, 0.0),
            np.where(answered, yes, 0.0),
            np.where(answered & ~says, 1.0 - yes, 0.0),
            np.where(answered, 1.0 - yes, 0.0),
        ]
    )
    return stage.weight * np.concatenate([cost_ms[None], kinds])


def _outer_rules(stage: Stage) -> Iterator[tuple[EntryRule, ...]]:
    """Combinations of rules for the levels between the first and the last; fewer for each where
    there are more levels."""
    between = range(1, len(stage.levels) - 1)
    if not between:
        return iter([()])
    each = max(4, int(_COMBINATIONS ** (1.0 / len(between))))
    unsure = min(_MOST_UNSURE, max(3, int(np.sqrt(3.0 * each))))
    apart = min(_MOST_APART, max(1, each // (unsure + 2) - 1))
    choices = []
    for level in between:
        grid = _grid(stage, level, _spread(_UNSURE, unsure), _spread(_APART, apart))
        cells = product(range(len(grid.unsure)), range(len(grid.apart)))
        choices.append(list(dict.fromkeys(grid.rule(u, a) for u, a in cells)))
    return product(*choices)


def _grid(stage: Stage, level: int, unsure: Floats, apart: Floats) -> Grid:
    """Quantiles of what the pool says after the levels before this one, as they would be written
    into a profile: rounded."""
    before = (1 << level) - 1
    distance, spread = np.abs(stage.log_odds[before]), stage.disagreement[before]
    told = ~np.isnan(distance)
    if not told.any():
        return Grid(np.array([0.0, np.inf]), np.array([np.inf]))
    low = {_rounded(value) for value in np.quantile(distance[told], unsure)}
    high = {_rounded(value) for value in np.quantile(spread[told], 1.0 - apart)}
    return Grid(
        np.array([0.0, *sorted(low - {0.0}), np.inf]),
        np.array([np.inf, *sorted(high - {0.0}, reverse=True)]),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _spread(shares: Floats, count: int) -> Floats:
    """About so many of the shares, from one end to the other."""
    places: NDArray[np.int_] = np.unique(
        np.linspace(0, len(shares) - 1, min(count, len(shares))).round().astype(np.int_)
    )
    return shares[places]
