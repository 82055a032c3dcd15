"""Flips: queries that the two sides decide differently."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from natix_miner.lab.compare_pairs import Judged, Pair

State = Literal["right", "wrong", "silent", "roadwork", "none"]
#: What matters most comes first: what was lost, what was won, then silence, then the unlabelled.
_ORDER = ("right", "wrong", "silent", "roadwork", "none")


@dataclass(frozen=True, slots=True)
class Flip:
    """One query that is right with one side and not with the other, or answered by one only.

    `was` and `now` are `right`, `wrong` or `silent`; without a label the decision itself
    (`roadwork`, `none`, `silent`).
    """

    pair: Pair
    was: State
    now: State

    @property
    def kind(self) -> str:
        """`right -> wrong` and the like."""
        return f"{self.was} -> {self.now}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        a, b = self.pair.a, self.pair.b
        return {
            "kind": self.kind,
            "name": a.name,
            "id": {"a": a.id, "b": b.id},
            "sha256": a.sha256,
            "label": self.pair.label,
            "a": a.prediction,
            "b": b.prediction,
            "generation": a.generation or b.generation,
            "size_class": a.size_class or b.size_class,
            "group": self.pair.group,
        }


def flips_of(pairs: Iterable[Pair]) -> tuple[Flip, ...]:
    """All flips: right to wrong first, the widest apart first within a kind."""
    found = []
    for pair in pairs:
        was, now = _state(pair.a, pair.label), _state(pair.b, pair.label)
        if was != now:
            found.append(Flip(pair, was, now))
    return tuple(sorted(found, key=_rank))


def counts_of(flips: Iterable[Flip]) -> dict[str, int]:
    """How many flips of each kind, in the order in which they first come."""
    counted: dict[str, int] = {}
    for flip in flips:
        counted[flip.kind] = counted.get(flip.kind, 0) + 1
    return counted


def _state(one: Judged, label: int | None) -> State:
    if not one.answered:
        return "silent"
    if label is None:
        return "roadwork" if one.says_roadwork else "none"
    return "right" if one.says_roadwork == bool(label) else "wrong"


def _rank(flip: Flip) -> tuple[int, int, float]:
    apart = abs(flip.pair.a.prediction - flip.pair.b.prediction)
    return _ORDER.index(flip.was), -_lost(flip), -apart


def _lost(flip: Flip) -> int:
    """Worse endings first, among flips that begin alike."""
    return {"wrong": 2, "silent": 1}.get(flip.now, 0)
