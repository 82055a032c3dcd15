"""Saved queries out of a journal, or out of its Parquet export."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from natix_miner.journal import Journal, read_parquet
from natix_miner.journal.groups import names_with_picture, pictures_by_group
from natix_miner.journal.parquet import rows_in
from natix_miner.journal.rows import Row
from natix_miner.scoring.sources.base import QuerySource, SavedQuery, digest_of, no_such_place

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

    A block is a row group, and `picked` reads no more than the groups it needs: the last one is
    kept, as whoever asks for a part of it mostly comes for the rest. Raises JournalError.
    """

    has_order = True
    can_pick = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._count = rows_in(path)
        self._firsts: list[int] | None = None
        self._group: int | None = None
        self._in_group: list[SavedQuery] = []

    def __iter__(self) -> Iterator[SavedQuery]:
        self.skipped.clear()
        index = 0
        for row in read_parquet(self._path):
            if row.picture is None:
                self.skipped[NOT_KEPT] += 1
                continue
            yield _saved(row, index)
            index += 1

    def names(self) -> Iterator[list[str]]:
        self.skipped.clear()
        told = 0
        for group in range(len(pictures_by_group(self._path))):
            names = names_with_picture(self._path, group)
            told += len(names)
            yield names
        if told < self._count:
            self.skipped[NOT_KEPT] = self._count - told

    def picked(self, indexes: Sequence[int]) -> list[SavedQuery]:
        return [self._at(index) for index in indexes]

    def _at(self, index: int) -> SavedQuery:
        if self._firsts is None:
            self._firsts = list(accumulate(pictures_by_group(self._path), initial=0))
        if not 0 <= index < self._firsts[-1]:
            raise no_such_place(index, self._path)
        group = bisect_right(self._firsts, index) - 1
        first = self._firsts[group]
        if group != self._group:
            rows = (row for row in read_parquet(self._path, group) if row.picture is not None)
            self._in_group = [_saved(row, first + place) for place, row in enumerate(rows)]
            self._group = group
        return self._in_group[index - first]

    def identity(self) -> str:
        found = self._path.stat()
        return digest_of((self._path.name, found.st_size, found.st_mtime_ns))

    def count(self) -> int:
        return self._count


def _saved(row: Row, index: int) -> SavedQuery:
    label = row.newest_label.label if row.newest_label else None
    return SavedQuery(index, row.id, label, _held(row.picture or b""), row.asked_by or "")


def _held(picture: bytes) -> Callable[[], bytes]:
    return lambda: picture
