from __future__ import annotations

import sqlite3
import threading
import time
from dataclasses import replace

import pytest

from natix_miner.errors import BrokenPictureError, JournalError
from natix_miner.journal import Journal, JournalWriter, Pacing
from natix_miner.journal.rows import Row
from natix_miner.sections import JournalSettings

HASTY = Pacing(batch_seconds=0.005, first_wait=0.01, busy_seconds=0.01)


def test_a_verdict_is_kept_with_all_that_belongs_to_it(
    settings: JournalSettings, make_verdict
) -> None:
    verdict = make_verdict(7, picture=b"\xff\xd8 not really \x00", asked_by="5Abc", label=0)
    with JournalWriter(settings) as writer:
        assert writer.record(verdict) is True

    with Journal(settings.path) as journal:
        (entry,) = journal.entries()
        assert entry.id == verdict.query.id
        assert entry.sha256 == verdict.query.sha256
        assert entry.picture() == verdict.query.picture
        assert entry.picture_bytes == len(verdict.query.picture)
        assert (entry.source, entry.asked_by) == ("axon", "5Abc")
        assert entry.received_at == verdict.query.received_at
        assert (entry.prediction, entry.reason, entry.level) == (0.75, "sure", "first")
        assert (entry.late, entry.error, entry.total_ms) == (False, None, 12.5)
        assert (entry.profile, entry.miner) == ("embedded", "0.1.0")
        assert entry.trace == verdict.trace.model_dump_json()
        assert entry.read_trace() == verdict.trace


def test_no_answer_a_late_one_and_a_picture_error_are_told_apart(
    settings: JournalSettings, make_verdict
) -> None:
    silent = replace(
        make_verdict(1, probability=None, reason="broken"), error=BrokenPictureError("cut")
    )
    late = make_verdict(2, total_ms=7000.5)
    with JournalWriter(settings) as writer:
        writer.record(silent)
        writer.record(late)

    with Journal(settings.path) as journal:
        first, second = journal.entries()
    assert (first.prediction, first.error, first.late) == (-1.0, "broken", False)
    assert (second.prediction, second.error, second.late) == (0.75, None, True)


def test_a_label_that_came_along_is_from_the_testnet(
    settings: JournalSettings, make_verdict
) -> None:
    with JournalWriter(settings) as writer:
        writer.record(make_verdict(1, label=1))
        writer.record(make_verdict(2, label=None))

    with Journal(settings.path) as journal:
        known, unknown = journal.entries()
        assert (known.label, known.label_source) == (1, "testnet")
        assert [label.source for label in known.labels()] == ["testnet"]
        assert (unknown.label, unknown.label_source, unknown.labels()) == (None, None, ())


def test_the_same_picture_is_stored_once(settings: JournalSettings, make_verdict) -> None:
    with JournalWriter(settings) as writer:
        for number in range(30):
            writer.record(make_verdict(number, picture=f"{number % 3}".encode() * 500))

    with Journal(settings.path) as journal:
        assert (journal.counts().queries, journal.counts().pictures) == (30, 3)
        assert all(entry.picture() == entry.picture()[:1] * 500 for entry in journal.entries())


def test_pictures_may_be_left_out(settings: JournalSettings, make_verdict) -> None:
    lean = settings.model_copy(update={"keep_pictures": False})
    with JournalWriter(lean) as writer:
        writer.record(make_verdict(1, picture=b"secret street"))

    with Journal(settings.path) as journal:
        (entry,) = journal.entries()
        assert entry.picture() is None
        assert entry.picture_bytes == 13


def test_everything_recorded_is_written_in_order_by_closing(
    settings: JournalSettings, make_verdict
) -> None:
    writer = JournalWriter(settings).start()
    assert all(writer.record(make_verdict(number)) for number in range(777))
    assert writer.close(20) == 0

    stats = writer.stats()
    assert (stats.written, stats.queued, stats.queued_bytes, dict(stats.lost)) == (777, 0, 0, {})
    with Journal(settings.path) as journal:
        entries = list(journal.entries())
    assert [entry.number for entry in entries] == list(range(1, 778))
    assert [entry.id for entry in entries] == [f"{number:032x}" for number in range(777)]


