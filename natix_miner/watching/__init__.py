"""Watching a miner from outside: what goes on now, and what it costs.

Knows the miner by its /metrics, its journal and the snapshot that it keeps of the chain; it asks
nothing else and changes nothing. docs/network-status.md and docs/cost.md explain the figures."""

from __future__ import annotations

from natix_miner.watching.report import StatusReport
from natix_miner.watching.samples import Samples, fetch
from natix_miner.watching.status import Seen, build, look

__all__ = ["Samples", "Seen", "StatusReport", "build", "fetch", "look"]
