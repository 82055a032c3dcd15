"""Labels of many queries at once: reading them by source, setting them, taking one back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import JournalError
from natix_miner.journal.connection import writing
from natix_miner.journal.rows import Label, add_label


@dataclass(frozen=True, slots=True)
class QueryLabel:
    """One row of the history of labels, with the query and the picture it speaks of."""

    query_id: str
    sha256: str
    label: Label


def newest_by_source(labels: Iterable[Label]) -> dict[str, Label]:
    """What each source says now, out of a history whose newest row comes last; a label that its
    source has taken back is left out."""
    found: dict[str, Label] = {}
    for label in labels:
        # Popped first, so that the order is that of the newest rows.
        found.pop(label.source, None)
        if label.label is not None:
            found[label.source] = label
    return found


def add_labels(path: Path, labels: Sequence[tuple[str, Label]]) -> None:
    """Put labels of queries (by whole id) into a journal's history: all of them or none.

    They keep their `set_at`: where a query has a newer label, that one still holds. Raises
    JournalError when a query is not there or the journal cannot be written.
    """
    with writing(path) as connection:
        for query_id, label in labels:
            add_label(connection, query_id, label)


def take_back(path: Path, query_id: str, source: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Undo the newest label of `source`: what it said before, and what held before, hold again.

    The history only grows: the former rows are written again, with their former sources. Raises
    JournalError when `source` has said nothing of the query or the journal cannot be written.
    """
    with writing(path) as connection:
        rows = connection.execute(
            "SELECT label, source, set_at FROM labels WHERE query_id = ? ORDER BY set_at, number",
            (query_id,),
        ).fetchall()
        history = [Label(*row) for row in rows]
        newest = max((n for n, row in enumerate(history) if row.source == source), default=None)
        if newest is None:
            raise JournalError(
                f"{source} has set no label of the query {query_id} in {path}: nothing to take back"
            )
        now = max(clock.time(), history[-1].set_at)
        before = [*history[:newest], *history[newest + 1 :]]
        own = next((row.label for row in reversed(before) if row.source == source), None)
        add_label(connection, query_id, Label(own, source, now))
        if before and before[-1].source != source:
            add_label(connection, query_id, Label(before[-1].label, before[-1].source, now))
