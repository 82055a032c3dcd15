"""Who judges what: blocks of queries, each for one worker as long as there are others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from natix_miner.errors import QuerySourceError
from natix_miner.scoring.runner import ScoreSettings, ordered
from natix_miner.scoring.sources.base import QuerySource

#: Deaths of a worker that a query may be part of before it is given up.
MOST_DEATHS = 2
_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Place:
    """One query to judge: its place in the stream, which draw, and where the source has it."""

    position: int
    repeat: int
    index: int
    name: str


def places(source: QuerySource, settings: ScoreSettings) -> Iterator[list[Place]]:
    """All queries of a run in the order in which they are put, in blocks best read together.

    Raises QuerySourceError when the source cannot be read from the middle.
    """
    if not source.can_pick:
        raise QuerySourceError(
            "a journal may change while it is read, and other machines cannot open it: export it "
            "(natix-miner journal export JOURNAL OUT.parquet) and score the export"
        )
    for repeat in range(settings.repeats):
        for block in _one_pass(source, settings):
            yield [Place(position, repeat, index, name) for position, index, name in block]


def _one_pass(source: QuerySource, settings: ScoreSettings) -> Iterator[list[tuple[int, int, str]]]:
    """(position, index, name) of every query."""
    if not (source.has_order or settings.keep_order):
        drawn = enumerate(ordered(source, settings))
        block: list[tuple[int, int, str]] = []
        for position, saved in drawn:
            block.append((position, saved.index, saved.name))
            if len(block) == _BLOCK:
                yield block
                block = []
        yield block
        return
    first = 0
    for names in source.names():
        if settings.limit is not None:
            names = names[: settings.limit - first]
        yield [(first + place, first + place, name) for place, name in enumerate(names)]
        first += len(names)
        if first == settings.limit:
            return


class Shares:
    """Hands out places, a few a time.

    A worker stays in its block, so that a part of a file is read by one worker only; when no block
    is left, it takes from the end of the longest. What was in hand when a worker died comes back as
    suspect: each suspect is handed out alone, so that the one that kills is found.
    """

    def __init__(self, blocks: Iterable[list[Place]]) -> None:
        self._blocks = iter(blocks)
        self._begun: dict[int, deque[Place]] = {}
        self._orphans: deque[deque[Place]] = deque()
        self._suspects: deque[Place] = deque()
        self._deaths: Counter[Place] = Counter()

    @property
    def suspected(self) -> bool:
        """True while a suspect waits to be handed out."""
        return bool(self._suspects)

    def suspect(self) -> Place | None:
        """One that was in hand when a worker died, for a worker with nothing else in hand."""
        return self._suspects.popleft() if self._suspects else None

    def next_for(self, worker: int, most: int) -> list[Place]:
        """At most so many of the worker's block, or of another; nothing when all is handed out."""
        own = self._begun.get(worker)
        if not own:
            own = self._begun[worker] = self._another_block()
        if own:
            return [own.popleft() for _ in range(min(most, len(own)))]
        longest = max(self._begun.values(), key=len)
        return [longest.pop() for _ in range(min(most, len(longest)))][::-1]

    def died(self, worker: int, in_hand: Iterable[Place]) -> list[Place]:
        """Take back what a dead worker had; those that are given up are returned."""
        left = self._begun.pop(worker, None)
        if left:
            self._orphans.append(left)
        given_up = []
        for place in in_hand:
            self._deaths[place] += 1
            if self._deaths[place] < MOST_DEATHS:
                self._suspects.append(place)
            else:
                given_up.append(place)
        return given_up

    def _another_block(self) -> deque[Place]:
        if self._orphans:
            return self._orphans.popleft()
        return next((deque(block) for block in self._blocks if block), deque())
