"""How far the labels of several sources agree, and where they do not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from natix_miner.journal import Journal, QueryLabel, newest_by_source
from natix_miner.lab.labelling.notes import Notes
from natix_miner.lab.labelling.people import source_of


@dataclass(frozen=True, slots=True)
class Source:
    """How many pictures a source has labelled, and how many of them roadwork."""

    n: int
    roadwork: int


@dataclass(frozen=True, slots=True)
class PairOfSources:
    """Two sources on the pictures that both have labelled.

    `same` of `n` labels agree; `kappa` is Cohen's: agreement beyond that of chance, 1 at most, None
    where it has no value (nothing in common, or both know one class only).
    """

    a: str
    b: str
    n: int
    same: int
    kappa: float | None

    @property
    def agreement(self) -> float | None:
        """The share of equal labels in [0, 1]; None without a picture in common."""
        return self.same / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A picture of which sources say different things; `id` is one of its queries."""

    id: str
    sha256: str
    labels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All sources, all pairs of them, all conflicts; `drawn` are people's labels of pictures that
    were drawn at random, each picture once: what share of all pictures shows roadwork."""

    sources: Mapping[str, Source]
    pairs: tuple[PairOfSources, ...]
    conflicts: tuple[Conflict, ...]
    drawn: Source


def compare_labels(journal: Journal, notes: Notes) -> Comparison:
    """Compare what each source says now, picture by picture (the same bytes are one picture).

    Raises JournalError.
    """
    history: dict[str, list[QueryLabel]] = {}
    for row in journal.all_labels():
        history.setdefault(row.sha256, []).append(row)
    said = {sha256: _values(rows) for sha256, rows in history.items()}
    sources = sorted({source for labels in said.values() for source in labels})
    conflicts = tuple(
        Conflict(history[sha256][-1].query_id, sha256, dict(sorted(labels.items())))
        for sha256, labels in said.items()
        if len(set(labels.values())) > 1
    )
    drawn: dict[str, int] = {}
    for who, sha256 in sorted(notes.drawn()):
        label = said.get(sha256, {}).get(source_of(who))
        if label is not None:
            drawn[sha256] = label
    return Comparison(
        sources={
            source: _counted(labels[source] for labels in said.values() if source in labels)
            for source in sources
        },
        pairs=tuple(_pair(a, b, said.values()) for a, b in combinations(sources, 2)),
        conflicts=conflicts,
        drawn=_counted(drawn.values()),
    )


def _pair(a: str, b: str, said: Iterable[Mapping[str, int]]) -> PairOfSources:
    both = [(labels[a], labels[b]) for labels in said if a in labels and b in labels]
    return PairOfSources(a, b, len(both), sum(x == y for x, y in both), _kappa(both))


def _kappa(both: list[tuple[int, int]]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    if len({label for pair in both for label in pair}) < 2:
        return None
    kappa = float(cohen_kappa_score(*zip(*both, strict=True), labels=[0, 1]))
    return kappa if math.isfinite(kappa) else None


def _values(rows: Iterable[QueryLabel]) -> dict[str, int]:
    newest = newest_by_source(row.label for row in rows)
    return {s: label.label for s, label in newest.items() if label.label is not None}


def _counted(labels: Iterable[int]) -> Source:
    told = list(labels)
    return Source(len(told), sum(told))
