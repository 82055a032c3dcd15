"""Levels of experts, run until the consensus is sure or the time is up."""

from __future__ import annotations

from natix_miner.cascade.trace import Trace
from natix_miner.cascade.verdict import NO_ANSWER, Verdict

__all__ = ["NO_ANSWER", "Trace", "Verdict"]
