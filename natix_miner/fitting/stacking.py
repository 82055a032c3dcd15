"""Stacking: regularised logistic regression on calibrated log-odds, one pool for each depth.

The columns are just what `LogOddsPool` adds up, so that the fitted coefficients are the file's
weights: trust * log-odds of each vote, how much each often-missing expert is missing, the size
class and the conditions of the frame. Source: Wolpert, "Stacked generalization", 1992.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.consensus import Pool
from natix_miner.fitting.calibrating import log_loss
from natix_miner.fitting.depths import Depth
from natix_miner.fitting.votes import Floats, Votes

#: Inverse penalties to choose from; the loss is a sum over queries.
INVERSE_PENALTIES = (0.003, 0.03, 0.3, 3.0, 30.0)
WITHOUT_FOLDS = 0.3
#: An expert that is missing so often gets a term for being missing: a share, or a count.
MISSING_SHARE, MISSING_ROWS, LEAST_MISSING = 0.02, 10, 3
#: A frame condition counts when so many queries have more of it than the mean, and so many less.
MIN_CONDITION_ROWS = 20
LARGE, FRAME = "large-frame", "frame"
_BOUND = 50.0


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the columns of a design stand for, in this order."""

    experts: tuple[str, ...]
    missing: tuple[str, ...]
    sizes: tuple[str, ...]
    conditions: tuple[str, ...]

    def __len__(self) -> int:
        return sum(map(len, (self.experts, self.missing, self.sizes, self.conditions)))


def stacked_pool(
    votes: Votes,
    log_odds: Floats,
    depth: Depth,
    weights: Floats,
    folds: NDArray[np.int_] | None,
    *,
    non_negative: bool,
) -> Pool:
    """The pool of one depth, from labelled votes and their calibrated log-odds (n, m).

    The penalty is the one with the least log loss on held-out `folds`. An expert that never voted
    there gets weight 0. With `non_negative` no expert is turned round.
    """
    rows, label, w = depth.rows, votes.label[depth.rows], weights[depth.rows]
    columns = _columns(votes, log_odds, depth)
    design = _design(votes, log_odds, depth, columns)
    signed = len(columns.experts) if non_negative else 0
    inverse = WITHOUT_FOLDS
    if folds is not None:
        inverse = _best_penalty(design, label, w, folds[rows], signed)
    coefficients, bias = logistic(design, label, w, inverse, signed)
    values = dict(enumerate(float(v) for v in np.clip(coefficients, -_BOUND, _BOUND)))
    names = (*columns.experts, *columns.missing, *columns.sizes, *columns.conditions)
    ends = np.cumsum([len(columns.experts), len(columns.missing), len(columns.sizes)])
    parts: list[dict[str, float]] = [{}, {}, {}, {}]
    for place, value in values.items():
        parts[int(np.searchsorted(ends, place, side="right"))][names[place]] = value
    voted, missing, sizes, conditions = parts
    return Pool(
        weights={name: voted.get(name, 0.0) for name in depth.experts},
        bias=float(np.clip(bias, -_BOUND, _BOUND)),
        missing=missing,
        size_bias=sizes,
        condition_bias=conditions,
    )


def logistic(
    design: Floats, label: NDArray[np.int8], w: Floats, inverse: float, signed: int
) -> tuple[Floats, float]:
    """Coefficients and intercept of a logistic regression with penalty |b|^2 / (2 * inverse).

    The first `signed` coefficients are kept from being negative.
    """
    if not signed:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=inverse, solver="newton-cholesky", max_iter=50)
        with warnings.catch_warnings():
            # Where all columns are flat it goes on with another solver, and tells.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(design, label, sample_weight=w)
        return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])
    from scipy.optimize import minimize

    def loss(theta: Floats) -> tuple[float, Floats]:
        z = design @ theta[:-1] + theta[-1]
        sign = np.where(label == 1, -1.0, 1.0)
        penalty = float(theta[:-1] @ theta[:-1]) / (2.0 * inverse)
        value = float(w @ np.logaddexp(0.0, sign * z)) + penalty
        slope = w * (1.0 / (1.0 + np.exp(-np.clip(z, -500.0, 500.0))) - label)
        gradient = np.append(design.T @ slope + theta[:-1] / inverse, slope.sum())
        return value, np.asarray(gradient, np.float64)

    free = [(None, None)] * (design.shape[1] - signed + 1)
    found = minimize(
        loss,
        np.zeros(design.shape[1] + 1),
        jac=True,
        bounds=[(0.0, None)] * signed + free,
        method="L-BFGS-B",
    )
    return found.x[:-1], float(found.x[-1])


