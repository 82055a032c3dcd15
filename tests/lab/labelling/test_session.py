"""One person works through a queue."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest

from natix_miner.errors import JournalError
from natix_miner.journal import Journal, Label, add_labels
from natix_miner.journal.connection import changing
from natix_miner.lab.labelling.notes import Notes
from natix_miner.lab.labelling.progress import Agreement
from natix_miner.lab.labelling.queue import choose
from natix_miner.lab.labelling.session import (
    Answer,
    GoneError,
    NotAskedError,
    Session,
)
from tests.lab.labelling.journals import START, Asked, make_journal

ASKED = [
    Asked(1, probability=0.50),
    Asked(2, probability=0.52, labels=(Label(1, "testnet", START),)),
    Asked(3, probability=0.54, labels=(Label(0, "label:bob", START + 9),)),
    Asked(4, probability=0.56),
]


def session(path: Path, who: str = "ada", **settings: object) -> Session:
    values: dict = {"limit": 100, "random_share": 0.0, **settings}
    return Session(Journal(path), Notes(path), who, partial(choose, who=who, **values))


def holds(path: Path, asked: Asked) -> tuple[int | None, str | None]:
    with Journal(path) as journal:
        entry = journal.find(asked.id)
    return entry.label, entry.label_source


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_journal(tmp_path / "journal.sqlite3", ASKED)


def test_answers_are_in_the_journal_at_once_under_the_persons_name(path: Path) -> None:
    one = session(path)
    one.answer(ASKED[0].id, Answer.ROADWORK)
    one.answer(ASKED[3].id, Answer.NONE)
    assert holds(path, ASKED[0]) == (1, "label:ada")
    assert holds(path, ASKED[3]) == (0, "label:ada")
    done = one.progress()
    assert (done.roadwork, done.none, done.left, done.answered_now) == (1, 1, 2, 2)


def test_others_are_shown_after_the_answer_and_compared(path: Path) -> None:
    one = session(path)
    revealed = one.answer(ASKED[1].id, Answer.ROADWORK)
    assert revealed is not None
    assert revealed.labels == {"testnet": 1}
    assert revealed.prediction == 0.52
    one.answer(ASKED[2].id, Answer.ROADWORK)
    assert one.progress().others == Agreement(1, 1)
    assert one.progress().people == Agreement(1, 0)
    one.undo()
    assert one.progress().people == Agreement(0, 0)
    # Somebody who labels meanwhile is seen, too.
    add_labels(path, [(ASKED[0].id, Label(0, "label:carl", START + 20))])
    shown = one.answer(ASKED[0].id, Answer.NONE)
    assert shown is not None
    assert shown.labels == {"label:carl": 0}


def test_a_skip_changes_no_label_and_reveals_nothing(path: Path) -> None:
    one = session(path)
    before = holds(path, ASKED[1])
    assert one.answer(ASKED[1].id, Answer.SKIP) is None
    assert holds(path, ASKED[1]) == before
    assert one.progress().skipped == 1
    assert ASKED[1].id not in {choice.id for choice in session(path).waiting}
    assert ASKED[1].id in {choice.id for choice in session(path, "bob").waiting}
    assert ASKED[1].id in {choice.id for choice in session(path, again=True).waiting}


@pytest.mark.parametrize("answer", list(Answer))
def test_undo_restores_exactly_what_was(path: Path, answer: Answer) -> None:
    one = session(path)
    before = [holds(path, asked) for asked in ASKED]
    waiting, progress = one.waiting, one.progress()
    for asked in ASKED:
        one.answer(asked.id, answer)
    assert one.waiting == ()
    for _ in ASKED:
        assert one.undo() is not None
    assert one.undo() is None
    assert [holds(path, asked) for asked in ASKED] == before
    assert one.progress() == progress
    assert {choice.id for choice in one.waiting} == {choice.id for choice in waiting}
    assert {choice.id for choice in session(path).waiting} == {choice.id for choice in waiting}


def test_what_was_undone_waits_first_and_can_be_answered_anew(path: Path) -> None:
    one = session(path)
    one.answer(ASKED[1].id, Answer.ROADWORK)
    one.undo()
    assert one.waiting[0].id == ASKED[1].id
    one.answer(ASKED[1].id, Answer.NONE)
    assert holds(path, ASKED[1]) == (0, "label:ada")


def test_it_goes_on_after_a_new_start(path: Path) -> None:
    first = session(path)
    first.answer(ASKED[0].id, Answer.ROADWORK)
    first.answer(ASKED[3].id, Answer.SKIP)
    second = session(path)
    assert {choice.id for choice in second.waiting} == {ASKED[1].id, ASKED[2].id}
    done = second.progress()
    assert (done.roadwork, done.skipped, done.left, done.answered_now) == (1, 1, 2, 0)


def test_what_waits_beyond_the_queue_comes_with_the_next(path: Path) -> None:
    one = session(path, limit=3)
    assert one.progress().beyond == 1
    for choice in one.waiting:
        one.answer(choice.id, Answer.SKIP)
    assert len(one.refill()) == 1
    assert one.progress().beyond == 0


def test_an_answer_comes_once(path: Path) -> None:
    one = session(path)
    one.answer(ASKED[0].id, Answer.ROADWORK)
    with pytest.raises(NotAskedError):
        one.answer(ASKED[0].id, Answer.NONE)
    with pytest.raises(NotAskedError):
        one.answer("nobody", Answer.NONE)
    assert holds(path, ASKED[0]) == (1, "label:ada")


def prune(path: Path, asked: Asked) -> None:
    with changing(path) as connection:
        connection.execute("DELETE FROM queries WHERE id = ?", (asked.id,))


def test_a_query_that_was_pruned_meanwhile_is_gone_and_the_rest_goes_on(path: Path) -> None:
    one = session(path)
    prune(path, ASKED[0])
    with pytest.raises(GoneError, match="no longer in the journal"):
        one.answer(ASKED[0].id, Answer.ROADWORK)
    assert one.progress().left == 3
    one.answer(ASKED[3].id, Answer.ROADWORK)
    prune(path, ASKED[3])
    with pytest.raises(GoneError):
        one.undo()
    assert one.undo() is None


def test_an_answer_that_could_not_be_written_still_waits(path: Path) -> None:
    one = session(path)
    away = path.with_name("away")
    path.rename(away)
    with pytest.raises(JournalError, match="there is no journal at"):
        one.answer(ASKED[0].id, Answer.ROADWORK)
    assert one.waiting[0].id == ASKED[0].id
    assert one.progress().answered_now == 0
    away.rename(path)
    one.answer(ASKED[0].id, Answer.ROADWORK)
    assert holds(path, ASKED[0]) == (1, "label:ada")


def test_an_answer_waits_for_a_miner_that_is_writing(path: Path) -> None:
    one = session(path)
    miner = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    miner.execute("BEGIN IMMEDIATE")
    answered = threading.Thread(target=one.answer, args=(ASKED[0].id, Answer.ROADWORK))
    answered.start()
    answered.join(0.2)
    assert answered.is_alive()
    assert holds(path, ASKED[0]) == (None, None)
    miner.execute("COMMIT")
    miner.close()
    answered.join(20)
    assert holds(path, ASKED[0]) == (1, "label:ada")


def test_labels_of_drawn_pictures_are_noted(path: Path) -> None:
    one = session(path, random_share=1.0)
    one.answer(ASKED[0].id, Answer.ROADWORK)
    assert Notes(path).drawn() == {("ada", ASKED[0].sha256)}
    one.undo()
    assert Notes(path).drawn() == frozenset()
