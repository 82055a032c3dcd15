"""From opinions, of which some may be missing, to one probability."""

from __future__ import annotations

from natix_miner.consensus.calibration import Calibration, Isotonic, Platt
from natix_miner.consensus.choosing import choose_pool
from natix_miner.consensus.conditions import FRAME_CONDITIONS, frame_conditions
from natix_miner.consensus.drift import DriftSettings
from natix_miner.consensus.fitted import (
    Expected,
    FittedConsensus,
    Pool,
    PoolKind,
    equal_weights,
    load_fitted,
    save_fitted,
)
from natix_miner.consensus.pool import (
    POOLS,
    Consensus,
    GeometricMeanPool,
    LogOddsPool,
    MajorityPool,
    answer_from,
)
from natix_miner.consensus.pooled import Pooled, Vote
from natix_miner.consensus.reliability import DriftWatch, Standing

__all__ = [
    "FRAME_CONDITIONS",
    "POOLS",
    "Calibration",
    "Consensus",
    "DriftSettings",
    "DriftWatch",
    "Expected",
    "FittedConsensus",
    "GeometricMeanPool",
    "Isotonic",
    "LogOddsPool",
    "MajorityPool",
    "Platt",
    "Pool",
    "PoolKind",
    "Pooled",
    "Standing",
    "Vote",
    "answer_from",
    "choose_pool",
    "equal_weights",
    "frame_conditions",
    "load_fitted",
    "save_fitted",
]
