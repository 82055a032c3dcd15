"""From opinions, of which some may be missing, to one probability."""

from __future__ import annotations

from natix_miner.consensus.fitted import (
    FittedConsensus,
    Platt,
    Pool,
    equal_weights,
    load_fitted,
    save_fitted,
)
from natix_miner.consensus.pool import (
    POOLS,
    Consensus,
    GeometricMeanPool,
    LogOddsPool,
    Pooled,
    Vote,
    answer_from,
)

__all__ = [
    "POOLS",
    "Consensus",
    "FittedConsensus",
    "GeometricMeanPool",
    "LogOddsPool",
    "Platt",
    "Pool",
    "Pooled",
    "Vote",
    "answer_from",
    "equal_weights",
    "load_fitted",
    "save_fitted",
]
