"""Verdicts as the judge makes them, without judging anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from natix_miner.cascade.trace import Answer, LevelTrace, QueryTrace, Trace
from natix_miner.cascade.verdict import Verdict
from natix_miner.clock import SYSTEM_CLOCK, Deadline
from natix_miner.query import Query
from natix_miner.sections import JournalSettings

MakeVerdict = Callable[..., Verdict]


def verdict_of(
    number: int = 0,
    *,
    query_id: str | None = None,
    picture: bytes | None = None,
    probability: float | None = 0.75,
    label: int | None = None,
    asked_by: str | None = "5Validator",
    received_at: float | None = None,
    total_ms: float = 12.5,
    source: str = "axon",
    reason: str = "sure",
) -> Verdict:
    """A verdict with a well-formed trace; everything that matters can be said."""
    body = f"picture {number}".encode() if picture is None else picture
    received = 1_700_000_000.0 + number if received_at is None else received_at
    query = Query(
        id=query_id or f"{number:032x}",
        picture=body,
        sha256=hashlib.sha256(body).hexdigest(),
        source=source,
        received_at=received,
        deadline=Deadline.after(7.0, SYSTEM_CLOCK),
        asked_by=asked_by,
        label=label,
    )
    trace = Trace(
        query=QueryTrace(
            id=query.id,
            sha256=query.sha256,
            source=source,
            asked_by=asked_by,
            received_at=received,
            bytes=len(body),
            deadline_ms=7000.0,
        ),
        picture=None,
        levels=(
            LevelTrace(
                name="first",
                entered=True,
                why="first level",
                experts=(),
                log_odds=None,
                probability=None,
                disagreement=None,
                ms=1.0,
            ),
        ),
        answer=Answer(
            prediction=-1.0 if probability is None else probability, reason=reason, level="first"
        ),
        stages_ms={"decode": 1.0, "total": total_ms},
        versions={"miner": "0.1.0", "profile": "embedded", "experts": {"a": "1"}},
    )
    return Verdict(query=query, probability=probability, trace=trace)


@pytest.fixture
def make_verdict() -> MakeVerdict:
    return verdict_of


@pytest.fixture
def settings(tmp_path: Path) -> JournalSettings:
    return JournalSettings(path=tmp_path / "journal" / "journal.sqlite3", keep_days=1e6)
