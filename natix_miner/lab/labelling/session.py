"""One person labelling one journal: answers go into the journal at once, and can be taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from natix_miner.errors import JournalError
from natix_miner.journal import Journal, Label, newest_by_source, take_back
from natix_miner.lab.labelling.notes import Did, Note, Notes
from natix_miner.lab.labelling.people import person_of, source_of
from natix_miner.lab.labelling.progress import Agreement, Progress, Revealed
from natix_miner.lab.labelling.queue import Choice, Queue


class Answer(StrEnum):
    """What a key says."""

    ROADWORK = "roadwork"
    NONE = "none"
    SKIP = "skip"


LABELS = {Answer.ROADWORK: 1, Answer.NONE: 0}


class Choosing(Protocol):
    """Makes a new queue out of what the journal holds now."""

    def __call__(self, journal: Journal, notes: Notes) -> Queue: ...


class NotAskedError(JournalError):
    """An answer to a picture that is not in the queue, or was answered before."""


class GoneError(JournalError):
    """The query was removed from the journal meanwhile (pruned)."""


@dataclass(frozen=True, slots=True)
class _Step:
    choice: Choice
    answer: Answer
    former: Note | None


class Session:
    """A queue that is worked through. May be used by threads: one answer after the other."""

    def __init__(self, journal: Journal, notes: Notes, who: str, choosing: Choosing) -> None:
        self.who = who
        self._journal = journal
        self._notes = notes
        self._source = source_of(who)
        self._choosing = choosing
        self._lock = threading.Lock()
        self._steps: list[_Step] = []
        self._queue: dict[str, Choice] = {}
        self._others: dict[str, dict[str, int]] = {}
        self._mine: dict[str, int] = {}
        self._fill()

    @property
    def waiting(self) -> tuple[Choice, ...]:
        """What is still to be asked, in order."""
        with self._lock:
            return tuple(self._queue.values())

    def refill(self) -> tuple[Choice, ...]:
        """Choose anew from the journal as it is now; what was answered cannot be undone after it.

        Raises JournalError.
        """
        with self._lock:
            self._fill()
            self._steps.clear()
            return tuple(self._queue.values())

    def picture(self, sha256: str) -> bytes | None:
        """The encoded picture; None when the journal does not hold it. Raises JournalError."""
        return self._journal.picture(sha256)

    def answer(self, query_id: str, answer: Answer) -> Revealed | None:
        """Write an answer down; what others say of the picture (None for a skip, so that nobody is
        led when he is asked again).

        Raises NotAskedError, GoneError, or JournalError when it could not be written: the picture
        then still waits.
        """
        with self._lock:
            choice = self._queue.get(query_id)
            if choice is None:
                raise NotAskedError(f"the query {query_id} is not waiting for an answer")
            try:
                self._must_be_there(choice)
            except GoneError:
                del self._queue[query_id]
                raise
            former = self._notes.of(self.who, choice.sha256)
            others = self._said_by_others(choice.sha256)
            did: Did = "skip" if answer is Answer.SKIP else "label"
            # The note first: one without its label does no harm, a label without its note would
            # count as chosen.
            self._notes.add(self.who, choice.sha256, did, drawn=choice.drawn)
            if answer is not Answer.SKIP:
                self._journal.set_label(choice.id, LABELS[answer], self._source)
                self._mine[choice.sha256] = LABELS[answer]
                self._others[choice.sha256] = others
            del self._queue[query_id]
            self._steps.append(_Step(choice, answer, former))
            return None if answer is Answer.SKIP else Revealed(others, choice.prediction)

    def undo(self) -> Choice | None:
        """Take the last answer back: all is as it was before, and the picture waits again, first.

        None when there is nothing to undo. Raises GoneError (the answer is forgotten) and
        JournalError (the answer still stands).
        """
        with self._lock:
            if not self._steps:
                return None
            step = self._steps[-1]
            sha256 = step.choice.sha256
            try:
                self._must_be_there(step.choice)
            except GoneError:
                self._steps.pop()
                raise
            # Writing the same note twice does no harm, taking a label back twice would.
            self._notes.restore(self.who, sha256, step.former)
            if step.answer is not Answer.SKIP:
                take_back(self._journal.path, step.choice.id, self._source)
                self._mine.pop(sha256, None)
            self._steps.pop()
            self._queue = {step.choice.id: step.choice, **self._queue}
            return step.choice

    def progress(self) -> Progress:
        """Where this person stands."""
        with self._lock:
            labels = list(self._mine.values())
            pairs = [
                (person_of(source) is not None, theirs == mine)
                for sha256, mine in self._mine.items()
                for source, theirs in self._others.get(sha256, {}).items()
            ]
            return Progress(
                roadwork=sum(labels),
                none=len(labels) - sum(labels),
                skipped=len(self._notes.skipped(self.who)),
                left=len(self._queue),
                beyond=self._beyond,
                answered_now=len(self._steps),
                can_undo=bool(self._steps),
                people=Agreement.of(same for person, same in pairs if person),
                others=Agreement.of(same for person, same in pairs if not person),
            )

    def _fill(self) -> None:
        queue = self._choosing(self._journal, self._notes)
        said: dict[str, list[Label]] = {}
        for row in self._journal.all_labels():
            said.setdefault(row.sha256, []).append(row.label)
        self._mine, self._others = {}, {}
        for sha256, history in said.items():
            newest = _values(history)
            mine = newest.pop(self._source, None)
            if mine is not None:
                self._mine[sha256], self._others[sha256] = mine, newest
        self.counted = queue.counted
        self._queue = {choice.id: choice for choice in queue.choices}
        self._beyond = queue.counted.waiting - len(self._queue)

    def _said_by_others(self, sha256: str) -> dict[str, int]:
        history = [
            label
            for query in self._journal.queries_of(sha256)
            for label in self._journal.labels(query)
        ]
        newest = _values(sorted(history, key=lambda label: label.set_at))
        newest.pop(self._source, None)
        return newest

    def _must_be_there(self, choice: Choice) -> None:
        if choice.id not in self._journal.queries_of(choice.sha256):
            raise GoneError(
                f"the query {choice.id} is no longer in the journal {self._journal.path} "
                "(pruned meanwhile): nothing was written"
            )


def _values(history: Iterable[Label]) -> dict[str, int]:
    return {
        source: label.label
        for source, label in newest_by_source(history).items()
        if label.label is not None
    }
