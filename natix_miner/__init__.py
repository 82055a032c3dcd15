"""Roadwork miner for Bittensor subnet 72: judges street pictures and can show why."""

from __future__ import annotations

__version__ = "0.1.0"
