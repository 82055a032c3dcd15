"""The pools to choose from, each fitted on the same queries into a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from natix_miner import __version__
from natix_miner.consensus import FittedConsensus, Pool, equal_weights
from natix_miner.errors import FittingError
from natix_miner.fitting.calibrating import Calibrated, calibrate, log_loss
from natix_miner.fitting.depths import Depth, depths_of, fittable
from natix_miner.fitting.figures import weighted_mcc
from natix_miner.fitting.folding import folds_of, row_weights
from natix_miner.fitting.pools import calibrated_log_odds
from natix_miner.fitting.settings import FitSettings, PoolName
from natix_miner.fitting.simplex import simplex_pool
from natix_miner.fitting.stacking import stacked_pool
from natix_miner.fitting.votes import Floats, Votes


@dataclass(frozen=True, slots=True)
class Candidates:
    """A fitted consensus for each pool, and levels that too few queries reached to be fitted."""

    fitted: dict[PoolName, FittedConsensus]
    unfitted_levels: tuple[str, ...]


def fit_candidates(
    labelled: Votes, settings: FitSettings, hand: FittedConsensus | None = None
) -> Candidates:
    """Fit every pool on labelled votes; `hand` are the hand weights (equal ones without).

    Calibrations, penalty and the best single expert are chosen by cross-validation within these
    votes. Raises FittingError when no depth of the cascade has enough queries.
    """
    names = frozenset(labelled.experts)
    weights = row_weights(labelled, settings.prior)
    folds = folds_of(labelled.label, labelled.groups, settings.inner_folds, settings.seed)
    calibrated = calibrate(labelled, weights, folds, settings.prior)
    log_odds = calibrated_log_odds(labelled, calibrated.calibrations)
    depths = depths_of(labelled)

    def stacked(depth: Depth) -> Pool:
        return stacked_pool(
            labelled, log_odds, depth, weights, folds, non_negative=settings.non_negative
        )

    def simplex(depth: Depth) -> Pool:
        return simplex_pool(labelled, log_odds, depth, weights)

    def of(method: PoolName, pools: tuple[Pool, ...]) -> FittedConsensus:
        return FittedConsensus(
            method=method,
            calibrations=dict(calibrated.calibrations),
            pools=pools,
            code_version=__version__,
        )

    equal = equal_weights(names).model_copy(update={"code_version": __version__})
    fitted: dict[PoolName, FittedConsensus] = {
        "stacking": of("stacking", _pools(labelled, depths, stacked)),
        "log_odds": of("log_odds", _pools(labelled, depths, simplex)),
        "hand_weights": (hand or equal).model_copy(update={"method": "hand_weights"}),
        "geometric_mean": equal.model_copy(
            update={"kind": "geometric-mean", "method": "geometric_mean"}
        ),
        "majority": equal.model_copy(update={"kind": "majority", "method": "majority"}),
        "best_single": of("best_single", _singles(labelled, calibrated, weights)),
    }
    return Candidates(
        fitted, tuple(depth.level for depth in depths if not fittable(labelled, depth))
    )


def _pools(
    votes: Votes, depths: tuple[Depth, ...], fit: Callable[[Depth], Pool]
) -> tuple[Pool, ...]:
    """A pool for each depth; one that too few queries reached is that of the depth before it, in
    which its own experts have weight 0."""
    pools: list[Pool] = []
    for depth in depths:
        if fittable(votes, depth):
            pools.append(fit(depth))
        elif pools:
            weights = {name: pools[-1].weights.get(name, 0.0) for name in depth.experts}
            pools.append(pools[-1].model_copy(update={"weights": weights}))
    if not pools or frozenset(pools[-1].weights) != frozenset(votes.experts):
        raise FittingError(
            "no level has enough labelled queries with votes to be fitted: label more of them, or "
            "score them with all levels (natix-miner score --all-levels)"
        )
    return tuple(pools)


def _singles(votes: Votes, calibrated: Calibrated, weights: Floats) -> tuple[Pool, ...]:
    """A pool of one for every expert, the best first: `choose_pool` takes the first whose expert
    has a vote."""

    def worth(column: int) -> tuple[float, float]:
        said = calibrated.held_out[:, column]
        rows = ~np.isnan(said)
        if len(np.unique(votes.label[rows])) < 2:
            return -1.0, -np.inf
        label, w = votes.label[rows], weights[rows]
        return weighted_mcc(said[rows] > 0.0, label, w), -log_loss(said[rows], label, w)

    order = sorted(range(len(votes.experts)), key=worth, reverse=True)
    return tuple(Pool(weights={votes.experts[column]: 1.0}) for column in order)
