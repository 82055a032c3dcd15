"""A circuit breaker: what keeps failing, an expert or a server, is not asked for a while."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from natix_miner.clock import SYSTEM_CLOCK, Clock

#: Jitter takes up to this share off a rest, so that many breakers do not probe in step.
JITTER = 0.2


class BreakerState(StrEnum):
    """Closed: ask. Open: do not ask. Half-open: one probe is on its way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens, and for how long.

    Opens after `failures` in a row, and, where `failure_rate` (a share in (0, 1]) is given, when at
    least that share of the outcomes of the last `window_seconds` were failures, from
    `least_requests` outcomes on. After `rest_seconds` one probe is let through; each probe that
    fails doubles the rest, up to `longest_rest_seconds` (None: the rest stays the same).
    """

    failures: int = 3
    rest_seconds: float = 30.0
    failure_rate: float | None = None
    window_seconds: float = 30.0
    least_requests: int = 10
    longest_rest_seconds: float | None = None


class Breaker:
    """Counts failures (time-outs and nonsense too); not thread-safe, lives on one event loop.

    Whoever asks one thing at a time says `allows()` and then how it went. Whoever has many under
    way says `admit()` and tells the admission: then an answer to a request from before the breaker
    opened is not taken for that of the probe. With `rng` the rests are jittered (see JITTER).
    """

    def __init__(
        self,
        limits: BreakerLimits | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._rng = rng
        self._window = _Window(self._limits.window_seconds)
        self._epoch = 0
        self.state = BreakerState.CLOSED
        self.reset()

    def reset(self) -> None:
        """Forget everything: it is another one that will be asked from now on."""
        self.state = BreakerState.CLOSED
        self._epoch += 1
        self._failures = 0
        self._failed_probes = 0
        self._opened_at = 0.0
        self._rest = 0.0
        self._cause = ""
        self._succeeded_at = -math.inf
        self._window.clear()

    def allows(self) -> bool:
        """Whether to ask now; in the open state a True is the one probe."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN and self._left() <= 0.0:
            self.state = BreakerState.HALF_OPEN
            self._epoch += 1
            return True
        return False

    def admit(self) -> Admission | None:
        """Leave to ask now, or None; the admission must be told how it went."""
        return Admission(self, self._epoch, self._clock.monotonic()) if self.allows() else None

    def succeeded(self) -> None:
        """It answered well."""
        now = self._clock.monotonic()
        if self.state is not BreakerState.CLOSED:
            self._epoch += 1
            self._window.clear()
        self._window.add(now, failed=False)
        self._failures = self._failed_probes = 0
        self._succeeded_at = now
        self.state = BreakerState.CLOSED

    def succeeded_since(self, moment: float) -> bool:
        """Whether it has answered anybody well since then (monotonic seconds)."""
        return self._succeeded_at >= moment

    def failed(self, *, in_a_row: bool = True) -> None:
        """It failed, was late or answered nonsense.

        Without `in_a_row` the failure counts in the rate only: one that answers others meanwhile is
        not down, but may be asked too much.
        """
        now = self._clock.monotonic()
        probe = self.state is BreakerState.HALF_OPEN
        self._failures += in_a_row or probe
        self._failed_probes += probe
        self._window.add(now, failed=True)
        if probe or self._failures >= self._limits.failures:
            self._open(now, f"{self._failures} failures in a row")
        elif self.state is BreakerState.CLOSED and self._fails_too_often():
            self._open(
                now, f"{self._window.failed} of the last {len(self._window)} requests failed"
            )

    def undecided(self) -> None:
        """The call ended for reasons of the caller; a probe may be sent again."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN
            self._epoch += 1

    def reason(self) -> str:
        """Why it is not asked now."""
        if self.state is BreakerState.HALF_OPEN:
            return f"{self._cause}, a probe is under way"
        return f"{self._cause}, next try in {max(0.0, self._left()):.0f} s"

    def why_not(self) -> str:
        """The sentence for the trace when it is not asked."""
        return f"not asked: {self.reason()}"

    def _fails_too_often(self) -> bool:
        limits, asked = self._limits, len(self._window)
        return (
            limits.failure_rate is not None
            and asked >= limits.least_requests
            and self._window.failed >= limits.failure_rate * asked
        )

    def _open(self, now: float, cause: str) -> None:
        limits = self._limits
        self._rest = limits.rest_seconds
        if limits.longest_rest_seconds is not None:
            longest = max(limits.rest_seconds, limits.longest_rest_seconds)
            # Far above any setting; keeps the power of two within what a float can hold.
            doublings = min(self._failed_probes, 64)
            self._rest = min(limits.rest_seconds * 2.0**doublings, longest)
        if self._rng is not None:
            self._rest *= 1.0 - JITTER * self._rng.random()
        self.state = BreakerState.OPEN
        self._epoch += 1
        self._opened_at = now
        self._cause = cause

    def _left(self) -> float:
        return self._opened_at + self._rest - self._clock.monotonic()

    def is_current(self, epoch: int) -> bool:
        """Whether the breaker has neither opened, closed nor been reset since that epoch."""
        return epoch == self._epoch


class Admission:
    """Leave to ask once; tell it one of `succeeded`, `failed` and `undecided`.

    What is told a second time, or after the breaker has opened, closed or been reset meanwhile,
    changes nothing.
    """

    __slots__ = ("_breaker", "_epoch", "_told", "began")

    def __init__(self, breaker: Breaker, epoch: int, began: float) -> None:
        self._breaker = breaker
        self._epoch = epoch
        self._told = False
        #: When leave was given, in monotonic seconds of the breaker's clock.
        self.began = began

    def succeeded(self) -> None:
        """It answered well."""
        if self._counts():
            self._breaker.succeeded()

    def failed(self, *, in_a_row: bool = True) -> None:
        """It failed (see `Breaker.failed`)."""
        if self._counts():
            self._breaker.failed(in_a_row=in_a_row)

    def undecided(self) -> None:
        """The call ended for reasons of the caller."""
        if self._counts():
            self._breaker.undecided()

    def _counts(self) -> bool:
        counts = not self._told and self._breaker.is_current(self._epoch)
        self._told = True
        return counts


class _Window:
    """Outcomes of the last seconds, and how many of them were failures."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._outcomes: deque[tuple[float, bool]] = deque()
        self.failed = 0

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, now: float, *, failed: bool) -> None:
        """Take one in, and let those go that have become too old."""
        self._outcomes.append((now, failed))
        self.failed += failed
        while self._outcomes[0][0] < now - self._seconds:
            self.failed -= self._outcomes.popleft()[1]

    def clear(self) -> None:
        """Forget them all."""
        self._outcomes.clear()
        self.failed = 0
