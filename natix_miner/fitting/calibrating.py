"""A calibration for every expert: temperature, Platt scaling or isotonic regression.

All are fitted at the target share of roadwork by row weights. Which of the three is decided by the
weighted log loss on held-out folds; the simpler one is kept when the other is not better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.consensus import Calibration, Isotonic, Platt
from natix_miner.fitting.pools import FLOOR, expit, logit, shifted
from natix_miner.fitting.votes import Floats, Votes
from natix_miner.log_odds import logit as logit_of

#: Slope of an expert that is right no more often than wrong: it is not turned round, it says
#: nothing.
TINY_SLOPE = 1e-3
#: Inverse penalty on the slope for log-odds of spread 1: weak, but finite for a perfect expert.
INVERSE_PENALTY = 10.0
FARTHEST_SHIFT = 45.0
#: Fewer votes than this of either label: nothing is learnt of an expert.
MIN_VOTES_PER_LABEL = 5
MIN_VOTES_ISOTONIC = 1000
#: A less simple calibration must lower the held-out log loss by this much.
MARGIN = 1e-4

_Fitter = Callable[[Floats, NDArray[np.int8], Floats], Calibration]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Calibrations by expert, and calibrated log-odds (n, m) of votes whose fold was held out
    (NaN where there is no vote); for choosing among experts."""

    calibrations: Mapping[str, Calibration]
    held_out: Floats


def calibrate(
    votes: Votes, weights: Floats, folds: NDArray[np.int_] | None, prior: float
) -> Calibrated:
    """Calibrate every expert on labelled votes; one that hardly ever voted gets no calibration.

    `weights` (n,) are those of the rows, `folds` (n,) which fold holds each row out; without them
    there is nothing to compare with, and Platt scaling is taken.
    """
    calibrations: dict[str, Calibration] = {}
    held_out = np.full(votes.probability.shape, np.nan)
    raw = logit(votes.probability)
    for column, name in enumerate(votes.experts):
        rows = np.flatnonzero(~np.isnan(raw[:, column]))
        label = votes.label[rows]
        if min(np.sum(label == 1), np.sum(label == 0)) < MIN_VOTES_PER_LABEL:
            continue
        x, w = raw[rows, column], weights[rows]
        fitters = _fitters(len(rows), prior)
        if folds is None:
            calibrations[name] = platt(x, label, w, prior)
            held_out[rows, column] = _applied(calibrations[name], x)
            continue
        found, best, kept = np.inf, fitters[0], np.zeros(len(rows))
        for fitter in fitters:
            out = _out_of_fold(fitter, x, label, w, folds[rows], prior)
            loss = log_loss(out, label, w)
            if loss < found - MARGIN:
                found, best, kept = loss, fitter, out
        calibrations[name] = best(x, label, w)
        held_out[rows, column] = kept
    return Calibrated(calibrations, held_out)


def platt(x: Floats, label: NDArray[np.int8], w: Floats, prior: float) -> Platt:
    """Platt scaling of raw log-odds (n,) with a weak penalty on the slope."""
    return _logistic(x, label, w, prior, intercept=True)


def temperature(x: Floats, label: NDArray[np.int8], w: Floats, prior: float) -> Platt:
    """Temperature scaling: Platt scaling without an intercept."""
    return _logistic(x, label, w, prior, intercept=False)


def isotonic(x: Floats, label: NDArray[np.int8], w: Floats) -> Isotonic:
    """Isotonic regression of labels on raw log-odds, kept off certainty by the number of votes."""
    from sklearn.isotonic import IsotonicRegression

    edge = 1.0 / (len(x) + 2.0)
    model = IsotonicRegression(y_min=edge, y_max=1.0 - edge).fit(x, label, sample_weight=w)
    raw, at = np.unique(model.X_thresholds_, return_index=True)
    calibrated = np.maximum.accumulate(logit(model.y_thresholds_[at]))
    return Isotonic(
        raw=tuple(float(value) for value in raw),
        calibrated=tuple(float(value) for value in calibrated),
    )


def log_loss(log_odds: Floats, label: NDArray[np.int8], w: Floats) -> float:
    """Weighted mean log loss of log-odds (n,) against labels 0 or 1."""
    losses = np.logaddexp(0.0, np.where(label == 1, -log_odds, log_odds))
    return float(np.average(losses, weights=w))


def _fitters(votes: int, prior: float) -> tuple[_Fitter, ...]:
    """From the simplest on."""

    def by_temperature(x: Floats, label: NDArray[np.int8], w: Floats) -> Calibration:
        return temperature(x, label, w, prior)

    def by_platt(x: Floats, label: NDArray[np.int8], w: Floats) -> Calibration:
        return platt(x, label, w, prior)

    return (
        (by_temperature, by_platt, isotonic)
        if votes >= MIN_VOTES_ISOTONIC
        else (by_temperature, by_platt)
    )


def _logistic(
    x: Floats, label: NDArray[np.int8], w: Floats, prior: float, *, intercept: bool
) -> Platt:
    from sklearn.linear_model import LogisticRegression

    silent = Platt(slope=TINY_SLOPE, intercept=logit_of(prior))
    mean = float(np.average(x, weights=w)) if intercept else 0.0
    scale = float(np.sqrt(np.average((x - mean) ** 2, weights=w)))
    if scale < FLOOR:
        return silent
    model = LogisticRegression(
        C=INVERSE_PENALTY, fit_intercept=intercept, solver="newton-cholesky", max_iter=50
    ).fit(((x - mean) / scale)[:, None], label, sample_weight=w)
    slope = float(model.coef_[0, 0]) / scale
    if slope < TINY_SLOPE:
        return silent
    # A fitted file takes a slope of 100 and a shift of 50; the pool's weight makes up for the rest.
    slope = min(slope, 100.0, FARTHEST_SHIFT / max(abs(mean), FLOOR))
    shift = float(model.intercept_[0]) - slope * mean if intercept else 0.0
    return Platt(slope=slope, intercept=float(np.clip(shift, -50.0, 50.0)))


def _out_of_fold(
    fitter: _Fitter,
    x: Floats,
    label: NDArray[np.int8],
    w: Floats,
    folds: NDArray[np.int_],
    prior: float,
) -> Floats:
    """Calibrated log-odds (n,), each row by a fit that did not see its fold."""
    out = np.full(len(x), logit_of(prior))
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        if len(np.unique(label[inside])) == 2:
            out[outside] = _applied(fitter(x[inside], label[inside], w[inside]), x[outside])
    return out


def _applied(calibration: Calibration, x: Floats) -> Floats:
    return logit(expit(shifted(calibration, x)))
