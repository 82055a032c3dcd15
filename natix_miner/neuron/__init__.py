"""The neuron: everything that is about Bittensor, HTTP and the life of the miner process.

Judging knows nothing of this room; a change of the network should touch nothing outside it. What
other rooms may use stands here; the rest is imported by the command `run` when it is needed.
"""

from __future__ import annotations

from natix_miner.neuron.settings import RunSettings, resolve_settings
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron, read_snapshot, write_snapshot
from natix_miner.neuron.transport import Asked, Handler, Observer, Transport

__all__ = [
    "Asked",
    "ChainSnapshot",
    "Handler",
    "Neuron",
    "Observer",
    "RunSettings",
    "Transport",
    "read_snapshot",
    "resolve_settings",
    "write_snapshot",
]