def _best_penalty(
    design: Floats, label: NDArray[np.int8], w: Floats, folds: NDArray[np.int_], signed: int
) -> float:
    losses = []
    for inverse in INVERSE_PENALTIES:
        held_out = np.zeros(len(label))
        for fold in np.unique(folds):
            inside = folds != fold
            if len(np.unique(label[inside])) < 2:
                return WITHOUT_FOLDS
            b, bias = logistic(design[inside], label[inside], w[inside], inverse, signed)
            held_out[~inside] = design[~inside] @ b + bias
        losses.append(log_loss(held_out, label, w))
    return INVERSE_PENALTIES[int(np.argmin(losses))]


def _columns(votes: Votes, log_odds: Floats, depth: Depth) -> _Columns:
    there = ~np.isnan(log_odds[np.ix_(depth.rows, depth.columns)])
    rows = len(depth.rows)
    gone = [int(np.sum(~there[:, column])) for column in range(there.shape[1])]
    often = max(LEAST_MISSING, min(MISSING_ROWS, MISSING_SHARE * rows))
    sizes = _sizes(votes, depth)
    counts = {size: sizes.count(size) for size in set(sizes) if size}
    told = {
        size
        for size, count in counts.items()
        if MIN_CONDITION_ROWS <= count <= rows - MIN_CONDITION_ROWS
    }
    conditions = []
    for name, values in sorted(votes.conditions.items()):
        some = int(np.sum(values[depth.rows] > values[depth.rows].mean()))
        if MIN_CONDITION_ROWS <= some <= rows - MIN_CONDITION_ROWS:
            conditions.append(name)
    return _Columns(
        experts=tuple(name for name, n in zip(depth.experts, gone, strict=True) if n < rows),
        missing=tuple(
            name for name, n in zip(depth.experts, gone, strict=True) if often <= n < rows
        ),
        sizes=tuple(sorted(told)),
        conditions=tuple(conditions),
    )


def _design(votes: Votes, log_odds: Floats, depth: Depth, columns: _Columns) -> Floats:
    """The columns of the regression, (rows, columns)."""
    rows = depth.rows
    place = {name: column for column, name in enumerate(votes.experts)}
    there = ~np.isnan(log_odds[rows])
    trust = np.where(there, votes.trust[rows], 0.0)
    said = np.where(there, log_odds[rows], 0.0) * trust
    deep = said[:, depth.columns]
    # A vote that is hardly ever missing is stood in for by the mean of the others, much as the
    # running pool scales the others up.
    mean = deep.sum(axis=1) / np.maximum(1, there[:, depth.columns].sum(axis=1))
    parts = []
    for name in columns.experts:
        column = place[name]
        rarely = name not in columns.missing
        parts.append(np.where(rarely & ~there[:, column], mean, said[:, column]))
    parts += [1.0 - trust[:, place[name]] for name in columns.missing]
    sizes = np.array(_sizes(votes, depth))
    if FRAME in columns.sizes and LARGE not in columns.sizes:
        sizes = np.where(sizes == LARGE, FRAME, sizes)
    parts += [(sizes == name).astype(np.float64) for name in columns.sizes]
    parts += [votes.conditions[name][rows] for name in columns.conditions]
    return np.column_stack(parts) if parts else np.zeros((len(rows), 0))


def _sizes(votes: Votes, depth: Depth) -> list[str]:
    return [votes.size_class[row] or "" for row in depth.rows]
