"""Keeping the journal within an age and a size, in steps that each do a bounded piece of work.

What goes first:
1. entries without a label that are older than `keep_days`;
2. while the journal is larger than `keep_gigabytes` (10^9 bytes of used pages): entries without a
   label, oldest first, but nothing of the last day; then labelled entries, oldest first, again
   but for the last day; then whatever is oldest.
So a label, which somebody took the trouble to give, outlives `keep_days` for as long as there is
room, and a journal full of labelled entries still holds what the miner did today. A picture goes
with the last query that showed it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.journal.connection import changing

DAY_SECONDS = 86_400.0
#: Bounds of one step: entries looked at, and bytes of pictures taken out.
STEP_ENTRIES = 200
STEP_BYTES = 32 * 2**20
#: Free pages given back to the file system in one step.
STEP_PAGES = 1_000
#: Free pages are kept for coming entries up to this share of the file.
FREE_SHARE = 0.25

_COLUMNS = "SELECT number, id, sha256, picture_bytes + length(trace) FROM entries "
_EXPIRED = _COLUMNS + (
    "WHERE label IS NULL AND received_at < :expired ORDER BY received_at, number LIMIT :limit"
)
_OVERSIZE = (
    _COLUMNS + "WHERE label IS NULL AND received_at < :today ORDER BY received_at, number "
    "LIMIT :limit",
    _COLUMNS + "WHERE label IS NOT NULL AND received_at < :today ORDER BY received_at, number "
    "LIMIT :limit",
    _COLUMNS + "ORDER BY received_at, number LIMIT :limit",
)


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept; None for a limit means that there is none."""

    keep_days: float | None = None
    keep_gigabytes: float | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step removed, and whether there is `more` to do at once."""

    entries: int
    pictures: int
    pages: int
    more: bool


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of the journal's main file: `used`, and `free` pages waiting for new entries."""

    used: int
    free: int


def size(connection: sqlite3.Connection) -> Size:
    """How large the journal is, the not yet checkpointed part included."""
    page = int(connection.execute("PRAGMA page_size").fetchone()[0])
    pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    return Size(used=(pages - free) * page, free=free * page)


def prune_step(connection: sqlite3.Connection, keep: Retention, now: float) -> Pruned:
    """One bounded piece of pruning in one transaction; `now` in unix seconds.

    Raises sqlite3.Error (nothing is removed then).
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        victims = _victims(connection, keep, now)
        pictures = _remove(connection, victims)
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    pages = _give_back(connection, keep)
    return Pruned(entries=len(victims), pictures=pictures, pages=pages, more=bool(victims or pages))


def _victims(
    connection: sqlite3.Connection, keep: Retention, now: float
) -> list[tuple[int, str, str, int]]:
    bounds = {"limit": STEP_ENTRIES, "today": now - DAY_SECONDS}
    if keep.keep_days is not None:
        bounds["expired"] = now - keep.keep_days * DAY_SECONDS
        expired = connection.execute(_EXPIRED, bounds).fetchall()
        if expired:
            return _first_bytes(expired, STEP_BYTES)
    if keep.keep_gigabytes is not None:
        excess = size(connection).used - int(keep.keep_gigabytes * 1e9)
        if excess > 0:
            for statement in _OVERSIZE:
                found = connection.execute(statement, bounds).fetchall()
                if found:
                    return _first_bytes(found, min(excess, STEP_BYTES))
    return []


def _first_bytes(
    entries: list[tuple[int, str, str, int]], bound: int
) -> list[tuple[int, str, str, int]]:
    """The first entries until their bytes reach `bound`; always at least one."""
    taken, total = [], 0
    for entry in entries:
        taken.append(entry)
        total += entry[3]
        if total >= bound:
            break
    return taken


def _remove(connection: sqlite3.Connection, victims: list[tuple[int, str, str, int]]) -> int:
    """Delete entries with their labels, and the pictures that no query shows any more."""
    connection.executemany(
        "DELETE FROM labels WHERE query_id = ?", [(query_id,) for _, query_id, _, _ in victims]
    )
    connection.executemany(
        "DELETE FROM traces WHERE number = ?", [(number,) for number, _, _, _ in victims]
    )
    connection.executemany(
        "DELETE FROM queries WHERE number = ?", [(number,) for number, _, _, _ in victims]
    )
    removed = 0
    for digest in {sha256 for _, _, sha256, _ in victims}:
        removed += connection.execute(
            "DELETE FROM pictures WHERE sha256 = :digest "
            "AND NOT EXISTS (SELECT 1 FROM queries WHERE sha256 = :digest)",
            {"digest": digest},
        ).rowcount
    return removed


def _give_back(connection: sqlite3.Connection, keep: Retention) -> int:
    """Shrink the file by free pages that are too many; the number given back."""
    now = size(connection)
    whole = now.used + now.free
    spare = now.free - FREE_SHARE * whole
    if keep.keep_gigabytes is not None:
        spare = max(spare, whole - keep.keep_gigabytes * 1e9)
    spare = min(spare, now.free)
    if spare <= 0:
        return 0
    page = int(connection.execute("PRAGMA page_size").fetchone()[0])
    pages = min(STEP_PAGES, -(-int(spare) // page))
    if pages == 0:
        return 0
    # The pragma frees one page a step of the statement, and gives rows without columns, after the
    # first of which execute() stops; executescript() runs it to its end.
    connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    return (now.free - size(connection).free) // page


def prune(path: Path, keep: Retention, *, clock: Clock = SYSTEM_CLOCK) -> Pruned:
    """Prune a journal that is there until nothing is left to do; what was removed in all.

    Works beside a miner. Raises JournalError when the journal cannot be opened or written.
    """
    now = clock.time()
    entries = pictures = pages = 0
    with changing(path) as connection:
        while True:
            step = prune_step(connection, keep, now)
            entries += step.entries
            pictures += step.pictures
            pages += step.pages
            if not step.more:
                return Pruned(entries=entries, pictures=pictures, pages=pages, more=False)
