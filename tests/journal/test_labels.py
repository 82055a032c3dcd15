"""Labels of many queries at once, and taking one back."""

from __future__ import annotations

from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.journal import Journal, Label, add_labels, newest_by_source, take_back
from natix_miner.journal.connection import open_for_writing
from natix_miner.journal.rows import Row, insert
from tests.journal.conftest import verdict_of


class At:
    """A clock that stands still."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite3"
    connection = open_for_writing(path)
    connection.execute("BEGIN")
    insert(connection, [Row.of(verdict_of(number)) for number in range(3)])
    connection.execute("COMMIT")
    connection.close()
    return path


def query(number: int) -> str:
    return f"{number:032x}"


def holds(path: Path, number: int = 0) -> tuple[int | None, str | None]:
    with Journal(path) as journal:
        entry = journal.find(query(number))
    return entry.label, entry.label_source


def said(path: Path, number: int = 0) -> dict[str, int | None]:
    with Journal(path) as journal:
        return {s: row.label for s, row in newest_by_source(journal.labels(query(number))).items()}


def test_all_labels_are_read_with_their_pictures_the_newest_last(path: Path) -> None:
    add_labels(path, [(query(2), Label(1, "a", 30.0)), (query(0), Label(0, "b", 10.0))])
    with Journal(path) as journal:
        rows = journal.all_labels()
        sha256 = journal.find(query(2)).sha256
    assert [(row.query_id, row.label.source) for row in rows] == [(query(0), "b"), (query(2), "a")]
    assert rows[1].sha256 == sha256


def test_an_older_label_that_is_added_later_does_not_hold(path: Path) -> None:
    add_labels(path, [(query(0), Label(1, "a", 50.0))])
    add_labels(path, [(query(0), Label(0, "b", 40.0))])
    assert holds(path) == (1, "a")
    assert said(path) == {"b": 0, "a": 1}


def test_one_unknown_query_among_many_labels_and_nothing_is_written(path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        add_labels(path, [(query(0), Label(1, "a", 1.0)), ("nobody", Label(1, "a", 1.0))])
    assert holds(path) == (None, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], (None, None)),
        ([Label(1, "testnet", 1.0)], (1, "testnet")),
        ([Label(0, "label:bob", 1.0), Label(None, "label:bob", 2.0)], (None, None)),
        ([Label(1, "label:ada", 1.0)], (1, "label:ada")),
        ([Label(1, "label:ada", 1.0), Label(0, "label:bob", 2.0)], (0, "label:bob")),
    ],
)
def test_what_held_before_holds_again_and_each_source_says_what_it_said(
    path: Path, before: list[Label], after: tuple[int | None, str | None]
) -> None:
    add_labels(path, [(query(0), label) for label in before])
    told = said(path)
    add_labels(path, [(query(0), Label(0, "label:ada", 5.0))])
    take_back(path, query(0), "label:ada", clock=At(9.0))
    assert holds(path) == after
    assert said(path) == told


def test_a_label_that_somebody_set_meanwhile_still_holds(path: Path) -> None:
    add_labels(path, [(query(0), Label(1, "label:ada", 5.0))])
    add_labels(path, [(query(0), Label(0, "label:bob", 6.0))])
    take_back(path, query(0), "label:ada", clock=At(9.0))
    assert holds(path) == (0, "label:bob")
    assert said(path) == {"label:bob": 0}


def test_a_clock_that_was_set_back_does_not_keep_the_label(path: Path) -> None:
    add_labels(path, [(query(0), Label(1, "label:ada", 500.0))])
    take_back(path, query(0), "label:ada", clock=At(1.0))
    assert holds(path) == (None, None)


def test_nothing_to_take_back_is_said(path: Path) -> None:
    add_labels(path, [(query(0), Label(1, "label:bob", 1.0))])
    with pytest.raises(JournalError, match="label:ada has set no label"):
        take_back(path, query(0), "label:ada")
    assert holds(path) == (1, "label:bob")


def test_the_queries_of_a_picture_and_the_kept_pictures(path: Path, tmp_path: Path) -> None:
    with Journal(path) as journal:
        first = journal.find(query(0)).sha256
        assert journal.queries_of(first) == (query(0),)
        assert journal.queries_of("f" * 64) == ()
        assert len(journal.kept_pictures()) == 3
        assert first in journal.kept_pictures()
