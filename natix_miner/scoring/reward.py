"""What a validator of subnet 72 pays for a stream of answers.

For each answer, over the last 100 (prediction, label) pairs that the validator holds for a miner:

- predictions of -1 keep their place among the pairs, but are left out when a window is evaluated;
- the rest are rounded with `numpy.round` (0.5 becomes 0);
- `mcc` is the Matthews correlation of the last 100, at least 0, and 0 while either the labels or
  the rounded predictions hold one class only;
- `accuracy` is that of the last 10;
- the reward is (0.5 mcc + 0.5 accuracy) ** 3, and 0 for an answer of -1 or outside [0, 1].

Source: the validator of NATIX StreetVision as published until May 2026. Two corners that only a
broken miner meets are kept as they are there: an answer outside [0, 1] pays nothing but stays in
the windows (rounded, possibly a third class), and an answer that is not finite makes the metrics
fail, so that every window that holds it counts as 0.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.cascade import NO_ANSWER
from natix_miner.errors import ConfigurationError

MCC_WINDOW = 100
ACCURACY_WINDOW = 10
EXPONENT = 3

DEFAULT_RESAMPLES = 1000
_CHUNK_ELEMENTS = 500_000

Floats = NDArray[np.float64]


class _Window:
    """The last `size` pairs with running counts, so that a push costs the same at any length."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pairs: deque[tuple[int, float | None]] = deque()
        self._labels: Counter[float] = Counter()
        self._answers: Counter[float] = Counter()
        self._kept = 0
        self._correct = 0
        self._unreadable = 0

    def push(self, label: int, answer: float | None) -> None:
        """Take in a rounded answer; None is silence, which only takes a place."""
        self._pairs.append((label, answer))
        self._count(label, answer, 1)
        if len(self._pairs) > self._size:
            self._count(*self._pairs.popleft(), -1)

    def _count(self, label: int, answer: float | None, by: int) -> None:
        if answer is None:
            return
        if not math.isfinite(answer):
            self._unreadable += by
            return
        self._kept += by
        self._correct += by if answer == label else 0
        self._labels[label] += by
        self._answers[answer] += by

    def accuracy(self) -> float:
        """Share of right answers in [0, 1]."""
        return 0.0 if self._unreadable or not self._kept else self._correct / self._kept

    def mcc(self) -> float:
        """Matthews correlation, at least 0, in the form for any number of classes.

        J. Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient,
        Computational Biology and Chemistry 28 (2004); for two classes it is the usual one.
        """
        if self._unreadable:
            return 0.0
        n = self._kept
        spread_labels = n * n - sum(count * count for count in self._labels.values())
        spread_answers = n * n - sum(count * count for count in self._answers.values())
        if not spread_labels or not spread_answers:
            return 0.0
        chance = sum(count * self._answers[label] for label, count in self._labels.items())
        covariance = n * self._correct - chance
        return max(0.0, covariance / math.sqrt(spread_labels * spread_answers))


class RewardWindow:
    """The validator's memory of one miner; `push` gives the reward of each answer in turn."""

    def __init__(self) -> None:
        self._long = _Window(MCC_WINDOW)
        self._short = _Window(ACCURACY_WINDOW)

    def push(self, prediction: float, label: int) -> float:
        """The reward in [0, 1] for answering `prediction` where the truth is `label` (0 or 1).

        Raises ConfigurationError for any other label: without the truth there is no reward.
        """
        if label not in (0, 1):
            raise ConfigurationError(f"a label is 0 (none) or 1 (roadwork), not {label!r}")
        answer = None if prediction == NO_ANSWER else float(np.round(prediction))
        self._long.push(label, answer)
        self._short.push(label, answer)
        if not 0.0 <= prediction <= 1.0:
            return 0.0
        return float((0.5 * self._long.mcc() + 0.5 * self._short.accuracy()) ** EXPONENT)


def rewards(predictions: Iterable[float], labels: Iterable[int]) -> NDArray[np.float64]:
    """The reward of every answer of one stream, in order; shape (n,), range [0, 1]."""
    window = RewardWindow()
    pairs = zip(predictions, labels, strict=True)
    return np.array([window.push(prediction, label) for prediction, label in pairs], np.float64)


