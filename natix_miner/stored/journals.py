"""Stored queries of a journal, and of its Parquet export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from natix_miner.errors import JournalError
from natix_miner.journal import Journal, Label, newest_by_source, read_parquet
from natix_miner.journal.parquet import rows_in
from natix_miner.stored.query import StoredQuery
from natix_miner.stored.source import Kind, StoredSource

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class JournalQueries(StoredSource):
    """A journal in order of arrival, also while a miner writes it; a pass ends with the newest
    entry there is when it begins."""

    kind: Kind = "journal"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._journal = Journal(path)

    def __iter__(self) -> Iterator[StoredQuery]:
        self.skipped.clear()
        for entry in self._journal.entries():
            trace = self._trace(entry.trace)
            if trace is None:
                continue
            yield StoredQuery(
                id=entry.id,
                sha256=entry.sha256,
                received_at=entry.received_at,
                prediction=entry.prediction,
                label=entry.label,
                trace=trace,
                labels=_said(entry.labels()),
                total_ms=entry.total_ms,
                _picture=entry.picture,
            )

    def count(self) -> int:
        return self._journal.counts().queries

    def facts(self) -> Iterator[tuple[str, str, int | None]]:
        return ((entry.id, entry.sha256, entry.label) for entry in self._journal.entries())

    def close(self) -> None:
        self._journal.close()


class ExportQueries(StoredSource):
    """The Parquet export of a journal, in its order."""

    kind: Kind = "export"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._count = rows_in(path)
        self._pictures = _ExportPictures(path)

    def __iter__(self) -> Iterator[StoredQuery]:
        self.skipped.clear()
        for number, row in enumerate(read_parquet(self.path)):
            trace = self._trace(row.trace)
            if trace is None:
                continue
            kept = row.picture is not None
            yield StoredQuery(
                id=row.id,
                sha256=row.sha256,
                received_at=row.received_at,
                prediction=row.prediction,
                label=row.newest_label.label if row.newest_label else None,
                trace=trace,
                labels=_said(sorted(row.labels, key=lambda label: label.set_at)),
                total_ms=row.total_ms,
                _picture=partial(self._pictures.read, number) if kept else None,
            )

    def count(self) -> int:
        return self._count

    def facts(self) -> Iterator[tuple[str, str, int | None]]:
        for row in read_parquet(self.path):
            yield row.id, row.sha256, row.newest_label.label if row.newest_label else None


def _said(history: Iterable[Label]) -> tuple[tuple[str, int], ...]:
    """What each source says now, of a history that ends with the newest."""
    newest = newest_by_source(history)
    return tuple((who, one.label) for who, one in newest.items() if one.label is not None)


class _ExportPictures:
    """Pictures of an export by row, read one row group at a time: some 32 MB are held at most."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pq.ParquetFile | None = None
        self._first = 0
        self._held: list[Any] = []

    def read(self, number: int) -> bytes | None:
        """The picture of one row; raises JournalError when the export cannot be read any more."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        place = number - self._first
        if not 0 <= place < len(self._held):
            try:
                if self._file is None:
                    self._file = pq.ParquetFile(self._path)
                self._load(self._file, number)
            except (pa.ArrowException, OSError) as error:
                raise JournalError(f"{self._path} cannot be read as Parquet: {error}") from error
            place = number - self._first
        value = self._held[place].as_py()
        return None if value is None else bytes(value)

    def _load(self, file: pq.ParquetFile, number: int) -> None:
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if number < first + rows:
                self._held = list(file.read_row_group(group, columns=["picture"])["picture"])
                self._first = first
                return
            first += rows
        raise JournalError(f"{self._path} has become shorter: it has no row {number} any more")
