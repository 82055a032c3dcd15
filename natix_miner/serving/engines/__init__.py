"""The command of each engine, one file an engine."""

from natix_miner.serving.engines.start import Start, Words

__all__ = ["Start", "Words"]
