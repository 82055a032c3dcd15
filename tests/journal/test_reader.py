from __future__ import annotations

import threading
from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.journal import Filter, Journal, JournalWriter, Label, Pacing
from natix_miner.journal.connection import writing
from natix_miner.journal.reader import PAGE_ENTRIES
from natix_miner.journal.rows import add_label
from natix_miner.sections import JournalSettings


class SteppingClock:
    """Wall time that is set by hand."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def filled(settings: JournalSettings, verdicts: list) -> Journal:
    with JournalWriter(settings) as writer:
        assert all(writer.record(verdict) for verdict in verdicts)
    return Journal(settings.path)


def numbers(journal: Journal, which: Filter | None = None, **more) -> list[int]:
    return [int(entry.id, 16) for entry in journal.entries(which, **more)]


def test_entries_come_in_the_order_of_arrival_not_of_writing(
    settings: JournalSettings, make_verdict
) -> None:
    times = {1: 30.0, 2: 10.0, 3: 20.0, 4: 10.0}
    journal = filled(settings, [make_verdict(n, received_at=at) for n, at in times.items()])

    assert numbers(journal) == [2, 4, 3, 1]
    assert numbers(journal, newest_first=True) == [1, 3, 4, 2]


@pytest.mark.parametrize("count", [0, 1, PAGE_ENTRIES, PAGE_ENTRIES + 1, 3 * PAGE_ENTRIES])
@pytest.mark.parametrize("newest_first", [False, True])
def test_no_entry_is_left_out_or_twice_between_pages(
    settings: JournalSettings, make_verdict, count: int, newest_first: bool
) -> None:
    # Many arrive at the very same moment, as a page's edge has to bear.
    journal = filled(settings, [make_verdict(n, received_at=float(n // 50)) for n in range(count)])
    expected = list(range(count))[:: -1 if newest_first else 1]

    assert numbers(journal, newest_first=newest_first) == expected
    for limit in (0, 1, PAGE_ENTRIES, 150):
        assert numbers(journal, newest_first=newest_first, limit=limit) == expected[:limit]


def test_filters_narrow_together(settings: JournalSettings, make_verdict) -> None:
    journal = filled(
        settings,
        [
            make_verdict(1, received_at=10.0, asked_by="a", label=1),
            make_verdict(2, received_at=20.0, asked_by="a"),
            make_verdict(3, received_at=30.0, asked_by="b", label=0),
            make_verdict(4, received_at=40.0, asked_by=None, label=1),
        ],
    )
    assert numbers(journal, Filter(since=20.0)) == [2, 3, 4]
    assert numbers(journal, Filter(until=20.0)) == [1]
    assert numbers(journal, Filter(labelled=True)) == [1, 3, 4]
    assert numbers(journal, Filter(asked_by="a")) == [1, 2]
    assert numbers(journal, Filter(since=20.0, labelled=True)) == [3, 4]
    assert numbers(journal, Filter(asked_by="a", labelled=True)) == [1]

    counts = journal.counts()
    assert (counts.queries, counts.labelled, counts.first, counts.last) == (4, 3, 10.0, 40.0)
    assert dict(counts.asked_by) == {"a": 2, "b": 1, None: 1}
    assert journal.counts(Filter(since=25.0)).queries == 2


def test_an_entry_is_found_by_its_id_or_by_how_it_begins(
    settings: JournalSettings, make_verdict
) -> None:
    journal = filled(
        settings,
        [make_verdict(n, query_id=one) for n, one in enumerate(("ab", "abc", "abd", "x%_y", "é"))],
    )
    assert journal.find("ab").id == "ab"  # a whole id, though others begin so
    assert journal.find("abd").id == "abd"
    assert journal.find("x").id == "x%_y"
    assert journal.find("é").id == "é"
    with pytest.raises(JournalError, match=r"more than one.*more letters"):
        journal.find("a")
    for nothing in ("%", "", "abcd"):
        with pytest.raises(JournalError, match="no query"):
            journal.find(nothing)


def test_the_newest_label_wins_and_the_history_stays(
    settings: JournalSettings, make_verdict
) -> None:
    filled(settings, [make_verdict(1, label=1, received_at=100.0), make_verdict(2)]).close()
    clock = SteppingClock(200.0)
    journal = Journal(settings.path, clock=clock)
    query = f"{1:032x}"

    assert (journal.find(query).label, journal.find(query).label_source) == (1, "testnet")
    changed = journal.set_label(query, 0, "looked at it")
    assert (changed.label, changed.label_source) == (0, "looked at it")
    clock.now = 50.0  # a clock set back does not bring an old label to the fore
    assert journal.set_label(query, None).label is None
    assert [(one.label, one.source, one.set_at) for one in journal.labels(query)] == [
        (1, "testnet", 100.0),
        (0, "looked at it", 200.0),
        (None, "set", 200.0),
    ]
    assert journal.find(f"{2:032x}").label is None
    assert journal.counts().labelled == 0


def test_of_labels_that_come_in_any_order_the_one_set_last_holds(
    settings: JournalSettings, make_verdict
) -> None:
    filled(settings, [make_verdict(1)]).close()
    query = f"{1:032x}"
    with writing(settings.path) as connection:
        for label, set_at in ((0, 300.0), (1, 100.0), (None, 200.0)):
            add_label(connection, query, Label(label, "history", set_at))

    with Journal(settings.path) as journal:
        assert journal.find(query).label == 0


def test_a_label_is_one_of_three(settings: JournalSettings, make_verdict) -> None:
    journal = filled(settings, [make_verdict(1)])
    with pytest.raises(JournalError, match="not 2"):
        journal.set_label(f"{1:032x}", 2)
    with pytest.raises(JournalError, match="no query 'zz'"):
        journal.set_label("zz", 1)


def test_reading_and_labelling_work_while_the_miner_writes(
    settings: JournalSettings, make_verdict
) -> None:
    pacing = Pacing(batch_rows=10, batch_seconds=0.001)
    with JournalWriter(settings, pacing=pacing) as writer:
        writer.record(make_verdict(0))
        assert writer.flush(10)
        seen, done = [], threading.Event()

        def read() -> None:
            with Journal(settings.path) as journal:
                while not done.is_set():
                    seen.append(len(list(journal.entries())))
                    journal.set_label(f"{0:032x}", len(seen) % 2)

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(1, 600):
            writer.record(make_verdict(number))
            if number % 50 == 0:
                assert writer.flush(10)
        assert writer.flush(10)
        done.set()
        reader.join()
        assert (writer.stats().written, dict(writer.stats().lost)) == (600, {})

    assert seen == sorted(seen)
    with Journal(settings.path) as journal:
        assert journal.counts().queries == 600
        assert len(journal.labels(f"{0:032x}")) == len(seen)


def test_entries_written_after_the_call_are_left_out(
    settings: JournalSettings, make_verdict
) -> None:
    with JournalWriter(settings) as writer:
        for number in range(300):
            writer.record(make_verdict(number))
        assert writer.flush(10)
        with Journal(settings.path) as journal:
            entries = journal.entries()
            first = next(entries)
            for number in range(300, 400):
                writer.record(make_verdict(number))
            assert writer.flush(10)
            assert first.number + len(list(entries)) == 300


def test_what_is_no_journal_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, words in (("nowhere", "no journal at"), (".", "not a file"), ("empty", "empty")):
        with pytest.raises(JournalError, match=words):
            Journal(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()
