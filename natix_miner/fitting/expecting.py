"""How each expert behaved in the data of a fit, kept in the file so that drift can be noticed."""

from __future__ import annotations

import numpy as np

from natix_miner.consensus import Expected, FittedConsensus
from natix_miner.fitting.pools import calibrated_log_odds, pool_votes
from natix_miner.fitting.votes import Votes


def expected_of(fitted: FittedConsensus, votes: Votes) -> dict[str, Expected]:
    """Of every expert that was asked: the mean and spread of its calibrated log-odds, how often it
    sides with the pool, how often its vote is missing.

    Over all queries, labelled or not: that is what the miner will see again.
    """
    log_odds = calibrated_log_odds(votes, fitted.calibrations)
    pooled = pool_votes(fitted, votes)
    found = {}
    for column, name in enumerate(votes.experts):
        asked = votes.asked[:, column]
        said = log_odds[:, column]
        there = ~np.isnan(said) & asked
        if not asked.any() or name not in fitted.experts():
            continue
        side = (said[there] > 0.0) == (pooled[there] > 0.0)
        found[name] = Expected(
            n=int(asked.sum()),
            mean=float(said[there].mean()) if there.any() else 0.0,
            spread=float(said[there].std()) if there.any() else 0.0,
            agreement=float(side.mean()) if there.any() else 0.0,
            missing=float(1.0 - there.sum() / asked.sum()),
        )
    return found
