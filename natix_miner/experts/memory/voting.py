"""From labelled neighbours to a probability, and how far it can be trusted.

With neighbours at distances d_i, labels y_i (1 roadwork, 0 none), reliabilities r_i and a prior
worth m neighbours, half of them roadwork:

    w_i = r_i b(y_i) exp(-d_i / median(d))        p = (m / 2 + sum w_i y_i) / (m + sum w_i)

the mean of a Beta(m/2, m/2) distribution updated by weighted votes (Dudani 1976 for the weighting
by distance). b balances the index, so that its own mixture is no evidence: 0.5 divided by the share
of entries with that label. Distances count relative to each other only; how far all of them are is
told by the trust. For a picture that was seen before only its copies vote, h_i bits away of at most
H:

    w_i = 20 r_i (1 - h_i / (H + 1))
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

#: How many neighbours at distance 0 an exact copy with a reliable label is worth.
COPY_WEIGHT = 20.0


def neighbour_weights(distances: Floats, reliabilities: Floats) -> Floats:
    """Weights of neighbours, in [0, 1], before balancing."""
    if not len(distances):
        return np.zeros(0)
    middle = max(float(np.median(distances)), 1e-12)
    return np.asarray(reliabilities * np.exp(-distances / middle))


def copy_weights(bits: NDArray[np.integer], reliabilities: Floats, limit: int) -> Floats:
    """Weights of copies whose hashes differ in so many bits, of at most `limit`."""
    return np.asarray(COPY_WEIGHT * reliabilities * (1.0 - bits / (limit + 1.0)))


def share_of_roadwork(labels: NDArray[np.integer], weights: Floats, prior: float) -> float:
    """The weighted share of roadwork labels, drawn to 0.5 by `prior` > 0; in (0, 1)."""
    return float((0.5 * prior + (weights * labels).sum()) / (prior + weights.sum()))


def novelty_of(distance: float, own: Floats) -> float:
    """How unfamiliar a picture is whose k-th neighbour is so far away, in [0, 1].

    The share of the index's own entries whose k-th neighbour is nearer: `own` holds those
    distances, sorted. 1 is farther than any of them.
    """
    return float(np.searchsorted(own, distance, side="left") / len(own))


def trust_of(novelty: float, familiar: float) -> float:
    """1 up to the novelty `familiar` < 1, then falling evenly to 0 at novelty 1."""
    return float(min(1.0, max(0.0, (1.0 - novelty) / (1.0 - familiar))))
