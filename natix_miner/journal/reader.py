"""Reading a journal, also while a miner writes it; and setting labels."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import JournalError
from natix_miner.journal.connection import open_for_reading, writing
from natix_miner.journal.entry import JournalEntry
from natix_miner.journal.labels import QueryLabel
from natix_miner.journal.retention import size
from natix_miner.journal.rows import QUERY_COLUMNS, Label, add_label

#: Entries read in one statement: a statement that stays open would keep the WAL file growing.
PAGE_ENTRIES = 128

_COLUMNS = ("number", *QUERY_COLUMNS, "trace")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM entries"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries: received at or after `since` (unix seconds) and before `until`, with a label,
    asked by one hotkey."""

    since: float | None = None
    until: float | None = None
    labelled: bool = False
    asked_by: str | None = None

    def where(self) -> tuple[list[str], dict[str, Any]]:
        """Conditions and their values."""
        conditions: list[str] = []
        values: dict[str, Any] = {}
        if self.since is not None:
            conditions.append("received_at >= :since")
            values["since"] = self.since
        if self.until is not None:
            conditions.append("received_at < :until")
            values["until"] = self.until
        if self.labelled:
            conditions.append("label IS NOT NULL")
        if self.asked_by is not None:
            conditions.append("asked_by = :asked_by")
            values["asked_by"] = self.asked_by
        return conditions, values


@dataclass(frozen=True, slots=True)
class Counts:
    """What a journal holds; `first` and `last` are unix seconds of arrival (None when empty),
    `used_bytes` and `free_bytes` the size of the main file, `asked_by` the queries per hotkey
    (None: nobody named)."""

    queries: int
    answered: int
    late: int
    labelled: int
    pictures: int
    first: float | None
    last: float | None
    used_bytes: int
    free_bytes: int
    asked_by: Mapping[str | None, int]


