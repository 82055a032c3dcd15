"""Pairs: the same query as two sides judged it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from natix_miner.cascade import NO_ANSWER
from natix_miner.stored.query import StoredQuery


@dataclass(frozen=True, slots=True)
class Judged:
    """One query as one side judged it.

    `prediction` in [0, 1] or -1 (no answer), `label` 1, 0 or None; `total_ms` from arrival to
    verdict; `expert_ms` the time of all its experts together, also of those that ran side by side.
    """

    id: str
    name: str
    sha256: str
    label: int | None
    prediction: float
    size_class: str | None = None
    generation: str = ""
    group: str = ""
    total_ms: float | None = None
    expert_ms: float | None = None
    _picture: Callable[[], bytes | None] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, query: StoredQuery, prediction: float | None = None) -> Judged:
        """What comparing needs of a stored query; `prediction` replaces the stored one."""
        trace = query.trace
        spent = [expert.ms for level in trace.levels for expert in level.experts]
        return cls(
            id=query.id,
            name=query.name or query.id,
            sha256=query.sha256,
            label=query.label,
            prediction=query.prediction if prediction is None else prediction,
            size_class=trace.picture.size_class if trace.picture else None,
            generation=query.generation,
            group=query.group,
            total_ms=query.total_ms,
            expert_ms=sum(spent),
            _picture=query.picture,
        )

    @property
    def answered(self) -> bool:
        """Whether there was an answer, good or bad."""
        return self.prediction != NO_ANSWER

    @property
    def says_roadwork(self) -> bool:
        """The decision as validators read it: more than 0.5 is roadwork."""
        return self.prediction > 0.5

    def picture(self) -> bytes | None:
        """The encoded picture, read now; None when it was not kept."""
        return self._picture() if self._picture else None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared: queries in the order of its stream.

    `by_name` is true for score runs, whose queries are known by name and place in the stream;
    `settings` are those of a run that decide what was asked.
    """

    name: str
    queries: tuple[Judged, ...]
    by_name: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """One query judged by both; `label` is the truth that neither side denies."""

    a: Judged
    b: Judged
    label: int | None

    @property
    def group(self) -> str:
        """What it must stay together with when pairs are drawn."""
        return self.a.group or self.b.group


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs in the order of A's stream; `only_a` and `only_b` count queries without a partner,
    `left_out` pairs that cannot be compared, by reason."""

    pairs: tuple[Pair, ...]
    only_a: int
    only_b: int
    left_out: Mapping[str, int]


OTHER_PICTURE = "another picture under the same name"
OTHER_LABEL = "the two sides have different labels"


def pair_up(a: Side, b: Side) -> Pairs:
    """Bring the queries of two sides together.

    Runs by name and place in the stream; everything else by id, and what is left by the picture's
    digest (of one that came more than once the first with the first, and so on).
    """
    partners: dict[int, int] = {}
    keys: tuple[Callable[[Judged], Hashable], ...]
    keys = (_place,) if a.by_name and b.by_name else (_id, _digest)
    for key in keys:
        _match(a.queries, b.queries, key, partners)
    pairs, left_out = [], Counter[str]()
    for place, one in enumerate(a.queries):
        if place not in partners:
            continue
        other = b.queries[partners[place]]
        if one.sha256 and other.sha256 and one.sha256 != other.sha256:
            left_out[OTHER_PICTURE] += 1
        elif len(labels := {one.label, other.label} - {None}) > 1:
            left_out[OTHER_LABEL] += 1
        else:
            pairs.append(Pair(one, other, next(iter(labels), None)))
    return Pairs(
        pairs=tuple(pairs),
        only_a=len(a.queries) - len(partners),
        only_b=len(b.queries) - len(partners),
        left_out=dict(left_out),
    )


def _match(
    a: Sequence[Judged],
    b: Sequence[Judged],
    key: Callable[[Judged], Hashable],
    partners: dict[int, int],
) -> None:
    """Add to `partners` (place in A to place in B) those that share a key and have none yet."""
    taken = set(partners.values())
    waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place in reversed(range(len(b))):
        if place not in taken:
            waiting[key(b[place])].append(place)
    for place, one in enumerate(a):
        if place not in partners and waiting.get(key(one)):
            partners[place] = waiting[key(one)].pop()


def _place(one: Judged) -> Hashable:
    return one.name, one.id


def _id(one: Judged) -> Hashable:
    return one.id


def _digest(one: Judged) -> Hashable:
    return one.sha256


def judged(queries: Iterable[StoredQuery]) -> tuple[Judged, ...]:
    """What comparing needs of stored queries, in their order."""
    return tuple(Judged.of(query) for query in queries)
