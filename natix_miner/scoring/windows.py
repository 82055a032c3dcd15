"""The two windows that a validator keeps of a miner, along a stream and over resampled ones.

The formula is that of `natix_miner.scoring.reward`, for many streams at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.scoring.reward import ACCURACY_WINDOW, EXPONENT, MCC_WINDOW

Floats = NDArray[np.float64]
#: Streams drawn for a band.
STREAMS = 2000


@dataclass(frozen=True, slots=True)
class Windows:
    """After each answer: `mcc` of the last 100 (at least 0), `accuracy` of the last 10 and the
    `reward`, all in [0, 1] and of the shape of the answers."""

    mcc: Floats
    accuracy: Floats
    reward: Floats


@dataclass(frozen=True, slots=True)
class Band:
    """Between `low` and `high` (n,) lies `confidence` of the resampled streams at each place."""

    low: Floats
    high: Floats
    confidence: float


def windows_of(answers: Floats, truth: NDArray[np.int_]) -> Windows:
    """The windows of streams; answers in [0, 1] or -1 for none, labels 0 or 1, (..., length).

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


def bands_of(
    predictions: Sequence[float],
    labels: Sequence[int],
    *,
    seed: int,
    streams: int = STREAMS,
    confidence: float = 0.95,
) -> dict[str, Band]:
    """Bands of `mcc`, `accuracy` and `reward` along a stream of these answers, n at least 1.

    A resampled stream holds the same pairs, drawn with replacement in random order. Once the long
    window is full every place is alike, so that what was found there holds for all later ones.
    """
    n = len(labels)
    answers, truth = np.asarray(predictions, np.float64), np.asarray(labels, np.int64)
    drawn = np.random.default_rng(seed).integers(n, size=(streams, min(n, MCC_WINDOW)))
    found = windows_of(answers[drawn], truth[drawn])
    tail = (1.0 - confidence) / 2.0
    bands = {}
    for name in ("mcc", "accuracy", "reward"):
        low, high = np.quantile(getattr(found, name), [tail, 1.0 - tail], axis=0)
        more = (0, n - len(low))
        bands[name] = Band(np.pad(low, more, "edge"), np.pad(high, more, "edge"), confidence)
    return bands


def _last(hits: NDArray[np.bool_], size: int) -> Floats:
    """How many of the last `size` (fewer at the start) are hits, at every place."""
    total = np.cumsum(hits, axis=-1, dtype=np.float64)
    found = total.copy()
    found[..., size:] -= total[..., :-size]
    return found