class Journal:
    """A journal opened for reading; may be shared by threads.

    Raises JournalError when the file is not there, is no journal, or is newer than this code.
    """

    def __init__(self, path: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._connection = open_for_reading(path)

    def entries(
        self, which: Filter | None = None, *, limit: int | None = None, newest_first: bool = False
    ) -> Iterator[JournalEntry]:
        """The entries in order of arrival (or the other way round), at most `limit`.

        Entries written after the call are left out. Nothing is held open between entries, so the
        miner is not hindered by a slow reader; entries pruned meanwhile are left out.
        """
        conditions, values = (which or Filter()).where()
        newest = self._rows("SELECT max(number) FROM queries", {})[0][0]
        conditions.append("number <= :newest")
        values["newest"] = newest if newest is not None else 0
        sign, order = ("<", "DESC") if newest_first else (">", "ASC")
        after: tuple[float, int] | None = None
        left = limit
        while left is None or left > 0:
            take = PAGE_ENTRIES if left is None else min(left, PAGE_ENTRIES)
            seek = [] if after is None else [f"(received_at, number) {sign} (:at, :number)"]
            page = self._rows(
                f"{_SELECT} WHERE {' AND '.join(conditions + seek)} "
                f"ORDER BY received_at {order}, number {order} LIMIT :take",
                {
                    **values,
                    "take": take,
                    **({} if after is None else {"at": after[0], "number": after[1]}),
                },
            )
            for row in page:
                yield self._entry(row)
            if len(page) < take:
                return
            after = (page[-1][6], page[-1][0])
            left = None if left is None else left - len(page)

    def find(self, id_or_prefix: str) -> JournalEntry:
        """The entry with this id, or the only one whose id begins so.

        Raises JournalError when there is none or more than one.
        """
        rows = self._rows(f"{_SELECT} WHERE id = :id", {"id": id_or_prefix})
        if not rows and id_or_prefix:
            # U+10FFFF sorts behind every other letter: the ids between are those with the prefix.
            rows = self._rows(
                f"{_SELECT} WHERE id > :prefix AND id < :prefix || char(1114111) LIMIT 2",
                {"prefix": id_or_prefix},
            )
        if not rows:
            raise JournalError(
                f"the journal {self.path} has no query {id_or_prefix!r}: "
                "`natix-miner journal show` lists the ids"
            )
        if len(rows) > 1:
            raise JournalError(
                f"more than one query begins with {id_or_prefix!r} (for example {rows[0][1]} and "
                f"{rows[1][1]}): give more letters of the id"
            )
        return self._entry(rows[0])

    def picture(self, sha256: str) -> bytes | None:
        """The encoded picture with this digest, None when the journal does not keep it."""
        rows = self._rows("SELECT picture FROM pictures WHERE sha256 = :sha256", {"sha256": sha256})
        return bytes(rows[0][0]) if rows else None

    def labels(self, query_id: str) -> tuple[Label, ...]:
        """The history of a query's labels, the one that holds last."""
        rows = self._rows(
            "SELECT label, source, set_at FROM labels WHERE query_id = :id ORDER BY set_at, number",
            {"id": query_id},
        )
        return tuple(Label(label, source, set_at) for label, source, set_at in rows)

    def all_labels(self) -> tuple[QueryLabel, ...]:
        """Every label of every query, the newest last."""
        rows = self._rows(
            "SELECT query_id, sha256, labels.label, labels.source, set_at "
            "FROM labels JOIN queries ON queries.id = query_id ORDER BY set_at, labels.number",
            {},
        )
        return tuple(
            QueryLabel(query_id, sha256, Label(label, source, set_at))
            for query_id, sha256, label, source, set_at in rows
        )

    def queries_of(self, sha256: str) -> tuple[str, ...]:
        """The ids of the queries that showed this picture, the newest first."""
        rows = self._rows(
            "SELECT id FROM queries WHERE sha256 = :sha256 ORDER BY received_at DESC, number DESC",
            {"sha256": sha256},
        )
        return tuple(row[0] for row in rows)

    def kept_pictures(self) -> frozenset[str]:
        """The digests of the pictures that the journal holds."""
        return frozenset(row[0] for row in self._rows("SELECT sha256 FROM pictures", {}))

    def set_label(self, query_id: str, label: int | None, source: str = "set") -> JournalEntry:
        """Say what was true (1 roadwork, 0 none, None: unknown after all); the entry afterwards.

        `query_id` may be a prefix that only one id has. Earlier labels are kept in the history.
        Raises JournalError when there is no such entry or the journal cannot be written.
        """
        if label not in (0, 1, None):
            raise JournalError(f"a label is 1 (roadwork), 0 (none) or None, not {label!r}")
        entry = self.find(query_id)
        history = entry.labels()
        # A clock that was set back must not make the newest label an old one.
        set_at = max(self._clock.time(), history[-1].set_at if history else 0.0)
        with writing(self.path) as connection:
            add_label(connection, entry.id, Label(label, source, set_at))
        return self.find(entry.id)

    def counts(self, which: Filter | None = None) -> Counts:
        """How much of what is in the journal (or in a part of it; pictures and sizes: all)."""
        conditions, values = (which or Filter()).where()
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        queries, answered, late, labelled, first, last = self._rows(
            "SELECT count(*), count(*) FILTER (WHERE prediction >= 0), coalesce(sum(late), 0), "
            f"count(label), min(received_at), max(received_at) FROM queries{where}",
            values,
        )[0]
        askers = self._rows(
            f"SELECT asked_by, count(*) FROM queries{where} GROUP BY 1 ORDER BY 2 DESC, 1", values
        )
        pictures = self._rows("SELECT count(*) FROM pictures", {})[0][0]
        with self._lock:
            now = size(self._connection)
        return Counts(
            queries=queries,
            answered=answered,
            late=late,
            labelled=labelled,
            pictures=pictures,
            first=first,
            last=last,
            used_bytes=now.used,
            free_bytes=now.free,
            asked_by=dict(askers),
        )

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self.path} cannot be read: {error}") from error

    def _entry(self, row: tuple[Any, ...]) -> JournalEntry:
        values = dict(zip(_COLUMNS, row, strict=True))
        values["late"] = bool(values["late"])
        return JournalEntry(**values, _picture=self.picture, _labels=self.labels)
