"""Which pool to take, and where its decision point lies: by expected reward, when it is clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.consensus import FittedConsensus
from natix_miner.fitting.figures import Figures, figures_of, interval_of
from natix_miner.fitting.pools import answers_from
from natix_miner.fitting.routing_reward import Quality, long_run_reward
from natix_miner.fitting.settings import DEFAULT_POOL, FitSettings, PoolName
from natix_miner.fitting.votes import Floats

#: Shifts of the log-odds that are tried for the decision point.
SHIFTS = np.round(np.linspace(-2.0, 2.0, 41), 2)
#: Pools whose log-odds a shift of the bias moves.
SHIFTED: frozenset[PoolName] = frozenset({"stacking", "log_odds", "best_single"})


@dataclass(frozen=True, slots=True)
class Choice:
    """The pool to take and why, in a sentence; `gain` is its expected reward over the default's,
    `interval` where that lies in 95 % of the draws (None for the default itself)."""

    name: PoolName
    why: str
    gain: float = 0.0
    interval: tuple[float, float] | None = None


def choose(
    figures: Mapping[PoolName, Figures], labelled: int, force: PoolName | None = None
) -> Choice:
    """The pool of the best expected reward, if that is clearly above the default's.

    Clear means that the 95 % interval of the paired difference (same draws of groups, same streams)
    lies above 0. Otherwise the default stays, and the sentence says about how many labelled queries
    would tell.
    """
    best = max(figures, key=lambda name: figures[name].reward)
    if force is not None:
        gain, ends = _gain(figures, force)
        told = "" if force == best else f"; {best} has the best expected reward"
        return Choice(force, f"{force}, as asked for{told}", gain, ends)
    if figures[best].reward <= figures[DEFAULT_POOL].reward:
        return Choice(DEFAULT_POOL, f"no pool has a better expected reward than {DEFAULT_POOL}")
    gain, ends = _gain(figures, best)
    told = f"{gain:+.4f} [{ends[0]:+.4f}, {ends[1]:+.4f}]"
    if ends[0] > 0.0:
        return Choice(best, f"{best}: expected reward {told} over {DEFAULT_POOL}", gain, ends)
    needed = _needed(labelled, gain, ends)
    return Choice(
        DEFAULT_POOL,
        f"too few data to prefer {best} over {DEFAULT_POOL}: expected reward {told} on "
        f"{labelled} labelled queries; about {needed} would tell",
        gain,
        ends,
    )


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift of the bias in log-odds (0: none), and why, in a sentence."""

    log_odds: float
    why: str


def decision_shift(
    name: PoolName,
    log_odds: Floats,
    fold: NDArray[np.int_],
    label: NDArray[np.int8],
    groups: Sequence[str],
    settings: FitSettings,
) -> Shift:
    """The shift of the bias that puts the best decision point at one half.

    For each fold the shift with the best expected reward is looked for on the other folds and tried
    on that one. Only if these held-out answers are paid clearly better than unshifted ones (95 %
    interval of the paired difference above 0) is the shift of all folds together applied.
    """
    if name not in SHIFTED:
        return Shift(0.0, f"{name} is taken as it is")
    tried = log_odds.copy()
    for number in np.unique(fold):
        others = fold != number
        if len(np.unique(label[others])) == 2:
            tried[~others] += _best_shift(log_odds[others], label[others], settings)
    wanted = _best_shift(log_odds, label, settings)
    if np.array_equal(tried, log_odds, equal_nan=True) or wanted == 0.0:
        return Shift(0.0, "no shift has a better expected reward")
    answers = {"none": answers_from(log_odds), "shifted": answers_from(tried)}
    found = figures_of(
        answers,
        label,
        groups,
        prior=settings.prior,
        seed=settings.seed,
        resamples=settings.resamples,
    )
    low, high = interval_of(found["shifted"].drawn_rewards - found["none"].drawn_rewards)
    told = f"{wanted:+.2f} would change the held-out reward by [{low:+.4f}, {high:+.4f}]"
    if low > 0.0:
        return Shift(wanted, f"applied: {told}")
    return Shift(0.0, f"not applied, not clear enough: {told}")


def with_shift(fitted: FittedConsensus, shift: float) -> FittedConsensus:
    """The same consensus with the bias of every pool moved by `shift` log-odds."""
    pools = tuple(
        pool.model_copy(update={"bias": float(np.clip(pool.bias + shift, -50.0, 50.0))})
        for pool in fitted.pools
    )
    return fitted.model_copy(update={"pools": pools})


def _best_shift(log_odds: Floats, label: NDArray[np.int8], settings: FitSettings) -> float:
    """The middle of the shifts whose expected reward is the best; 0 if it is among them.

    In streams of independent queries that depends on the share of right answers to each label.
    """
    says = answers_from(log_odds[:, None] + SHIFTS) > 0.5
    silent = np.isnan(log_odds)
    yes, none = (label == 1) & ~silent, (label == 0) & ~silent
    if not yes.any() or not none.any():
        return 0.0
    quality = Quality(
        roadwork=says[yes].mean(axis=0),
        none=1.0 - says[none].mean(axis=0),
        silent=np.full(len(SHIFTS), silent.mean()),
    )
    paid = long_run_reward(quality, settings.prior)
    best = SHIFTS[paid >= paid.max() - 1e-12]
    return 0.0 if 0.0 in best else float(best[len(best) // 2])


def _gain(figures: Mapping[PoolName, Figures], name: PoolName) -> tuple[float, tuple[float, float]]:
    one, other = figures[name], figures[DEFAULT_POOL]
    return one.reward - other.reward, interval_of(one.drawn_rewards - other.drawn_rewards)


def _needed(labelled: int, gain: float, ends: tuple[float, float]) -> int:
    """About how many queries shrink the interval to the gain: its width falls with the root."""
    if gain <= 0.0:
        return 10 * labelled
    grown = labelled * ((gain - ends[0]) / gain) ** 2
    return min(100 * labelled, int(np.ceil(grown / 10.0) * 10.0))
