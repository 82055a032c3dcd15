"""Which of the labels of a picture holds, and how far it can be relied upon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: How far a label can be relied upon by who said it; in (0, 1].
RELIABILITIES: Mapping[str, float] = {
    "testnet": 1.0,  # sent along by a validator that knows
    "set": 0.9,  # a person, who looked at the picture
    "file": 0.9,  # a folder or a table of labelled pictures
    "guess": 0.3,
}
#: The same for everybody else.
OTHERS = 0.5


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody said what a picture shows: `label` 1 roadwork or 0 none, `at` in unix seconds."""

    label: int
    source: str
    at: float = 0.0


def holding(told: Iterable[Told], reliabilities: Mapping[str, float]) -> tuple[Told, float]:
    """The label that holds and its reliability in (0, 1]; `told` must not be empty.

    What was said last holds, as in the journal. Of every source only what it said last counts.
    The reliability is that of the source times the agreement: the share of the sources, by their
    reliabilities, that say the same. One source of 1.0 against one of 0.5 leaves 1.0 * 1.0 / 1.5.
    """
    # sorted() keeps the order of equals: of two at the same moment the later one holds.
    ordered = sorted(told, key=lambda one: one.at)
    newest = ordered[-1]
    last = {one.source: one for one in ordered}
    weights = {source: reliabilities.get(source, OTHERS) for source in last}
    agreeing = sum(weights[source] for source, one in last.items() if one.label == newest.label)
    return newest, weights[newest.source] * agreeing / sum(weights.values())
