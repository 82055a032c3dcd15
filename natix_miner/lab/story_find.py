"""Finding one stored query by what a person calls it."""

from __future__ import annotations

from pydantic import ValidationError

from natix_miner.cascade.trace import Trace
from natix_miner.errors import JournalError, QuerySourceError
from natix_miner.journal import Journal, newest_by_source
from natix_miner.stored import StoredQuery
from natix_miner.stored.source import StoredSource


def find_in_journal(journal: Journal, wanted: str) -> StoredQuery:
    """The query of a journal with this id, or the only one whose id begins so.

    Raises JournalError when there is none, more than one, or its trace is of another format.
    """
    entry = journal.find(wanted)
    try:
        trace = Trace.model_validate_json(entry.trace)
    except ValidationError:
        raise JournalError(
            f"{journal.path}: the trace of query {entry.id} is of another format: "
            "read it with the natix-miner that wrote it"
        ) from None
    return StoredQuery(
        id=entry.id,
        sha256=entry.sha256,
        received_at=entry.received_at,
        prediction=entry.prediction,
        label=entry.label,
        trace=trace,
        labels=tuple(
            (source, said.label)
            for source, said in newest_by_source(entry.labels()).items()
            if said.label is not None
        ),
        total_ms=entry.total_ms,
        _picture=entry.picture,
    )


def find_stored(stored: StoredSource, wanted: str) -> StoredQuery:
    """The query of a results file or an export by name or id.

    A whole name or id counts before the beginning of one. Raises QuerySourceError when there is
    none or more than one.
    """
    whole: list[StoredQuery] = []
    begun: list[StoredQuery] = []
    for query in stored:
        if wanted in (query.id, query.name):
            whole.append(query)
        elif wanted and (query.id.startswith(wanted) or query.name.startswith(wanted)):
            begun.append(query)
            del begun[2:]
    found = whole or begun
    if not found:
        left_out = "".join(f"; {count} left out ({why})" for why, count in stored.skipped.items())
        raise QuerySourceError(
            f"{stored.path} has no query {wanted!r}{left_out}: give a name or id as its lines "
            "tell them, or the beginning of one"
        )
    if len(found) > 1:
        ids = " and ".join(f"{one.id} ({one.name})" if one.name else one.id for one in found[:3])
        raise QuerySourceError(
            f"{stored.path} has more than one query {wanted!r} (for example {ids}): give the id"
        )
    return found[0]
