"""What the miner counts and measures, in a registry of its own; docs/watching.md explains each."""

from __future__ import annotations

from natix_miner.neuron.metrics.counting import Metrics
from natix_miner.neuron.metrics.hours import LastHour

__all__ = ["LastHour", "Metrics"]
