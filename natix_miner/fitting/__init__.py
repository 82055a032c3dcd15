"""Learning the consensus from labelled opinions: calibration, pools, their choice, the routing."""

from __future__ import annotations

from natix_miner.fitting.fit import Fit, fit
from natix_miner.fitting.lines import votes_from_lines
from natix_miner.fitting.pools import pool_votes
from natix_miner.fitting.reading import votes_of
from natix_miner.fitting.settings import FitSettings
from natix_miner.fitting.votes import UNLABELLED, Votes

__all__ = [
    "UNLABELLED",
    "Fit",
    "FitSettings",
    "Votes",
    "fit",
    "pool_votes",
    "votes_from_lines",
    "votes_of",
]
