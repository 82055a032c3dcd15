"""Queries that were judged before, wherever they lie: a journal, its export, a scored folder."""

from __future__ import annotations

from natix_miner.stored.opening import open_stored
from natix_miner.stored.query import StoredQuery
from natix_miner.stored.source import StoredSource

__all__ = ["StoredQuery", "StoredSource", "open_stored"]
