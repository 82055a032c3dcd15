"""A circuit breaker: an expert that keeps failing is not asked for a while."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from natix_miner.clock import SYSTEM_CLOCK, Clock


class BreakerState(StrEnum):
    """Closed: ask. Open: do not ask. Half-open: one probe is on its way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Opens after `failures` in a row; after `rest_seconds` one probe is let through."""

    failures: int = 3
    rest_seconds: float = 30.0


class Breaker:
    """Counts failures (time-outs and nonsense too); not thread-safe, lives on one event loop."""

    def __init__(self, limits: BreakerLimits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._succeeded_at = -math.inf
        self.state = BreakerState.CLOSED

    def allows(self) -> bool:
        """Whether to ask now; in the open state a True is the one probe."""
        if self.state is BreakerState.CLOSED:
            return True
        rested = self._clock.monotonic() - self._opened_at >= self._limits.rest_seconds
        if self.state is BreakerState.OPEN and rested:
            self.state = BreakerState.HALF_OPEN
            return True
        return False

    def succeeded(self) -> None:
        """The expert answered well."""
        self._failures = 0
        self._succeeded_at = self._clock.monotonic()
        self.state = BreakerState.CLOSED

    def succeeded_since(self, moment: float) -> bool:
        """Whether the expert has answered anybody well since then (monotonic seconds)."""
        return self._succeeded_at >= moment

    def failed(self) -> None:
        """The expert failed, was late or answered nonsense."""
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or self._failures >= self._limits.failures:
            self.state = BreakerState.OPEN
            self._opened_at = self._clock.monotonic()

    def undecided(self) -> None:
        """The call ended for reasons of the caller; a probe may be sent again."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def why_not(self) -> str:
        """The sentence for the trace when an expert is not asked."""
        left = self._opened_at + self._limits.rest_seconds - self._clock.monotonic()
        return f"not asked: {self._failures} failures in a row, next try in {max(0.0, left):.0f} s"
