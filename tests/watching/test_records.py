"""What the journal tells, on entries counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.scoring import rewards
from natix_miner.watching import records
from natix_miner.watching.records import read_record
from tests.watching.conftest import ALICE, BOB, NOW, labelled, row, trace, write_journal


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alice: 4 in the last hour (1 no answer, 1 picture error), 2 more today, 3 a week ago.
    Bob: 1 today, late."""
    rows = [
        row(0),
        row(1, total_ms=300.0, level="close", trace=trace(("net", "ok", 20.0), ("vlm", "ok", 9.0))),
        row(2, prediction=-1.0, reason="deadline", trace=trace(("net", "timeout", 50.0))),
        row(3, prediction=-1.0, error="broken", level=None, trace=trace()),
        row(4, received_at=NOW - 7200.0),
        row(5, received_at=NOW - 7200.0),
        row(6, received_at=NOW - 7200.0, asked_by=BOB, late=True, total_ms=8000.0),
        *(row(n, received_at=NOW - 7 * 86400.0) for n in (7, 8, 9)),
    ]
    return write_journal(tmp_path_factory.mktemp("j") / "journal.sqlite3", rows)


def test_windows_are_told_apart(journal: Path):
    hour, day, everything = read_record(journal, NOW).windows

    assert (hour.name, hour.queries, hour.answered) == ("hour", 4, 2)
    assert (hour.no_answer, hour.picture_errors, hour.late) == (1, 1, 0)
    assert hour.answer_rate == 0.5
    assert (day.queries, day.answered, day.late) == (7, 5, 1)
    assert (everything.queries, everything.answered) == (10, 8)
    assert everything.no_answer is None  # not told apart from picture errors without reading all


def test_a_validator_has_its_own_counts(journal: Path):
    alice, bob = read_record(journal, NOW).validators

    assert (alice.hotkey, alice.queries) == (ALICE, 9)
    assert [window.queries for window in alice.windows] == [4, 6]
    assert (bob.hotkey, bob.queries, bob.windows[1].late) == (BOB, 1, 1)
    assert (bob.labelled, bob.reward) == (0, None)


def test_percentiles_are_exact(journal: Path):
    # Of the day without the picture error: 100, 100, 100, 100, 300 and 8000 ms.
    latency = read_record(journal, NOW).latency

    assert latency is not None
    assert (latency.source, latency.queries) == ("journal", 6)
    assert (latency.p50, latency.p95, latency.p99) == (0.1, 8.0, 8.0)


def test_experts_and_levels_come_from_the_traces(journal: Path):
    record = read_record(journal, NOW)

    net, vlm = record.experts
    assert (net.name, net.asked) == ("net", 6)
    assert net.statuses == pytest.approx({"ok": 5 / 6, "timeout": 1 / 6})
    assert net.seconds == 0.01
    assert (vlm.name, vlm.asked, vlm.seconds) == ("vlm", 1, 0.009)
    assert record.levels == {"fast": 5, "close": 1, "none": 1}
    assert record.looked_at == 7


def test_a_day_without_queries_still_tells_of_the_last_ones(journal: Path):
    record = read_record(journal, NOW + 3 * 86400.0)

    assert [window.queries for window in record.windows] == [0, 0, 10]
    assert record.looked_at == 10


def test_a_day_too_long_to_read_is_counted_all_the_same(journal: Path, monkeypatch):
    monkeypatch.setattr(records, "MOST_ENTRIES", 3)
    hour, day, _ = read_record(journal, NOW).windows

    assert (hour.queries, hour.answered, hour.no_answer) == (4, 2, None)
    assert (day.queries, day.answered, day.late, day.picture_errors) == (7, 5, 1, None)


def test_rewards_are_those_of_the_validators_windows(tmp_path: Path):
    answers = [0.9, 0.2, 0.8, 0.4, 0.1, 0.7] * 25
    truth = [1, 0, 1, 1, 0, 0] * 25
    rows = [
        row(n, received_at=NOW - 1000.0 + n, prediction=answer, labels=labelled(label))
        for n, (answer, label) in enumerate(zip(answers, truth, strict=True))
    ]
    rows.append(row(999, asked_by=BOB, prediction=0.9, labels=labelled(1)))
    path = write_journal(tmp_path / "journal.sqlite3", rows)

    alice, bob = read_record(path, NOW).validators

    assert alice.labelled == 150
    assert alice.reward == pytest.approx(rewards(answers, truth)[-100:].mean())
    # The last ten are places 2 3 4 5 0 1 2 3 4 5 of the pattern; 3 and 5 are wrong, twice each.
    assert alice.accuracy == pytest.approx(0.6)
    # One label: no class to correlate, so (0.5 * 0 + 0.5 * 1) ** 3.
    assert (bob.labelled, bob.reward) == (1, pytest.approx(0.125))


def test_the_journal_is_read_while_it_is_written(tmp_path: Path):
    from natix_miner.journal.connection import open_for_writing
    from natix_miner.journal.rows import insert

    path = write_journal(tmp_path / "journal.sqlite3", [row(0)])
    writer = open_for_writing(path)
    writer.execute("BEGIN IMMEDIATE")
    insert(writer, [row(1)])
    assert read_record(path, NOW).part.queries == 1
    writer.execute("COMMIT")
    assert read_record(path, NOW).part.queries == 2
    writer.close()


def test_no_journal_is_an_error_in_words(tmp_path: Path):
    with pytest.raises(JournalError, match="there is no journal at"):
        read_record(tmp_path / "none.sqlite3", NOW)
