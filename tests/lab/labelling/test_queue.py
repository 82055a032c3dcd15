"""Which pictures of a journal are asked, and in what order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from natix_miner.journal import Journal, Label
from natix_miner.journal.connection import writing
from natix_miner.lab.labelling.notes import Notes
from natix_miner.lab.labelling.queue import Queue, choose
from tests.lab.labelling.journals import START, Asked, jpeg, make_journal


def chosen(path: Path, who: str = "ada", **settings: object) -> Queue:
    with Journal(path) as journal:
        values: dict = {"limit": 100, "random_share": 0.0, **settings}
        return choose(journal, Notes(path), who, **values)


def numbers(queue: Queue) -> list[int]:
    return [int(choice.id, 16) for choice in queue.choices]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def journal(path: Path, asked: Iterable[Asked]) -> None:
    make_journal(path, asked)


def test_the_most_uncertain_and_most_disputed_come_first(path: Path) -> None:
    journal(
        path,
        [
            Asked(1, probability=0.99),
            Asked(2, probability=0.55),
            Asked(3, probability=0.55, disagreement=5.0),
            Asked(4, probability=0.01, novelty=1.0),
            Asked(5, probability=None, votes={"network": None}),
        ],
    )
    assert numbers(chosen(path)) == [3, 5, 2, 4, 1]


def test_what_cannot_be_asked_is_left_out_and_counted(path: Path) -> None:
    same = jpeg(9)
    journal(
        path,
        [
            Asked(1, picture=same),
            Asked(2, picture=same, probability=0.6),
            Asked(3, kept=False),
            Asked(4, picture=b"no picture", error="not-a-picture", probability=None),
            Asked(5, labels=(Label(1, "label:ada", START),)),
            Asked(6),
            Asked(7),
        ],
    )
    with writing(path) as connection:
        connection.execute("UPDATE traces SET trace = '{\"format\": 99}' WHERE number = 6")
    Notes(path).add("ada", Asked(7).sha256, "skip")
    queue = chosen(path)
    assert numbers(queue) == [2]  # the newest query of the two with one picture
    counted = queue.counted
    assert (counted.entries, counted.waiting, counted.copies, counted.not_kept) == (7, 1, 1, 1)
    assert (counted.no_picture, counted.done, counted.skipped, counted.unreadable) == (1, 1, 1, 1)
    assert numbers(chosen(path, again=True)) == [7, 2]


def test_a_label_on_any_query_with_the_picture_counts(path: Path) -> None:
    same = jpeg(9)
    labels = (Label(1, "label:ada", START),)
    journal(path, [Asked(1, picture=same, labels=labels), Asked(2, picture=same)])
    assert numbers(chosen(path)) == []
    assert chosen(path).counted.done == 1
    assert numbers(chosen(path, who="bob")) == [2]


def test_a_label_that_was_taken_back_is_asked_again(path: Path) -> None:
    history = (Label(1, "label:ada", START), Label(None, "label:ada", START + 1))
    journal(path, [Asked(1, labels=history)])
    queue = chosen(path)
    assert numbers(queue) == [1]
    assert not queue.choices[0].labelled


def test_what_others_have_labelled_is_asked_later_as_a_second_opinion(path: Path) -> None:
    journal(
        path,
        [
            Asked(1, probability=0.5, labels=(Label(1, "testnet", START),)),
            Asked(2, probability=0.3),
        ],
    )
    queue = chosen(path)
    assert numbers(queue) == [2, 1]
    assert [choice.labelled for choice in queue.choices] == [False, True]


def test_a_share_of_places_is_drawn_at_random_and_stays_the_same_draw(path: Path) -> None:
    asked = [Asked(number, probability=0.3 + number / 1000) for number in range(200)]
    journal(path, asked)
    queue = chosen(path, random_share=0.2, limit=50, seed=3)
    drawn = [choice for choice in queue.choices if choice.drawn]
    assert [choice.drawn for choice in queue.choices] == [False, False, False, False, True] * 10
    best = [choice.score for choice in queue.choices if not choice.drawn]
    assert best == sorted(best, reverse=True)
    # A draw knows nothing of the score: its mean is that of all, within four standard errors.
    scores = [2 * (0.3 + number / 1000) for number in range(200)]
    mean = sum(scores) / len(scores)
    error = (sum((s - mean) ** 2 for s in scores) / len(scores) / len(drawn)) ** 0.5
    assert sum(choice.score for choice in drawn) / len(drawn) == pytest.approx(mean, abs=4 * error)
    assert numbers(chosen(path, random_share=0.2, limit=50, seed=3)) == numbers(queue)
    other = chosen(path, random_share=0.2, limit=50, seed=4)
    assert {c.id for c in other.choices if c.drawn} != {c.id for c in drawn}
    # Answering what was drawn first moves the draw on, it does not shuffle it.
    notes = Notes(path)
    notes.add("ada", drawn[0].sha256, "skip")
    later = [c.id for c in chosen(path, random_share=0.2, limit=50, seed=3).choices if c.drawn]
    assert later[:9] == [choice.id for choice in drawn[1:]]


def test_nothing_is_drawn_with_a_share_of_nothing_and_all_with_a_share_of_one(path: Path) -> None:
    journal(path, [Asked(number) for number in range(20)])
    assert not any(choice.drawn for choice in chosen(path, random_share=0.0).choices)
    everything = chosen(path, random_share=1.0)
    assert len(everything.choices) == 20
    assert all(choice.drawn for choice in everything.choices)


def test_the_limit_cuts_the_queue_not_the_count(path: Path) -> None:
    journal(path, [Asked(number) for number in range(20)])
    queue = chosen(path, limit=5)
    assert len(queue.choices) == 5
    assert queue.counted.waiting == 20


def test_an_empty_journal_asks_nothing(path: Path) -> None:
    journal(path, [])
    assert chosen(path).choices == ()
