"""Where the validator's windows lie along resampled streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from natix_miner.scoring.reward import MCC_WINDOW, Floats, windows_of

#: Streams drawn for a band.
STREAMS = 2000


@dataclass(frozen=True, slots=True)
class Band:
    """Between `low` and `high` (n,) lies `confidence` of the resampled streams at each place."""

    low: Floats
    high: Floats
    confidence: float


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
