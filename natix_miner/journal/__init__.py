"""The durable record of queries, verdicts, traces and labels: written behind the miner's back,
read while it is written, taken elsewhere as Parquet. docs/journal.md explains the tables."""

from __future__ import annotations

from natix_miner.journal.entry import JournalEntry
from natix_miner.journal.labels import QueryLabel, add_labels, newest_by_source, take_back
from natix_miner.journal.losses import OnLoss, WriterStats
from natix_miner.journal.parquet import (
    PARQUET_FORMAT,
    Imported,
    export_parquet,
    import_parquet,
    read_parquet,
)
from natix_miner.journal.reader import Counts, Filter, Journal
from natix_miner.journal.retention import Pruned, Retention
from natix_miner.journal.rows import Label, Row
from natix_miner.journal.writer import JournalWriter, Pacing

__all__ = [
    "PARQUET_FORMAT",
    "Counts",
    "Filter",
    "Imported",
    "Journal",
    "JournalEntry",
    "JournalWriter",
    "Label",
    "OnLoss",
    "Pacing",
    "Pruned",
    "QueryLabel",
    "Retention",
    "Row",
    "WriterStats",
    "add_labels",
    "export_parquet",
    "import_parquet",
    "newest_by_source",
    "read_parquet",
    "take_back",
]
