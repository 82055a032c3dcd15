"""How good answers are at the target share of roadwork, with intervals by group.

Data rarely hold the share of roadwork that validators ask. Every figure weighs the two labels so
that they have the target share; streams for the reward are drawn with it. Intervals come from
drawing whole groups again: pictures of one clip resemble each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from natix_miner.fitting.folding import class_weights
from natix_miner.fitting.votes import Floats
from natix_miner.scoring.metrics import ECE_BINS
from natix_miner.scoring.reward import mean_rewards

FIGURES = ("mcc", "reward", "auc", "log_loss", "ece")
#: Answers in a stream for the expected reward, and streams drawn for its point value.
STREAM, STREAMS = 1000, 200
#: Streams drawn for each bootstrap draw of groups.
STREAMS_A_DRAW = 4
CONFIDENCE = 0.95
_Name = TypeVar("_Name", bound=str)
_CHUNK_ELEMENTS = 4_000_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one pool: mcc in [-1, 1], reward, auc and ece in [0, 1], log_loss in nats, `answered` the
    share with an answer; `intervals` (low, high) by figure; `drawn_rewards` of each bootstrap draw,
    the same draws for all pools."""

    mcc: float
    reward: float
    auc: float
    log_loss: float
    ece: float
    answered: float
    intervals: Mapping[str, tuple[float, float]]
    drawn_rewards: Floats

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, rounded to five places."""
        values: dict[str, object] = {name: round(getattr(self, name), 5) for name in FIGURES}
        bounds = {name: [round(end, 5) for end in ends] for name, ends in self.intervals.items()}
        return {**values, "answered": round(self.answered, 5), "intervals": bounds}


def figures_of(
    answers: Mapping[_Name, Floats],
    label: NDArray[np.int8],
    groups: Sequence[str],
    *,
    prior: float,
    seed: int,
    resamples: int,
) -> dict[_Name, Figures]:
    """Figures of several sets of answers (n,) ([0, 1] or -1) to the same labelled queries."""
    weights = class_weights(label, prior)
    draws = _draws(label, groups, seed=seed, resamples=resamples)
    streams = [
        _streams(counts, label, prior, STREAMS_A_DRAW, np.random.default_rng([seed, 1, number]))
        for number, counts in enumerate(draws)
    ]
    found = {}
    for name, said in answers.items():
        drawn = _metrics(said, label, draws, prior)
        drawn["reward"] = np.array([_paid(said, label, rows) for rows in streams])
        once = _metrics(said, label, np.ones((1, len(label)), np.int32), prior)
        value = {key: float(one[0]) for key, one in once.items()}
        found[name] = Figures(
            **value,
            reward=expected_reward(said, label, prior=prior, seed=seed),
            answered=float(np.average(said >= 0.0, weights=weights)),
            intervals={key: interval_of(drawn[key]) for key in FIGURES},
            drawn_rewards=drawn["reward"],
        )
    return found


def expected_reward(
    answers: Floats, label: NDArray[np.int8], *, prior: float, seed: int, streams: int = STREAMS
) -> float:
    """Mean reward over streams of 1000 queries drawn from these: label by `prior`, then a query of
    that label, both with replacement. The same seed draws the same streams for any answers."""
    counts = np.ones(len(label), np.int32)
    drawn = _streams(counts, label, prior, streams, np.random.default_rng([seed, 0]))
    return _paid(answers, label, drawn)


def interval_of(drawn: Floats) -> tuple[float, float]:
    """Where 95 % of the draws lie; draws that are NaN are left out."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.nanquantile(drawn, [tail, 1.0 - tail])
    return float(low), float(high)


def weighted_mcc(says: NDArray[np.bool_], label: NDArray[np.int8], weights: Floats) -> float:
    """Matthews correlation of decisions with labels, both (n,), weighted; 0 with one class."""
    return float(_mcc(says, label == 1, weights[None])[0])


