"""The command `natix-miner`."""

from __future__ import annotations

from natix_miner.cli.app import app

__all__ = ["app"]
