"""Saved queries out of a journal, or out of its Parquet export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from natix_miner.journal import Journal, read_parquet
from natix_miner.journal.parquet import rows_in
from natix_miner.scoring.sources.base import QuerySource, SavedQuery, digest_of

NOT_KEPT = "picture not kept"


class JournalSource(QuerySource):
    """The queries of a journal in order of arrival, also while a miner writes it.

    Entries whose picture was not kept are left out and counted. Raises JournalError.
    """

    has_order = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        with Journal(path) as journal:
            self._count = journal.counts().queries

    def __iter__(self) -> Iterator[SavedQuery]:
        self.skipped.clear()
        index = 0
        with Journal(self._path) as journal:
            for entry in journal.entries(limit=self._count):
                picture = entry.picture()
                if picture is None:
                    self.skipped[NOT_KEPT] += 1
                    continue
                yield SavedQuery(index, entry.id, entry.label, _held(picture), entry.asked_by or "")
                index += 1

    def identity(self) -> str:
        """Only the place: a journal may grow between two runs. Whoever resumes compares the ids."""
        return digest_of(("journal", str(self._path.resolve())))

    def count(self) -> int:
        return self._count


class ParquetSource(QuerySource):
    """The queries of an export in its order; entries without a picture are left out and counted.

    Raises JournalError.
    """

    has_order = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._count = rows_in(path)

    def __iter__(self) -> Iterator[SavedQuery]:
        self.skipped.clear()
        index = 0
        for row in read_parquet(self._path):
            if row.picture is None:
                self.skipped[NOT_KEPT] += 1
                continue
            label = row.newest_label.label if row.newest_label else None
            yield SavedQuery(index, row.id, label, _held(row.picture), row.asked_by or "")
            index += 1

    def identity(self) -> str:
        found = self._path.stat()
        return digest_of((self._path.name, found.st_size, found.st_mtime_ns))

    def count(self) -> int:
        return self._count


def _held(picture: bytes) -> Callable[[], bytes]:
    return lambda: picture
