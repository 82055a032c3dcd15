"""The last queries of one level, as sums that stay exact while queries come and go."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

#: Values are summed as whole multiples of this: sums of floats would come to depend on the order in
#: which queries came and went.
STEP = 2.0**-20
#: Farther out, in spreads, nothing is told apart; keeps a wild file from overflowing.
FARTHEST = 1000.0


@dataclass(frozen=True, slots=True)
class Said:
    """What one expert that was asked did in one query: `shift` of its vote from the mean of the
    fit in spreads, None when it is missing; `agreed` with the pool's side."""

    shift: float | None = None
    agreed: bool = False


@dataclass(slots=True)
class Tally:
    """What one expert did over the window: how often asked, voted, agreed; the sum of shifts."""

    asked: int = 0
    votes: int = 0
    agreed: int = 0
    steps: int = 0

    @property
    def shift(self) -> float:
        """Mean shift of the votes in spreads; 0 without any."""
        return self.steps * STEP / self.votes if self.votes else 0.0

    @property
    def agreement(self) -> float:
        """Share of the votes on the pool's side; 1 without any."""
        return self.agreed / self.votes if self.votes else 1.0

    @property
    def missing(self) -> float:
        """Share of the queries in which it was asked and had no vote."""
        return 1.0 - self.votes / self.asked if self.asked else 0.0


class Window:
    """The newest `size` queries; `tallies` are over just these."""

    def __init__(self, experts: tuple[str, ...], size: int) -> None:
        self.tallies = {name: Tally() for name in experts}
        self._size = size
        self._kept: deque[Mapping[str, Said]] = deque()

    def add(self, query: Mapping[str, Said]) -> None:
        """Take in a query (what each expert did that was asked), let go of the oldest."""
        self._count(query, 1)
        self._kept.append(query)
        if len(self._kept) > self._size:
            self._count(self._kept.popleft(), -1)

    def _count(self, query: Mapping[str, Said], sign: int) -> None:
        for name, said in query.items():
            tally = self.tallies.get(name)
            if tally is None:
                continue
            tally.asked += sign
            if said.shift is not None:
                tally.votes += sign
                tally.agreed += sign * said.agreed
                bounded = max(-FARTHEST, min(FARTHEST, said.shift))
                tally.steps += sign * round(bounded / STEP)
