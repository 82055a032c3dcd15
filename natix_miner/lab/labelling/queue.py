"""Which queries a person is asked, and in what order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from natix_miner.consensus import FittedConsensus
from natix_miner.journal import Journal, JournalEntry, QueryLabel, newest_by_source
from natix_miner.lab.labelling.notes import Notes
from natix_miner.lab.labelling.people import source_of
from natix_miner.lab.labelling.rule import Signals, score, signals_of

#: Every tenth picture is drawn at random: labels of hard ones only say little of all others.
RANDOM_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Choice:
    """One picture to ask, by the newest query that showed it.

    `prediction` is what the miner answered, `labelled` whether somebody else has labelled it,
    `drawn` whether it comes from the random share, `score` as in `rule`.
    """

    id: str
    sha256: str
    received_at: float
    prediction: float
    signals: Signals
    labelled: bool
    drawn: bool
    score: float


@dataclass(slots=True)
class Counted:
    """What became of the entries of a journal: asked, or left out and why.

    `copies` are queries whose picture another query shows, `not_kept` those without a picture in
    the journal, `no_picture` those whose bytes were none, `unreadable` those whose trace this code
    cannot read, `done` and `skipped` what this person has labelled or skipped.
    """

    entries: int = 0
    waiting: int = 0
    done: int = 0
    skipped: int = 0
    copies: int = 0
    not_kept: int = 0
    no_picture: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """Choices in the order of asking, and what became of all others."""

    choices: tuple[Choice, ...]
    counted: Counted = field(default_factory=Counted)


def choose(
    journal: Journal,
    notes: Notes,
    who: str,
    *,
    limit: int,
    seed: int = 0,
    random_share: float = RANDOM_SHARE,
    again: bool = False,
    fitted: FittedConsensus | None = None,
    progress: Callable[[int], None] | None = None,
) -> Queue:
    """The pictures that are worth this person's time, at most `limit`.

    The best by `rule.score` come first; a `random_share` of places goes to pictures drawn at random
    from all (by a hash of `seed` and digest, so that it is the same draw on every day). What the
    person has labelled or skipped is left out (skipped: unless `again`). `progress` is called with
    the number of entries read. Raises JournalError.
    """
    counted = Counted()
    said = _said(journal)
    kept = journal.kept_pictures()
    source = source_of(who)
    skipped: frozenset[str] = frozenset() if again else notes.skipped(who)
    best: list[Choice] = []
    drawn: list[tuple[float, Choice]] = []
    seen: set[str] = set()
    # Newest first: of several queries with one picture the newest tells how it is judged today.
    for entry in journal.entries(newest_first=True):
        counted.entries += 1
        if progress is not None and counted.entries % 500 == 0:
            progress(counted.entries)
        left_out = _left_out(entry, seen, kept, said.get(entry.sha256, frozenset()), source)
        if left_out is None and entry.sha256 in skipped:
            left_out = "skipped"
        seen.add(entry.sha256)
        if left_out is not None:
            setattr(counted, left_out, getattr(counted, left_out) + 1)
            continue
        try:
            signals = signals_of(entry.read_trace(), fitted)
        except ValueError:
            counted.unreadable += 1
            continue
        place = _place(seed, entry.sha256)
        choice = _choice(entry, signals, bool(said.get(entry.sha256)), drawn=place < random_share)
        if choice.drawn:
            drawn.append((place, choice))
        else:
            best.append(choice)
    counted.waiting = len(best) + len(drawn)
    best.sort(key=lambda choice: (-choice.score, -choice.received_at, choice.id))
    drawn.sort(key=lambda pair: (pair[0], pair[1].id))
    mixed = _mix(best, [choice for _, choice in drawn], random_share)
    return Queue(tuple(choice for choice, _ in zip(mixed, range(limit), strict=False)), counted)


def _said(journal: Journal) -> dict[str, frozenset[str]]:
    """By picture, the sources that have a label on one of its queries."""
    history: dict[str, list[QueryLabel]] = {}
    for row in journal.all_labels():
        history.setdefault(row.sha256, []).append(row)
    return {
        sha256: frozenset(newest_by_source(row.label for row in rows))
        for sha256, rows in history.items()
    }


def _left_out(
    entry: JournalEntry,
    seen: set[str],
    kept: frozenset[str],
    said: frozenset[str],
    source: str,
) -> str | None:
    """The field of `Counted` that an entry falls under; None when it may be asked."""
    if entry.sha256 in seen:
        return "copies"
    if entry.error is not None:
        return "no_picture"
    if entry.sha256 not in kept:
        return "not_kept"
    return "done" if source in said else None


def _choice(entry: JournalEntry, signals: Signals, labelled: bool, *, drawn: bool) -> Choice:
    return Choice(
        id=entry.id,
        sha256=entry.sha256,
        received_at=entry.received_at,
        prediction=entry.prediction,
        signals=signals,
        labelled=labelled,
        drawn=drawn,
        score=score(signals, labelled=labelled),
    )


def _place(seed: int, sha256: str) -> float:
    """A number in [0, 1) for a picture, evenly spread, that only the seed can change."""
    digest = hashlib.blake2b(f"{seed}:{sha256}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _mix(best: list[Choice], drawn: list[Choice], share: float) -> Iterator[Choice]:
    """Both lists in their order, the drawn ones at an even `share` of the places."""
    worth, chance = iter(best), iter(drawn)
    for number in range(len(best) + len(drawn)):
        # 1e-9: a share of 0.1 adds up to a little less than 1 in ten steps.
        random_next = int((number + 1) * share + 1e-9) > int(number * share + 1e-9)
        first, second = (chance, worth) if random_next else (worth, chance)
        choice = next(first, None) or next(second, None)
        if choice is not None:
            yield choice
