"""What a fault row is: something broken on purpose, and the figures of how the miner took it.

A row is an async function of a Scale and an empty folder. It breaks one thing, measures, and
returns an Outcome; what did not hold goes into `broken`, in words. The same rows run short in the
tests (`test_faults.py`) and long in `make soak` (`soak.py`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it: `factor` multiplies counts (1 in the tests), `seed` is for whatever is
    drawn. `until` is the monotonic moment (seconds) at which a row that counts stops counting and
    says how far it came; None for as long as it takes."""

    factor: float = 1.0
    seed: int = 72
    until: float | None = None

    def count(self, short: int, most: int) -> int:
        """`short` times the factor, at most `most`."""
        return min(most, max(1, round(short * self.factor)))

    def over(self) -> bool:
        """Whether the time of this row is up."""
        return self.until is not None and time.monotonic() >= self.until


@dataclass(frozen=True, slots=True)
class Outcome:
    """`figures` by name, with the unit in the name; `broken` is empty when everything held."""

    figures: Mapping[str, float | int | str]
    broken: tuple[str, ...] = ()


@dataclass(slots=True)
class Claims:
    """Collects what did not hold, so that a row goes on and tells all of it."""

    broken: list[str] = field(default_factory=list)

    def hold(self, held: bool, what: str) -> None:
        """Note `what` unless it held."""
        if not held:
            self.broken.append(what)


Run = Callable[[Scale, Path], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class FaultRow:
    """`what` tells an operator in a few words what is broken; `needs` names an optional program
    (such as "vllm") without which the row is skipped."""

    name: str
    what: str
    run: Run
    needs: str | None = None


ROWS: dict[str, FaultRow] = {}


def fault(name: str, what: str, *, needs: str | None = None) -> Callable[[Run], Run]:
    """Enter a row into ROWS."""

    def enter(run: Run) -> Run:
        if name in ROWS:
            raise ValueError(f"two fault rows are called {name!r}")
        ROWS[name] = FaultRow(name, what, run, needs)
        return run

    return enter