def test_many_threads_may_record(settings: JournalSettings, make_verdict) -> None:
    with JournalWriter(settings) as writer:
        threads = [
            threading.Thread(
                target=lambda part=part: [
                    writer.record(make_verdict(100 * part + number)) for number in range(100)
                ]
            )
            for part in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.flush(20)
        assert writer.stats().written == 500


def test_a_quiet_writer_commits_without_being_closed(
    settings: JournalSettings, make_verdict
) -> None:
    with JournalWriter(settings) as writer:
        writer.record(make_verdict(1))
        assert writer.flush(10)
        with Journal(settings.path) as journal:
            assert journal.counts().queries == 1


def test_a_second_verdict_with_the_same_id_is_counted_not_written(
    settings: JournalSettings, make_verdict
) -> None:
    with JournalWriter(settings) as writer:
        writer.record(make_verdict(1, query_id="same", probability=0.1))
        writer.record(make_verdict(2, query_id="same", probability=0.9))
        assert writer.flush(10)
        assert (writer.stats().written, dict(writer.stats().lost)) == (1, {"duplicate": 1})
        assert "'same'" in (writer.stats().last_error or "")

    with Journal(settings.path) as journal:
        assert [entry.prediction for entry in journal.entries()] == [0.1]
        assert journal.counts().pictures == 1


@pytest.mark.parametrize("spoilt", ["asked_by", "source", "query_id"])
def test_one_row_that_cannot_be_written_does_not_cost_its_neighbours(
    settings: JournalSettings, make_verdict, spoilt: str
) -> None:
    bad = make_verdict(2)
    field = "id" if spoilt == "query_id" else spoilt
    bad = replace(bad, query=replace(bad.query, **{field: "half a letter \ud800"}))
    with JournalWriter(settings) as writer:
        for verdict in (make_verdict(1), bad, make_verdict(3)):
            assert writer.record(verdict)
        assert writer.flush(10)
        assert (writer.stats().written, dict(writer.stats().lost)) == (2, {"unwritable": 1})

    with Journal(settings.path) as journal:
        assert [entry.received_at for entry in journal.entries()] == [1.7e9 + 1, 1.7e9 + 3]
        assert journal.counts().pictures == 2


def test_a_row_that_fails_half_way_leaves_nothing(settings: JournalSettings, make_verdict) -> None:
    bad = make_verdict(2, label=1)
    # Its query and its trace can be stored, its picture cannot.
    bad = replace(bad, query=replace(bad.query, picture=["no", "bytes"]))
    with JournalWriter(settings) as writer:
        for verdict in (make_verdict(1), bad, make_verdict(3)):
            writer.record(verdict)
        assert writer.flush(10)
        assert dict(writer.stats().lost) == {"unwritable": 1}

    with Journal(settings.path) as journal:
        counts = journal.counts()
    assert (counts.queries, counts.pictures, counts.labelled) == (2, 2, 0)


def test_a_label_that_is_neither_is_refused(settings: JournalSettings, make_verdict) -> None:
    bad = make_verdict(1)
    bad = replace(bad, query=replace(bad.query, label=7))
    with JournalWriter(settings) as writer:
        writer.record(bad)
        assert writer.flush(10)
        assert dict(writer.stats().lost) == {"unwritable": 1}


def locked_out(settings: JournalSettings) -> sqlite3.Connection:
    """Another process's lock, as far as SQLite can tell."""
    other = sqlite3.connect(settings.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_full_queue_refuses_at_once_and_says_so(settings: JournalSettings, make_verdict) -> None:
    losses: list[tuple[str, int]] = []
    small = settings.model_copy(update={"queue": 5})
    writer = JournalWriter(
        small, pacing=HASTY, on_loss=lambda reason, n: losses.append((reason, n))
    ).start()
    other = locked_out(settings)
    answers, slowest = [], 0.0
    for number in range(12):
        started = time.perf_counter()
        answers.append(writer.record(make_verdict(number)))
        slowest = max(slowest, time.perf_counter() - started)

    assert answers == [True] * 5 + [False] * 7
    assert slowest < 1.0  # waiting for the lock would last for ever
    assert losses == [("queue-full", 1)] * 7
    assert dict(writer.stats().lost) == {"queue-full": 7}
    assert writer.stats().queued == 5

    other.close()
    assert writer.close(10) == 0
    assert writer.stats().written == 5


def test_waiting_pictures_are_bounded_in_bytes(settings: JournalSettings, make_verdict) -> None:
    writer = JournalWriter(settings, pacing=replace(HASTY, queue_bytes=2_500)).start()
    other = locked_out(settings)
    answers = [writer.record(make_verdict(number, picture=bytes(1_000))) for number in range(4)]

    assert answers == [True, True, False, False]
    assert writer.stats().queued_bytes == 2_000
    other.close()
    assert writer.flush(10)
    assert writer.stats().queued_bytes == 0
    assert writer.record(make_verdict(9, picture=bytes(1_000)))
    writer.close()


def test_a_writer_that_is_not_running_loses_and_counts(
    settings: JournalSettings, make_verdict
) -> None:
    writer = JournalWriter(settings)
    assert writer.record(make_verdict(1)) is False
    writer.start()
    writer.close()
    assert writer.record(make_verdict(2)) is False

    assert dict(writer.stats().lost) == {"closed": 2}
    assert writer.close() == 0
    with pytest.raises(JournalError, match="make a new one"):
        writer.start()


def test_closing_gives_up_in_time_and_tells_what_was_left(
    settings: JournalSettings, make_verdict
) -> None:
    writer = JournalWriter(settings, pacing=replace(HASTY, batch_rows=4, attempts=1000)).start()
    other = locked_out(settings)
    for number in range(10):
        writer.record(make_verdict(number))
    started = time.perf_counter()

    assert writer.close(0.2) == 10
    assert time.perf_counter() - started < 2.0
    assert sum(writer.stats().lost.values()) == 10
    assert set(writer.stats().lost) == {"locked", "closed"}
    other.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unforeseen_error_ends_the_writer_but_is_not_taken_for_success(
    settings: JournalSettings, make_verdict
) -> None:
    class Faulty(JournalWriter):
        def _commit(self, rows: list[Row]) -> int:
            raise LookupError("a mistake in the code")

    writer = Faulty(settings, pacing=HASTY).start()
    writer.record(make_verdict(1))
    assert writer.flush(10)

    assert dict(writer.stats().lost) == {"writer-ended": 1}
    assert writer.record(make_verdict(2)) is False
    assert writer.close() == 0
