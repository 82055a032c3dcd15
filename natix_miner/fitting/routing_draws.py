"""Draws of whole groups, for intervals: pictures of one clip resemble each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from natix_miner.fitting.votes import Floats

CONFIDENCE = 0.95


def drawn_counts(groups: Sequence[str], draws: int, seed: int) -> Floats:
    """How often each query is in each draw, (draws, n): as many groups as there are, drawn with
    replacement."""
    rng = np.random.default_rng([seed, 3])
    places = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([places[group] for group in groups])
    drawn = rng.multinomial(len(places), np.full(len(places), 1.0 / len(places)), draws)
    return drawn[:, numbers].astype(np.float64)


def at_prior(counts: Floats, roadwork: Floats, prior: float) -> Floats:
    """Weights, (draws, n), that sum to 1 with the share `prior` of roadwork (1 or 0, (n,)); draws
    without one of the labels are left out."""
    yes, none = counts * roadwork, counts * (1.0 - roadwork)
    ours, theirs = yes.sum(axis=1), none.sum(axis=1)
    both = (ours > 0.0) & (theirs > 0.0)
    return np.asarray(
        prior * yes[both] / ours[both, None] + (1.0 - prior) * none[both] / theirs[both, None]
    )


def ends(drawn: Floats) -> tuple[float, float]:
    """Between which values 95 % of the drawn figures lie."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return float(low), float(high)
