"""Nested cross-validation: every query is answered by fits that saw nothing of its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from natix_miner.consensus import FittedConsensus
from natix_miner.errors import FittingError
from natix_miner.fitting.candidates import Candidates, fit_candidates
from natix_miner.fitting.folding import folds_of
from natix_miner.fitting.pools import pool_votes
from natix_miner.fitting.settings import FitSettings, PoolName
from natix_miner.fitting.votes import Floats, Votes


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What cross-validation leaves: for each pool the log-odds (n,) of labelled queries by the fit
    that did not see them (NaN where nobody has a vote), `fold` (n,) that held each out, and the
    fits of each fold."""

    log_odds: Mapping[PoolName, Floats]
    fold: NDArray[np.int_]
    fits: tuple[Candidates, ...]


def cross_validate(
    labelled: Votes,
    settings: FitSettings,
    hand: FittedConsensus | None = None,
    tell: Callable[[str], None] = lambda step: None,
) -> HeldOut:
    """Fit every pool on all folds but one, in turn, and pool the queries of that one.

    All that is chosen (calibration, penalty, best expert) is chosen anew within each training part.
    Raises FittingError where the groups do not allow two folds with both labels.
    """
    fold = folds_of(labelled.label, labelled.groups, settings.folds, settings.seed)
    if fold is None:
        raise FittingError(
            "the groups cannot be divided so that both labels remain on either side: label queries "
            "of more clips, drives or days"
        )
    count = int(fold.max()) + 1
    log_odds: dict[PoolName, Floats] = {}
    fits = []
    for number in range(count):
        tell(f"fold {number + 1} of {count}")
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        made = fit_candidates(labelled.take(inside), settings, hand)
        held = labelled.take(outside)
        for name, fitted in made.fitted.items():
            values = log_odds.setdefault(name, np.full(len(labelled), np.nan))
            values[outside] = pool_votes(fitted, held)
        fits.append(made)
    return HeldOut(log_odds, fold, tuple(fits))
