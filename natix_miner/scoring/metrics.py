"""How good a set of answers is, whatever their order.

Everything is computed over the queries that have a label and an answer; a figure that the data
cannot give (no queries, or one class only where two are needed) is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.cascade import NO_ANSWER

ECE_BINS = 10


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of decisions; roadwork is the positive class."""

    tp: int = 0
    fp: int = 0
    tn: int = 0
    fn: int = 0


@dataclass(frozen=True, slots=True)
class Metrics:
    """Quality of labelled answers: `n` labelled, of which `answered` and `missing`.

    `mcc` in [-1, 1]; `accuracy`, `auc`, `brier` (lower is better) and `ece` (lower is better) in
    [0, 1].
    """

    n: int
    answered: int
    missing: int
    mcc: float | None
    accuracy: float | None
    auc: float | None
    brier: float | None
    ece: float | None
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Answers whose probability lies in [low, high): how sure they were, how often right."""

    low: float
    high: float
    count: int
    mean_probability: float
    share_roadwork: float


def measure(predictions: Sequence[float], labels: Sequence[int]) -> Metrics:
    """Metrics of `predictions` ([0, 1] or -1 for no answer) against `labels` (0 or 1)."""
    from sklearn.metrics import (
        accuracy_score,
        brier_score_loss,
        confusion_matrix,
        matthews_corrcoef,
        roc_auc_score,
    )

    scores, truth = _answered(predictions, labels)
    n, answered = len(labels), len(truth)
    if not answered:
        return Metrics(n, 0, n, None, None, None, None, None, Confusion())
    said = (scores > 0.5).astype(np.int64)
    tn, fp, fn, tp = (int(x) for x in confusion_matrix(truth, said, labels=[0, 1]).ravel())
    both = len(np.unique(truth)) == 2
    return Metrics(
        n=n,
        answered=answered,
        missing=n - answered,
        mcc=float(matthews_corrcoef(truth, said)) if both else None,
        accuracy=float(accuracy_score(truth, said)),
        auc=float(roc_auc_score(truth, scores)) if both else None,
        brier=float(brier_score_loss(truth, scores, pos_label=1)),
        ece=expected_calibration_error(predictions, labels),
        confusion=Confusion(tp=tp, fp=fp, tn=tn, fn=fn),
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure lies in `confidence` of the samples drawn again from the same queries."""

    low: float
    high: float
    confidence: float = 0.95


def intervals(
    predictions: Sequence[float],
    labels: Sequence[int],
    *,
    seed: int,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of mcc, accuracy and auc; empty where one class is missing.

    Drawn within each class, so that the share of roadwork stays what it is.
    """
    scores, truth = _answered(predictions, labels)
    positive, negative = scores[truth == 1], scores[truth == 0]
    if not len(positive) or not len(negative):
        return {}
    rng = np.random.default_rng(seed)
    tp = rng.binomial(len(positive), (positive > 0.5).mean(), resamples).astype(np.float64)
    fp = rng.binomial(len(negative), (negative > 0.5).mean(), resamples).astype(np.float64)
    fn, tn = len(positive) - tp, len(negative) - fp
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    mcc = np.where(
        spread > 0, (tp * tn - fp * fn) / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0
    )
    drawn = {
        "mcc": mcc,
        "accuracy": (tp + tn) / len(truth),
        "auc": _drawn_auc(positive, negative, rng, resamples),
    }
    tail = (1.0 - confidence) / 2.0
    found = {}
    for name, values in drawn.items():
        low, high = np.quantile(values, [tail, 1.0 - tail])
        found[name] = Interval(float(low), float(high), confidence)
    return found


def _drawn_auc(
    positive: NDArray[np.float64],
    negative: NDArray[np.float64],
    rng: np.random.Generator,
    resamples: int,
) -> NDArray[np.float64]:
    """Areas under the curve of samples drawn with replacement; ties count half."""
    areas = np.empty(resamples)
    for number in range(resamples):
        ours = rng.choice(positive, len(positive))
        theirs = np.sort(rng.choice(negative, len(negative)))
        ranks = np.searchsorted(theirs, ours, "left") + np.searchsorted(theirs, ours, "right")
        areas[number] = ranks.mean() / (2.0 * len(theirs))
    return areas


def reliability(
    predictions: Sequence[float], labels: Sequence[int], bins: int = ECE_BINS
) -> list[ReliabilityBin]:
    """The filled ones of `bins` bins of equal width over [0, 1]; 1.0 belongs to the last."""
    scores, truth = _answered(predictions, labels)
    places = np.minimum((scores * bins).astype(np.int64), bins - 1)
    found = []
    for place in np.unique(places):
        here = places == place
        found.append(
            ReliabilityBin(
                low=float(place / bins),
                high=float((place + 1) / bins),
                count=int(here.sum()),
                mean_probability=float(scores[here].mean()),
                share_roadwork=float(truth[here].mean()),
            )
        )
    return found


def expected_calibration_error(
    predictions: Sequence[float], labels: Sequence[int], bins: int = ECE_BINS
) -> float | None:
    """Mean gap between probability and frequency of roadwork over bins, weighted by count.

    Source: M. Pakdaman Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian
    Binning, AAAI 2015 (equal-width bins, probability of the positive class).
    """
    found = reliability(predictions, labels, bins)
    total = sum(one.count for one in found)
    if not total:
        return None
    gaps = (one.count * abs(one.mean_probability - one.share_roadwork) for one in found)
    return sum(gaps) / total


def _answered(
    predictions: Sequence[float], labels: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    scores, truth = np.asarray(predictions, np.float64), np.asarray(labels, np.int64)
    keep = scores != NO_ANSWER
    return scores[keep], truth[keep]
