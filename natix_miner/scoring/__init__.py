"""Offline scoring: saved queries through the very judge of the miner, paid as a validator would."""

from __future__ import annotations

from natix_miner.scoring.metrics import Metrics, measure
from natix_miner.scoring.results import ResultsFile
from natix_miner.scoring.reward import RewardInterval, RewardWindow, reward_interval, rewards
from natix_miner.scoring.row import ScoredQuery, row_of
from natix_miner.scoring.runner import ScoreRun, ScoreSettings, score_queries
from natix_miner.scoring.simulation import GENERATIONS, simulated
from natix_miner.scoring.sources import QuerySource, SavedQuery, open_source
from natix_miner.scoring.summary import Summary, summarise

__all__ = [
    "GENERATIONS",
    "Metrics",
    "QuerySource",
    "ResultsFile",
    "RewardInterval",
    "RewardWindow",
    "SavedQuery",
    "ScoreRun",
    "ScoreSettings",
    "ScoredQuery",
    "Summary",
    "measure",
    "open_source",
    "reward_interval",
    "rewards",
    "row_of",
    "score_queries",
    "simulated",
    "summarise",
]
