"""Queries that were judged before, wherever they lie: a journal, its export, a scored folder."""

from __future__ import annotations

from natix_miner.stored.query import StoredQuery

__all__ = ["StoredQuery"]
