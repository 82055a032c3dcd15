"""Scoring on more than one core or machine: one judge a process, over a Ray cluster."""

from __future__ import annotations

from natix_miner.scoring.engines.ray_cluster import LOCAL, RayOptions, gpus_of
from natix_miner.scoring.engines.ray_engine import RayEngine
from natix_miner.scoring.engines.worker import JudgeVersions, versions_of

__all__ = ["LOCAL", "JudgeVersions", "RayEngine", "RayOptions", "gpus_of", "versions_of"]
