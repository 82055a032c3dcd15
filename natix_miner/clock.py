"""Time as a value that is passed in, so that nothing below the edge reads a clock of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which an answer is due, on the monotonic axis of one clock."""

    at: float
    clock: Clock = SYSTEM_CLOCK

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        """A deadline `seconds` from now."""
        return cls(at=clock.monotonic() + seconds, clock=clock)

    def remaining(self) -> float:
        """Seconds left; negative when it has passed."""
        return self.at - self.clock.monotonic()

    def expired(self) -> bool:
        """True when no time is left."""
        return self.remaining() <= 0.0

    def earlier(self, seconds: float) -> Deadline:
        """The same deadline brought forward by `seconds`."""
        return Deadline(at=self.at - seconds, clock=self.clock)

    def at_most(self, seconds: float) -> Deadline:
        """This deadline, or `seconds` from now when that is sooner."""
        return Deadline(at=min(self.at, self.clock.monotonic() + seconds), clock=self.clock)
