"""Opening stored queries by what lies at a path."""

from __future__ import annotations

from pathlib import Path

from natix_miner.errors import QuerySourceError
from natix_miner.stored.journals import ExportQueries, JournalQueries
from natix_miner.stored.results import ResultsQueries
from natix_miner.stored.source import StoredSource

RESULTS = "results.jsonl"
_KNOWN = (
    "a journal (.sqlite3, .sqlite, .db), its .parquet export, or a folder or file of results "
    "(natix-miner score --report DIR leaves DIR/results.jsonl)"
)


def open_stored(path: Path) -> StoredSource:
    """The stored queries at `path`.

    Raises QuerySourceError (JournalError for a journal or its export) with what to do when there
    are none, or the file is damaged or of another format.
    """
    if not path.exists():
        raise QuerySourceError(f"there is nothing at {path}; give {_KNOWN}")
    if path.is_dir():
        if not (path / RESULTS).is_file():
            raise QuerySourceError(f"{path} holds no {RESULTS}; give {_KNOWN}")
        return ResultsQueries(path / RESULTS)
    suffix = path.suffix.lower()
    if suffix in (".sqlite3", ".sqlite", ".db"):
        return JournalQueries(path)
    if suffix == ".parquet":
        return ExportQueries(path)
    if suffix in (".jsonl", ".ndjson"):
        return ResultsQueries(path)
    raise QuerySourceError(f"{path} is no known kind of stored queries; give {_KNOWN}")
