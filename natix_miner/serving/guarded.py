"""A server as the experts see it: answers in time, or says at once why it is not asked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from natix_miner.breaker import Admission, Breaker, BreakerLimits
from natix_miner.clock import SYSTEM_CLOCK, Clock, Deadline
from natix_miner.errors import ServerAnswerError, UnavailableError
from natix_miner.experts.vlm.port import Question, TokenAnswer
from natix_miner.serving.counts import Counts
from natix_miner.serving.durations import RecentSeconds
from natix_miner.serving.refusals import REQUEST_STATUSES
from natix_miner.serving.settings import ServerBreakerSettings, ServerSettings

_Answer = TypeVar("_Answer")

#: A request that had less than this share of the time that requests usually have says nothing
#: about the server when it gets no answer.
FAIR_SHARE = 0.5


class Asked(Protocol):
    """What is guarded: a `Client`."""

    retried: int

    async def ask(self, question: Question, deadline: Deadline) -> TokenAnswer: ...

    async def write(self, question: Question, most_tokens: int, deadline: Deadline) -> str: ...


class GuardedServer:
    """One server of the profile, for as long as the miner runs; implements `port.Server`.

    Whoever starts the server attaches a client for it and detaches it when it is down: then those
    under way get UnavailableError too, so that they can still turn elsewhere. At most
    `max_in_flight` questions are under way, more are refused at once. Lives on one event loop.

    What the breaker makes of it: errors, nonsense and broken connections are failures, as is a
    time-out. But a question that had less than half of the time that questions usually have says
    nothing, and one that was late while others were answered counts in the failure rate only (the
    server is not down, though maybe asked too much). A question cancelled from outside is taken for
    late when it had waited that long. A full queue is no failure, neither is a refused picture.
    """

    def __init__(
        self,
        name: str,
        settings: ServerSettings,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.breaker = Breaker(_limits(settings.breaker), clock, rng)
        self._most = settings.max_in_flight
        self._clock = clock
        self._client: Asked | None = None
        self._why = "not started yet"
        self._under_way: set[asyncio.Timeout] = set()
        self._given = RecentSeconds()
        self._counts: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        """How many questions are under way."""
        return len(self._under_way)

    def attach(self, client: Asked) -> None:
        """Ask this one from now on; what was known about the one before is forgotten."""
        self._part()
        self._client = client
        self.breaker.reset()

    def detach(self, reason: str) -> None:
        """Ask nobody from now on; `reason` is told to whoever asks, or is waiting."""
        self._part()
        self._why = reason
        for scope in self._under_way:
            scope.reschedule(0.0)
        self._under_way.clear()

    def answered_since(self, moment: float) -> bool:
        """Whether it has answered anybody well since then (monotonic seconds)."""
        return self.breaker.succeeded_since(moment)

    def counts(self) -> Counts:
        """What became of all questions so far."""
        retried = self._counts["retried"] + (self._client.retried if self._client else 0)
        return Counts(**{**self._counts, "retried": retried})

    async def ask(self, question: Question, deadline: Deadline) -> TokenAnswer:
        """The masses on yes and no (see `port.Server` for the errors)."""
        return await self._guarded(lambda client: client.ask(question, deadline), deadline)

    async def write(self, question: Question, most_tokens: int, deadline: Deadline) -> str:
        """Up to `most_tokens` tokens of free text (see `port.Server` for the errors)."""
        return await self._guarded(
            lambda client: client.write(question, most_tokens, deadline), deadline
        )

    async def _guarded(
        self, call: Callable[[Asked], Awaitable[_Answer]], deadline: Deadline
    ) -> _Answer:
        client, admission = self._admit(deadline)
        given = deadline.remaining()
        self._given.add(given)
        self._counts["asked"] += 1
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._under_way.add(scope)
                answer = await call(client)
        except BaseException as error:
            if scope.expired() and not isinstance(error, asyncio.CancelledError):
                self._counts["failed"] += 1
                admission.undecided()
                raise UnavailableError(f"server {self.name!r} went away: {self._why}") from error
            self._judge(error, admission, given)
            raise
        finally:
            self._under_way.discard(scope)
        self._counts["answered"] += 1
        admission.succeeded()
        return answer

    def _admit(self, deadline: Deadline) -> tuple[Asked, Admission]:
        if self._client is None:
            self._counts["refused_down"] += 1
            raise UnavailableError(f"server {self.name!r} is down: {self._why}")
        if len(self._under_way) >= self._most:
            self._counts["refused_full"] += 1
            raise UnavailableError(f"server {self.name!r} is full: {self._most} are under way")
        if deadline.expired():
            raise TimeoutError(f"server {self.name!r}: no time was left to ask it")
        admission = self.breaker.admit()
        if admission is None:
            self._counts["refused_down"] += 1
            raise UnavailableError(f"server {self.name!r} rests: {self.breaker.reason()}")
        return self._client, admission

    def _judge(self, error: BaseException, admission: Admission, given: float) -> None:
        """Count what went wrong, and tell the breaker what it says about the server."""
        if isinstance(error, UnavailableError):
            self._counts["refused_full"] += 1
            admission.undecided()
        elif isinstance(error, TimeoutError):
            self._counts["timed_out"] += 1
            self._late(given, admission)
        elif isinstance(error, asyncio.CancelledError):
            waited = self._clock.monotonic() - admission.began
            late = self._is_fair(waited)
            self._counts["timed_out" if late else "given_up"] += 1
            self._late(waited, admission)
        else:
            self._counts["failed"] += 1
            if isinstance(error, ServerAnswerError) and error.status in REQUEST_STATUSES:
                admission.undecided()
            else:
                admission.failed()

    def _late(self, waited: float, admission: Admission) -> None:
        if self._is_fair(waited):
            admission.failed(in_a_row=not self.breaker.succeeded_since(admission.began))
        else:
            admission.undecided()

    def _is_fair(self, seconds: float) -> bool:
        return seconds >= FAIR_SHARE * self._given.usual()

    def _part(self) -> None:
        if self._client is not None:
            self._counts["retried"] += self._client.retried
        self._client = None


def _limits(settings: ServerBreakerSettings) -> BreakerLimits:
    return BreakerLimits(
        failures=settings.failures,
        rest_seconds=settings.rest_seconds,
        failure_rate=settings.failure_rate,
        window_seconds=settings.window_seconds,
        least_requests=settings.least_requests,
        longest_rest_seconds=settings.longest_rest_seconds,
    )
