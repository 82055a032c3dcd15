"""Log-odds pool: weights on a simplex times an extremising exponent, one pool for each depth.

Pooled log-odds = bias + exponent * (weighted mean of the calibrated log-odds of those that voted).
The exponent is above 1 where the experts know different things: their mean is then too timid.
Sources: Genest and Zidek, "Combining probability distributions", 1986; Satopaa et al., "Combining
multiple probability predictions using a simple logit model", 2014.
"""

from __future__ import annotations

import numpy as np

from natix_miner.consensus import Pool
from natix_miner.fitting.depths import Depth
from natix_miner.fitting.votes import Floats, Votes

#: Pull of the weights to each other and of exponent and bias to 1 and 0, per fit.
PENALTY = 0.5
_LARGEST = 8.0


def simplex_pool(votes: Votes, log_odds: Floats, depth: Depth, weights: Floats) -> Pool:
    """The pool of one depth from labelled votes and their calibrated log-odds (n, m).

    An expert that never voted there gets weight 0.
    """
    from scipy.optimize import minimize

    said = log_odds[np.ix_(depth.rows, depth.columns)]
    known = np.asarray(~np.isnan(said).all(axis=0), np.bool_)
    there = ~np.isnan(said[:, known])
    x = np.where(there, said[:, known], 0.0)
    trust = np.where(there, votes.trust[np.ix_(depth.rows, depth.columns[known])], 0.0)
    trusted = trust.sum(axis=1) > 0.0
    x, trust = x[trusted], trust[trusted]
    label, w = votes.label[depth.rows][trusted], weights[depth.rows][trusted]
    sign = np.where(label == 1, -1.0, 1.0)

    def loss(theta: Floats) -> tuple[float, Floats]:
        shares, exponent, bias = _shares(theta[:-2]), np.exp(theta[-2]), theta[-1]
        present = trust @ shares
        mean = (trust * x) @ shares / present
        z = bias + exponent * mean
        slope = w * (1.0 / (1.0 + np.exp(-np.clip(z, -500.0, 500.0))) - label)
        by_share = ((slope / present) @ (trust * x) - (slope / present * mean) @ trust) * exponent
        by_theta = shares * (by_share - shares @ by_share)
        value = float(w @ np.logaddexp(0.0, sign * z)) + PENALTY * float(theta @ theta)
        gradient = np.concatenate([by_theta, [exponent * (slope @ mean), slope.sum()]])
        return value, gradient + 2.0 * PENALTY * theta

    found = minimize(
        loss,
        np.zeros(int(known.sum()) + 2),
        jac=True,
        bounds=[(-_LARGEST, _LARGEST)] * int(known.sum()) + [(-3.0, 3.0), (-50.0, 50.0)],
        method="L-BFGS-B",
    )
    values = _shares(found.x[:-2]) * np.exp(found.x[-2])
    names = [name for name, one in zip(depth.experts, known, strict=True) if one]
    by_name = {name: float(value) for name, value in zip(names, values, strict=True)}
    return Pool(
        weights={name: by_name.get(name, 0.0) for name in depth.experts},
        bias=float(found.x[-1]),
    )


def _shares(theta: Floats) -> Floats:
    grown = np.exp(theta - theta.max())
    return np.asarray(grown / grown.sum(), np.float64)
