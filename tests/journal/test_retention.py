from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.journal import Journal, JournalWriter, Pacing, Retention
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.retention import (
    DAY_SECONDS,
    STEP_ENTRIES,
    prune,
    prune_step,
    size,
)
from natix_miner.journal.rows import Row, insert
from natix_miner.sections import JournalSettings

NOW = 1_800_000_000.0


@dataclass(frozen=True)
class StandingClock:
    """Wall time that stands still; the monotonic one is the machine's."""

    now: float = NOW

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        import time

        return time.monotonic()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def fill(path: Path, rows: list[Row]) -> sqlite3.Connection:
    connection = open_for_writing(path)
    connection.execute("BEGIN")
    insert(connection, rows)
    connection.execute("COMMIT")
    return connection


def ids(connection: sqlite3.Connection) -> list[int]:
    found = connection.execute("SELECT id FROM queries ORDER BY number")
    return [int(one, 16) for (one,) in found]


def run_out(connection: sqlite3.Connection, keep: Retention) -> int:
    """Steps until there is nothing to do; how many did something."""
    for step in range(10_000):
        if not prune_step(connection, keep, NOW).more:
            return step
    raise AssertionError("pruning never ends")


def test_old_entries_without_a_label_go_labelled_ones_stay(path: Path, make_verdict) -> None:
    ages = {1: 31.0, 2: 31.0, 3: 29.0, 4: 300.0}
    labels = {2: 1, 4: 0}
    connection = fill(
        path,
        [
            Row.of(make_verdict(n, received_at=NOW - days * DAY_SECONDS, label=labels.get(n)))
            for n, days in ages.items()
        ],
    )
    run_out(connection, Retention(keep_days=30.0))

    assert ids(connection) == [2, 3, 4]
    assert connection.execute("SELECT count(*) FROM pictures").fetchone() == (3,)
    connection.close()


def test_a_picture_goes_with_its_last_query_and_not_before(path: Path, make_verdict) -> None:
    old, new = NOW - 40 * DAY_SECONDS, NOW
    connection = fill(
        path,
        [
            Row.of(make_verdict(1, picture=b"shared", received_at=old)),
            Row.of(make_verdict(2, picture=b"shared", received_at=new)),
            Row.of(make_verdict(3, picture=b"alone", received_at=old)),
        ],
    )
    run_out(connection, Retention(keep_days=30.0))

    assert connection.execute("SELECT picture FROM pictures").fetchall() == [(b"shared",)]
    connection.close()


def test_labels_go_with_their_query(path: Path, make_verdict) -> None:
    old = NOW - 40 * DAY_SECONDS
    verdict = make_verdict(1, received_at=old, label=1)
    connection = fill(path, [Row.of(verdict), Row.of(make_verdict(2, received_at=NOW, label=0))])
    connection.execute(
        "INSERT INTO labels (query_id, label, source, set_at) VALUES (?, NULL, 'set', ?)",
        (verdict.query.id, NOW),
    )
    run_out(connection, Retention(keep_days=30.0))

    assert ids(connection) == [2]
    assert connection.execute("SELECT count(*) FROM labels").fetchone() == (1,)
    connection.close()


def test_too_large_a_journal_loses_the_oldest_and_labelled_ones_last(
    path: Path, make_verdict
) -> None:
    """Hundred entries of 20 kB, every fifth labelled; room for about fifty."""
    connection = fill(
        path,
        [
            Row.of(
                make_verdict(
                    n,
                    picture=os.urandom(20_000),
                    received_at=NOW - (110 - n) * DAY_SECONDS,
                    label=1 if n % 5 == 0 else None,
                )
            )
            for n in range(100)
        ],
    )
    limit = 50 * size(connection).used / 100
    run_out(connection, Retention(keep_gigabytes=limit / 1e9))

    left = ids(connection)
    assert size(connection).used <= limit
    assert 40 <= len(left) <= 50
    labelled = [n for n in range(100) if n % 5 == 0]
    others = [n for n in left if n % 5]
    assert [n for n in left if n % 5 == 0] == labelled
    assert others == [n for n in range(100) if n % 5][-len(others) :]

    run_out(connection, Retention(keep_gigabytes=limit / 4e9))
    rest = ids(connection)
    assert rest == labelled[-len(rest) :]
    assert 0 < len(rest) < 20
    connection.close()


