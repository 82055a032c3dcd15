"""Saved queries, wherever they lie: a journal, its export, picture files, saved synapses."""

from __future__ import annotations

from pathlib import Path

from natix_miner.errors import QuerySourceError
from natix_miner.scoring.sources.base import QuerySource, SavedQuery
from natix_miner.scoring.sources.files import FileSource, folder_source, table_source
from natix_miner.scoring.sources.jsonl import JsonlSource

__all__ = ["FileSource", "QuerySource", "SavedQuery", "open_source"]

_KNOWN = (
    "a folder with roadwork/ and none/ or a manifest.csv, a .csv, a .jsonl of saved synapses, "
    "a .parquet export of a journal, or a journal (.sqlite3, .sqlite, .db)"
)


def open_source(path: Path, split: str | None = None) -> QuerySource:
    """The saved queries at `path`; `split` keeps the rows of a table whose column split says so.

    Raises QuerySourceError (JournalError for a journal or its export) with what to do.
    """
    if not path.exists():
        raise QuerySourceError(f"there is nothing at {path}; give {_KNOWN}")
    if path.is_dir():
        table = path / "manifest.csv"
        if table.is_file():
            return table_source(table, split)
        _refuse_split(path, split)
        return folder_source(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return table_source(path, split)
    _refuse_split(path, split)
    if suffix in (".jsonl", ".ndjson"):
        return JsonlSource(path)
    if suffix == ".parquet":
        from natix_miner.scoring.sources.stored import ParquetSource

        return ParquetSource(path)
    if suffix in (".sqlite3", ".sqlite", ".db"):
        from natix_miner.scoring.sources.stored import JournalSource

        return JournalSource(path)
    raise QuerySourceError(f"{path} is no known kind of saved queries; give {_KNOWN}")


def _refuse_split(path: Path, split: str | None) -> None:
    if split is not None:
        raise QuerySourceError(
            f"{path} has no splits, so --split {split} cannot be honoured; "
            "splits stand in the column split of a CSV"
        )
