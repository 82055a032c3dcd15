"""What each expert adds: held-out reward and log loss with it, and refitted without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from natix_miner.consensus import Calibration, FittedConsensus, Pool
from natix_miner.errors import FittingError
from natix_miner.fitting.calibrating import calibrate
from natix_miner.fitting.depths import depths_of, fittable
from natix_miner.fitting.folding import class_weights, folds_of, row_weights
from natix_miner.fitting.pools import answers_from, calibrated_log_odds, pool_votes
from natix_miner.fitting.redundancy import without
from natix_miner.fitting.routing_draws import at_prior, drawn_counts, ends
from natix_miner.fitting.routing_reward import Quality, long_run_reward
from natix_miner.fitting.routing_settings import GOAL_SHARE, WITHIN
from natix_miner.fitting.settings import FitSettings
from natix_miner.fitting.stacking import stacked_pool
from natix_miner.fitting.votes import Floats, Votes

#: Nobody is switched off while he may add more reward than this.
LITTLE = 0.01
#: Of so many queries, an expert that turns over not one answer may still turn over 3 in 1000 (95 %
#: confidence), which is about 0.01 of reward.
LEAST_QUERIES = 1000
#: Reward that the time of all experts is worth, by the goal of routing: 0.005 for four fifths.
PRICE = WITHIN / (1.0 - GOAL_SHARE)
RULE = (
    "switched off is who adds nothing (the 95 % intervals of what it adds in reward and of what it "
    f"takes off the log loss both reach down to 0, and that of reward stays below {LITTLE:g}), or "
    "costs more than it adds (that of reward stays below "
    f"{PRICE:g} times its share of all experts' time); one after the other, least useful first, as "
    "long as this holds for all of them together; with fewer than "
    f"{LEAST_QUERIES} labelled queries nobody is"
)

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Added:
    """What one expert adds to the others.

    `reward` is the expected reward with it less that without it, `log_loss` how much lower the
    weighted log loss is with it (nats); their intervals hold 95 % of the draws of groups. `ms` is
    its mean time where asked, `level_share` and `cost_share` its part of the expert-time of its
    level and of all levels, `saves_ms` how much sooner its level would be done without it; None
    where no time is told.
    """

    expert: str
    level: str
    reward: float
    reward_interval: Ends
    log_loss: float
    log_loss_interval: Ends
    ms: float | None
    level_share: float | None
    cost_share: float | None
    saves_ms: float | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What every expert adds, on `n` labelled queries; `reward` and `log_loss` are those of all
    experts. `switch_off` says why of those that need not run, by `rule`."""

    n: int
    reward: float
    log_loss: float
    experts: tuple[Added, ...]
    switch_off: Mapping[str, str]
    rule: str = RULE

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded."""
        return {
            "n": self.n,
            "reward": round(self.reward, 5),
            "log_loss": round(self.log_loss, 5),
            "experts": [_rounded(asdict(one)) for one in self.experts],
            "switch_off": dict(self.switch_off),
            "rule": self.rule,
        }


def leave_one_out(votes: Votes, settings: FitSettings | None = None) -> LeftOut:
    """Fit without each expert in turn and see what is lost on held-out groups.

    The fit is Platt scaling and stacking of every depth with one fixed penalty, the same with and
    without the expert, so that it is fast; its rewards are near those of the full fit, not the
    same. Raises FittingError where nothing can be held out, or for a single expert.
    """
    panel = _Panel(votes.labelled(), settings or FitSettings())
    costs = _costs(panel.votes)
    experts = []
    for level, names in panel.votes.levels:
        for name in names:
            reward, log_loss = map(_told, panel.lost_without(frozenset({name})))
            times = costs.get(name, (None, None, None, None))
            experts.append(Added(name, level, *reward, *log_loss, *times))
    return LeftOut(
        n=len(panel.votes),
        reward=float(panel.all_reward[0]),
        log_loss=float(panel.all_log_loss[0]),
        experts=tuple(experts),
        switch_off=_switch_off(panel, experts),
    )


class _Panel:
    """Held-out figures of any set of experts, each as (1 + draws,): the value, then every draw."""

    def __init__(self, votes: Votes, settings: FitSettings) -> None:
        if len(votes.experts) < 2:
            raise FittingError("there is a single expert: nobody can be left out")
        self.votes = votes
        self._settings = settings
        fold = folds_of(votes.label, votes.groups, settings.folds, settings.seed)
        if fold is None:
            raise FittingError(
                "the groups cannot be divided so that both labels remain on either side: label "
                "queries of more clips, drives or days"
            )
        self._fold = fold
        self._pools: dict[tuple[int, tuple[str, ...]], Pool] = {}
        self._calibrations = [
            self._calibrated(votes.take(fold != number)) for number in range(int(fold.max()) + 1)
        ]
        yes = (votes.label == 1).astype(np.float64)
        counts = drawn_counts(votes.groups, settings.resamples, settings.seed)
        value = class_weights(votes.label, settings.prior)[None] / len(votes)
        self._weights = np.concatenate([value, at_prior(counts, yes, settings.prior)])
        self.all_reward, self.all_log_loss = self._figures(frozenset())

    def lost_without(self, names: frozenset[str]) -> tuple[Floats, Floats]:
        """Reward lost and log loss gained without these experts."""
        reward, log_loss = self._figures(names)
        return self.all_reward - reward, log_loss - self.all_log_loss

    def _calibrated(self, train: Votes) -> Mapping[str, Calibration]:
        weights = row_weights(train, self._settings.prior)
        return calibrate(train, weights, None, self._settings.prior).calibrations

    def _figures(self, names: frozenset[str]) -> tuple[Floats, Floats]:
        log_odds = np.nan_to_num(self._held_out(names), nan=0.0)
        yes = self.votes.label == 1
        right = (answers_from(log_odds) > 0.5) == yes
        w = self._weights
        quality = Quality(
            roadwork=w @ (right & yes) / (w @ yes),
            none=w @ (right & ~yes) / (w @ ~yes),
            silent=np.zeros(len(w)),
        )
        losses = np.logaddexp(0.0, np.where(yes, -log_odds, log_odds))
        return long_run_reward(quality, self._settings.prior), np.asarray(w @ losses)

    def _held_out(self, names: frozenset[str]) -> Floats:
        votes = without(self.votes, names) if names else self.votes
        found = np.full(len(votes), np.nan)
        for number, calibrations in enumerate(self._calibrations):
            known = {name: one for name, one in calibrations.items() if name not in names}
            pools = self._fitted(number, votes.take(self._fold != number), known)
            out = self._fold == number
            fitted = FittedConsensus(calibrations=known, pools=pools)
            found[out] = pool_votes(fitted, votes.take(out))
        return found

    def _fitted(
        self, number: int, train: Votes, calibrations: Mapping[str, Calibration]
    ) -> tuple[Pool, ...]:
        """A pool for each depth; depths that have nobody of those left out were fitted before."""
        log_odds = calibrated_log_odds(train, calibrations)
        weights = row_weights(train, self._settings.prior)
        pools = []
        for depth in depths_of(train):
            if not fittable(train, depth):
                continue
            key = (number, depth.experts)
            if key not in self._pools:
                self._pools[key] = stacked_pool(
                    train,
                    log_odds,
                    depth,
                    weights,
                    None,
                    non_negative=self._settings.non_negative,
                )
            pools.append(self._pools[key])
        if not pools:
            raise FittingError(
                f"no level of {', '.join(train.experts)} has enough labelled queries with votes"
            )
        return tuple(pools)


def _switch_off(panel: _Panel, experts: Iterable[Added]) -> dict[str, str]:
    found: dict[str, str] = {}
    share = 0.0
    if len(panel.votes) < LEAST_QUERIES:
        return found
    for one in sorted(experts, key=lambda added: (added.reward, added.log_loss)):
        if len(found) + 1 == len(panel.votes.experts):
            break
        alone = _why(one.reward_interval, one.log_loss_interval, one.cost_share or 0.0)
        if not alone:
            continue
        together = share + (one.cost_share or 0.0)
        reward, log_loss = panel.lost_without(frozenset({*found, one.expert}))
        if _why(_told(reward)[1], _told(log_loss)[1], together):
            found[one.expert], share = alone, together
    return found


def _why(reward: Ends, log_loss: Ends, cost_share: float) -> str:
    """Why experts need not run that add this and cost so much; empty where they should."""
    if reward[1] < PRICE * cost_share:
        return (
            f"costs more than it adds: at most {reward[1]:+.4f} reward for "
            f"{100 * cost_share:.2g} % of the time"
        )
    if reward[0] <= 0.0 and log_loss[0] <= 0.0 and reward[1] <= LITTLE:
        return f"adds nothing: reward in [{reward[0]:+.4f}, {reward[1]:+.4f}]"
    return ""


def _costs(votes: Votes) -> dict[str, tuple[float, float, float, float]]:
    """`ms`, `level_share`, `cost_share` and `saves_ms` of every expert that told any time."""
    place = {name: column for column, name in enumerate(votes.experts)}
    spent = np.where(votes.asked, np.nan_to_num(votes.ms, nan=0.0), 0.0)
    everything = float(spent.sum())
    found: dict[str, tuple[float, float, float, float]] = {}
    for _, names in votes.levels:
        own = [place[name] for name in names]
        level = spent[:, own]
        entered = votes.asked[:, own].any(axis=1)
        for name in names:
            column = place[name]
            known = votes.asked[:, column] & ~np.isnan(votes.ms[:, column])
            if not known.any():
                continue
            others = [other for other in own if other != column]
            rest = spent[:, others].max(axis=1) if others else np.zeros(len(votes))
            sooner = level.max(axis=1) - rest
            total = float(spent[:, column].sum())
            found[name] = (
                float(votes.ms[known, column].mean()),
                total / max(float(level.sum()), 1e-12),
                total / max(everything, 1e-12),
                float(sooner[entered].mean()),
            )
    return found


def _told(drawn: Floats) -> tuple[float, Ends]:
    """The value and its interval."""
    return float(drawn[0]), ends(drawn[1:])


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, tuple | list) else value