@dataclass(frozen=True, slots=True)
class RewardInterval:
    """Mean reward of a stream, and where it lies in `confidence` of the resampled streams.

    `mean` is that of the stream as it came; `resampled_mean` that of all resampled ones, which
    says more where the stream is short or its order was only drawn.
    """

    mean: float
    low: float
    high: float
    resampled_mean: float
    resamples: int
    confidence: float


def reward_interval(
    predictions: Sequence[float],
    labels: Sequence[int],
    *,
    seed: int,
    resamples: int = DEFAULT_RESAMPLES,
    confidence: float = 0.95,
) -> RewardInterval | None:
    """The mean reward with a percentile bootstrap interval; None for an empty stream.

    A resampled stream has the same length, its pairs drawn with replacement in random order: the
    interval says how far the mean would move with other pictures of the same kind, order included.
    """
    if not labels:
        return None
    answers, truth = np.asarray(predictions, np.float64), np.asarray(labels, np.int8)
    observed = rewards(predictions, labels).mean()
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK_ELEMENTS // len(truth))
    means: list[float] = []
    while len(means) < resamples:
        count = min(rows, resamples - len(means))
        drawn = rng.integers(len(truth), size=(count, len(truth)))
        means.extend(mean_rewards(answers[drawn], truth[drawn]))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return RewardInterval(
        mean=float(observed),
        low=float(low),
        high=float(high),
        resampled_mean=float(np.mean(means)),
        resamples=resamples,
        confidence=confidence,
    )


def mean_rewards(answers: NDArray[np.float64], truth: NDArray[np.int8]) -> list[float]:
    """Mean reward of each of many streams; answers ([0, 1] or -1) and labels (0 or 1) of shape
    (streams, length)."""
    kept = answers != NO_ANSWER
    if not np.all((answers[kept] >= 0.0) & (answers[kept] <= 1.0)):
        return [
            float(rewards(one.tolist(), labels.tolist()).mean())
            for one, labels in zip(answers, truth, strict=True)
        ]
    return [float(mean) for mean in windows_of(answers, truth).reward.mean(axis=1)]


@dataclass(frozen=True, slots=True)
class Windows:
    """After each answer: `mcc` of the last 100 (at least 0), `accuracy` of the last 10 and the
    `reward`, all in [0, 1] and of the shape of the answers."""

    mcc: Floats
    accuracy: Floats
    reward: Floats


def windows_of(answers: Floats, truth: NDArray[np.integer]) -> Windows:
    """The validator's windows along many streams at once; answers in [0, 1] or -1 for none, labels
    0 or 1, both of shape (..., length).

    An answer outside [0, 1] counts as none here.
    """
    kept = (answers >= 0.0) & (answers <= 1.0)
    says, true = np.round(answers) == 1.0, truth == 1
    tp, fp = _last(kept & says & true, MCC_WINDOW), _last(kept & says & ~true, MCC_WINDOW)
    fn, tn = _last(kept & ~says & true, MCC_WINDOW), _last(kept & ~says & ~true, MCC_WINDOW)
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    mcc = np.maximum(0.0, (tp * tn - fp * fn) / np.sqrt(np.where(spread > 0.0, spread, 1.0)))
    mcc = np.where(spread > 0.0, mcc, 0.0)
    right = _last(kept & (says == true), ACCURACY_WINDOW)
    accuracy = right / np.maximum(1.0, _last(kept, ACCURACY_WINDOW))
    reward = np.where(kept, (0.5 * mcc + 0.5 * accuracy) ** EXPONENT, 0.0)
    return Windows(mcc, accuracy, reward)


def _last(hits: NDArray[np.bool_], size: int) -> Floats:
    """How many of the last `size` (fewer at the start) are hits, at every place."""
    total = np.cumsum(hits, axis=-1, dtype=np.int32)
    found = total.astype(np.float64)
    found[..., size:] -= total[..., :-size]
    return found