def test_labels_do_not_push_out_what_came_today(path: Path, make_verdict) -> None:
    rows = [
        Row.of(make_verdict(n, picture=os.urandom(20_000), received_at=NOW - 1e7 + n, label=1))
        for n in range(50)
    ] + [
        Row.of(make_verdict(n, picture=os.urandom(20_000), received_at=NOW - 100 + n))
        for n in range(50, 60)
    ]
    connection = fill(path, rows)
    run_out(connection, Retention(keep_gigabytes=size(connection).used / 3e9))

    left = ids(connection)
    assert left[-10:] == list(range(50, 60))
    assert left[:-10] == list(range(50))[-len(left[:-10]) :]
    connection.close()


def test_of_todays_entries_the_oldest_go_first_whether_labelled_or_not(
    path: Path, make_verdict
) -> None:
    rows = [
        Row.of(
            make_verdict(
                n,
                picture=os.urandom(20_000),
                received_at=NOW - 1000 + n,
                label=1 if n % 2 else None,
            )
        )
        for n in range(40)
    ]
    connection = fill(path, rows)
    run_out(connection, Retention(keep_gigabytes=size(connection).used / 2e9))

    left = ids(connection)
    assert 10 < len(left) < 21
    assert left == list(range(40))[-len(left) :]
    connection.close()


def test_a_step_is_bounded_in_entries_and_in_bytes(
    path: Path, make_verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = NOW - 40 * DAY_SECONDS
    connection = fill(path, [Row.of(make_verdict(n, received_at=old)) for n in range(500)])
    assert prune_step(connection, Retention(keep_days=30.0), NOW).entries == STEP_ENTRIES
    connection.close()

    monkeypatch.setattr("natix_miner.journal.retention.STEP_BYTES", 300_000)
    big = 100_000
    connection = fill(
        path.with_name("large.sqlite3"),
        [Row.of(make_verdict(n, picture=bytes([n]) * big, received_at=old)) for n in range(8)],
    )
    step = prune_step(connection, Retention(keep_days=30.0), NOW)
    assert (step.entries, step.pictures, step.more) == (3, 3, True)
    connection.close()


def test_the_file_shrinks_when_much_is_removed(path: Path, make_verdict) -> None:
    rows = [
        Row.of(
            make_verdict(
                n,
                picture=os.urandom(20_000),
                received_at=NOW - (40 * DAY_SECONDS if n < 180 else 0),
            )
        )
        for n in range(200)
    ]
    fill(path, rows).close()
    before = path.stat().st_size
    done = prune(path, Retention(keep_days=30.0), clock=StandingClock())

    assert (done.entries, done.pictures) == (180, 180)
    assert path.stat().st_size < before / 5
    with Journal(path) as journal:
        assert journal.counts().queries == 20


def test_free_pages_are_given_back_many_at_a_time(path: Path, make_verdict) -> None:
    rows = [Row.of(make_verdict(n, picture=os.urandom(20_000))) for n in range(150)]
    connection = fill(path, rows)
    nothing = Retention(keep_gigabytes=0.0)
    step = prune_step(connection, nothing, NOW)

    assert step.entries > 100
    assert step.pages > 300
    assert run_out(connection, nothing) < 10
    connection.close()


def test_no_limits_and_impossible_ones_end(path: Path, make_verdict) -> None:
    connection = fill(path, [Row.of(make_verdict(n, received_at=0.0)) for n in range(30)])
    assert run_out(connection, Retention()) == 0
    assert len(ids(connection)) == 30
    run_out(connection, Retention(keep_gigabytes=0.0))
    assert ids(connection) == []
    connection.close()


def test_the_writer_prunes_while_it_writes(settings: JournalSettings, make_verdict) -> None:
    narrow = settings.model_copy(update={"keep_days": 30.0, "keep_gigabytes": 0.002})
    pacing = Pacing(batch_rows=20, batch_seconds=0.001, prune_seconds=0.001)
    with JournalWriter(narrow, clock=StandingClock(), pacing=pacing) as writer:
        for n in range(400):
            writer.record(make_verdict(n, picture=os.urandom(20_000), received_at=NOW - 500 + n))
            if n % 100 == 99:
                assert writer.flush(10)
        assert writer.flush(10)
        stats = writer.stats()
    assert (stats.written, dict(stats.lost), stats.prune_failures) == (400, {}, 0)
    assert stats.pruned > 250

    with Journal(settings.path) as journal:
        kept = [int(entry.id, 16) for entry in journal.entries()]
        assert kept == list(range(400))[-len(kept) :]
        assert journal.counts().pictures == len(kept)


def test_pruning_what_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(JournalError, match="no journal at"):
        prune(path, Retention(keep_days=1.0))
    assert not path.exists()
