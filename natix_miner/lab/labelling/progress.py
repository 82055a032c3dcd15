"""What a person is told of the work done: how far it is, and what others say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `n` labels that somebody else gave as well, so many are the `same`."""

    n: int = 0
    same: int = 0

    @classmethod
    def of(cls, same: Iterable[bool]) -> Agreement:
        """From whether each label was the same."""
        told = list(same)
        return cls(len(told), sum(told))


@dataclass(frozen=True, slots=True)
class Progress:
    """What this person has done so far, in this and in earlier sessions.

    `left` is what this queue still holds, `beyond` what waits for the next one; `people` and
    `others` compare with other people and with all other sources (validators).
    """

    roadwork: int
    none: int
    skipped: int
    left: int
    beyond: int
    answered_now: int
    can_undo: bool
    people: Agreement
    others: Agreement


@dataclass(frozen=True, slots=True)
class Revealed:
    """What is shown once a picture is answered: the labels of others by source, the miner's answer
    in [0, 1] or -1."""

    labels: dict[str, int]
    prediction: float