def _draws(
    label: NDArray[np.int8], groups: Sequence[str], *, seed: int, resamples: int
) -> NDArray[np.int32]:
    """How often each query is in each draw of whole groups, (resamples, n); draws without both
    labels are redone, for at most ten times as many tries."""
    rng = np.random.default_rng([seed, 2])
    places = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([places[group] for group in groups])
    made: list[NDArray[np.int32]] = []
    for _ in range(10 * resamples):
        if len(made) == resamples:
            break
        drawn = np.bincount(rng.integers(len(places), size=len(places)), minlength=len(places))
        counts = drawn[numbers].astype(np.int32)
        if counts[label == 1].any() and counts[label == 0].any():
            made.append(counts)
    return np.array(made)


def _at_prior(counts: NDArray[np.int32], label: NDArray[np.int8], prior: float) -> Floats:
    """Weights (draws, n) that give roadwork the share `prior` in each draw, and sum to 1."""
    yes, none = counts[:, label == 1].sum(axis=1), counts[:, label == 0].sum(axis=1)
    return counts * np.where(label == 1, (prior / yes)[:, None], ((1.0 - prior) / none)[:, None])


def _streams(
    counts: NDArray[np.int32],
    label: NDArray[np.int8],
    prior: float,
    streams: int,
    rng: np.random.Generator,
) -> NDArray[np.int_]:
    """Places of queries in streams, (streams, STREAM), each drawn as often as `counts` say."""
    pools = [np.repeat(np.flatnonzero(label == one), counts[label == one]) for one in (0, 1)]
    yes = rng.random((streams, STREAM)) < prior
    places = rng.random((streams, STREAM))
    none_rows, yes_rows = ((places * len(pool)).astype(np.int64) for pool in pools)
    return np.where(yes, pools[1][yes_rows], pools[0][none_rows])


def _paid(answers: Floats, label: NDArray[np.int8], streams: NDArray[np.int_]) -> float:
    return float(np.mean(mean_rewards(answers[streams], label[streams])))


def _metrics(
    answers: Floats, label: NDArray[np.int8], draws: NDArray[np.int32], prior: float
) -> dict[str, Floats]:
    """The figures besides the reward for each draw, (draws,), over answered queries."""
    kept = answers >= 0.0
    said, true = answers[kept], label[kept] == 1
    step = max(1, _CHUNK_ELEMENTS // max(1, len(said)))
    parts = []
    for start in range(0, len(draws), step):
        w = _at_prior(draws[start : start + step], label, prior)[:, kept]
        parts.append(
            {
                "mcc": _mcc(said > 0.5, true, w),
                "auc": _auc(said, true, w),
                "log_loss": _log_loss(said, true, w),
                "ece": _ece(said, true, w),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _mcc(says: NDArray[np.bool_], true: NDArray[np.bool_], w: Floats) -> Floats:
    tp, fp = w @ (says & true), w @ (says & ~true)
    fn, tn = w @ (~says & true), w @ (~says & ~true)
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return np.where(
        spread > 0.0, (tp * tn - fp * fn) / np.sqrt(np.where(spread > 0.0, spread, 1.0)), 0.0
    )


def _auc(said: Floats, true: NDArray[np.bool_], w: Floats) -> Floats:
    """Area under the curve; ties count half; NaN where one label has no weight."""
    order = np.argsort(said, kind="stable")
    starts = np.flatnonzero(np.diff(said[order], prepend=-np.inf) > 0.0)
    yes = np.add.reduceat(w[:, order] * true[order], starts, axis=1)
    none = np.add.reduceat(w[:, order] * ~true[order], starts, axis=1)
    below = np.cumsum(none, axis=1) - 0.5 * none
    total = yes.sum(axis=1) * none.sum(axis=1)
    return np.where(total > 0.0, (yes * below).sum(axis=1) / np.where(total > 0, total, 1), np.nan)


def _log_loss(said: Floats, true: NDArray[np.bool_], w: Floats) -> Floats:
    losses = -np.log(np.clip(np.where(true, said, 1.0 - said), 1e-15, 1.0))
    return (w @ losses) / w.sum(axis=1)


def _ece(said: Floats, true: NDArray[np.bool_], w: Floats) -> Floats:
    """Expected calibration error as in `natix_miner.scoring.metrics`, weighted."""
    bins = np.minimum((said * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    inside = np.eye(ECE_BINS)[bins]
    gaps = w @ (inside * (said - true)[:, None])
    return np.abs(gaps).sum(axis=1) / w.sum(axis=1)
