"""What one query leaves in the journal, and the statements that put it there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from natix_miner.cascade.verdict import Verdict

#: Source of labels that a validator sent along (`testnet_label`).
TESTNET = "testnet"

#: Variables of one statement.
MOST_VARIABLES = 4_000

#: Columns of `queries` that a row brings along, in the order of `Row.values`.
QUERY_COLUMNS = (
    "id",
    "sha256",
    "picture_bytes",
    "source",
    "asked_by",
    "received_at",
    "prediction",
    "reason",
    "level",
    "late",
    "error",
    "total_ms",
    "profile",
    "miner",
    "label",
    "label_source",
)

_INSERT_QUERY = f"INSERT INTO queries ({', '.join(QUERY_COLUMNS)}) VALUES "
_INSERT_PICTURE = "INSERT INTO pictures (sha256, picture) VALUES "
_INSERT_TRACE = "INSERT INTO traces (number, trace) SELECT number, column2 FROM (VALUES "
_INSERT_LABEL = "INSERT INTO labels (query_id, label, source, set_at) VALUES "
_OF_QUERY = ") JOIN queries ON id = column1"
_KEEP_PICTURE = " ON CONFLICT (sha256) DO NOTHING"


@dataclass(frozen=True, slots=True)
class Label:
    """The true answer of a query as somebody told it: 1 roadwork, 0 none, None taken back.

    `source` says who ("testnet", "set", ...), `set_at` when (unix seconds).
    """

    label: int | None
    source: str
    set_at: float


@dataclass(frozen=True, slots=True)
class Row:
    """One query as it is stored; the fields are explained in docs/journal.md."""

    id: str
    sha256: str
    picture_bytes: int
    source: str
    asked_by: str | None
    received_at: float
    prediction: float
    reason: str
    level: str | None
    late: bool
    error: str | None
    total_ms: float | None
    profile: str | None
    miner: str | None
    trace: str
    picture: bytes | None
    labels: tuple[Label, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict, *, keep_picture: bool = True) -> Row:
        """The row of a verdict.

        Raises ValueError (pydantic's) when the trace cannot be written as JSON.
        """
        query, trace = verdict.query, verdict.trace
        total_ms = trace.stages_ms.get("total")
        labels = () if query.label is None else (Label(query.label, TESTNET, query.received_at),)
        return cls(
            id=query.id,
            sha256=query.sha256,
            picture_bytes=len(query.picture),
            source=query.source,
            asked_by=query.asked_by,
            received_at=query.received_at,
            prediction=verdict.prediction,
            reason=trace.answer.reason,
            level=trace.answer.level,
            late=total_ms is not None and total_ms > trace.query.deadline_ms,
            error=None if verdict.error is None else verdict.error.reason,
            total_ms=total_ms,
            profile=_word(trace.versions.get("profile")),
            miner=_word(trace.versions.get("miner")),
            trace=trace.model_dump_json(),
            picture=query.picture if keep_picture else None,
            labels=labels,
        )

    @property
    def newest_label(self) -> Label | None:
        """The label that holds: the one set last, of two at the same moment the later one."""
        # sorted() keeps the order of equals, max() would give the first of them.
        return sorted(self.labels, key=lambda label: label.set_at)[-1] if self.labels else None

    def values(self) -> tuple[Any, ...]:
        """The row's values in the order of `QUERY_COLUMNS`."""
        newest = self.newest_label
        if newest is None or newest.label is None:
            newest = Label(None, "", 0.0)
        return (
            self.id,
            self.sha256,
            self.picture_bytes,
            self.source,
            self.asked_by,
            self.received_at,
            self.prediction,
            self.reason,
            self.level,
            int(self.late),
            self.error,
            self.total_ms,
            self.profile,
            self.miner,
            newest.label,
            newest.source or None,
        )


def insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Put rows into the open transaction with one statement a table.

    An id that is there already, or twice among the rows, is an sqlite3.IntegrityError: roll back,
    and insert row by row with `insert_new`.

    One statement for all rows, because the sqlite3 module lets go of the interpreter's lock in
    every statement and gets it back late (5 ms) from a thread that computes in Python.
    """
    _insert(connection, _INSERT_QUERY, [row.values() for row in rows])
    _insert(connection, _INSERT_TRACE, [(row.id, row.trace) for row in rows], _OF_QUERY)
    pictures = [(row.sha256, row.picture) for row in rows if row.picture is not None]
    _insert(connection, _INSERT_PICTURE, pictures, _KEEP_PICTURE)
    labels = [
        (row.id, label.label, label.source, label.set_at) for row in rows for label in row.labels
    ]
    _insert(connection, _INSERT_LABEL, labels)


def insert_new(connection: sqlite3.Connection, row: Row) -> bool:
    """Put one row into the open transaction; False when its id is there (nothing is done then)."""
    if connection.execute("SELECT 1 FROM queries WHERE id = ?", (row.id,)).fetchone():
        return False
    insert(connection, [row])
    return True


def add_label(connection: sqlite3.Connection, query_id: str, label: Label) -> None:
    """Put a label of a query that is there into its history."""
    _insert(connection, _INSERT_LABEL, [(query_id, label.label, label.source, label.set_at)])


def _insert(
    connection: sqlite3.Connection, into: str, values: list[tuple[Any, ...]], after: str = ""
) -> None:
    """Insert tuples of equal length: `into`, then the tuples, then `after`.

    In parts, as SQLite allows no more than 32,766 variables in one statement.
    """
    if not values:
        return
    width = len(values[0])
    most = max(1, MOST_VARIABLES // width)
    for start in range(0, len(values), most):
        part = values[start : start + most]
        marks = ", ".join([f"({', '.join('?' * width)})"] * len(part))
        flat = [value for one in part for value in one]
        connection.execute(into + marks + after, flat)


def _word(value: Any) -> str | None:
    """A version as text: words as they are, anything richer as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, default=str)
