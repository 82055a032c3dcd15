"""Between transport and judge: from a request that was admitted to a prediction, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from loguru import logger

from natix_miner import __version__
from natix_miner.cascade.trace import Answer, QueryTrace, Trace
from natix_miner.cascade.verdict import NO_ANSWER, Verdict
from natix_miner.clock import Clock
from natix_miner.errors import RefusedRequestError
from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.server import INLINE_BYTES
from natix_miner.neuron.transport import Asked
from natix_miner.query import REHEARSAL, Query

#: A judge answers at the deadline by itself; this much later it is taken for stuck.
GRACE_SECONDS = 0.3


class AsksJudge(Protocol):
    """The part of a judge that answering needs."""

    async def judge(self, query: Query) -> Verdict:
        """The verdict on one query."""
        ...


class Answering:
    """The handler behind the transport (see `transport.Handler`).

    Every verdict goes to the journal (`record`, None without one), to the metrics, into one log
    line and to `spans` where they are sent, whether its sender still waits or not; only rehearsals
    leave no mark. A judge that is stuck or raises gives -1 with the reason, a picture that is none
    gives its PictureError."""

    def __init__(
        self,
        judge: AsksJudge,
        record: Callable[[Verdict], bool] | None,
        metrics: Metrics,
        clock: Clock,
        deadline_seconds: float,
        workers: Executor,
        grace_seconds: float = GRACE_SECONDS,
        spans: Callable[[Trace], None] | None = None,
    ) -> None:
        self._judge = judge
        self._record = record
        self._metrics = metrics
        self._clock = clock
        self._seconds = deadline_seconds
        self._workers = workers
        self._grace = grace_seconds
        self._spans = spans
        self._give_up = asyncio.Event()

    def give_up(self) -> None:
        """Refuse all that is still in flight: the miner has no more time."""
        self._give_up.set()

    async def answer(self, asked: Asked) -> float:
        """The prediction for one request."""
        make = partial(
            Query.of,
            asked.picture,
            source=REHEARSAL if asked.rehearsal else "axon",
            asked_by=asked.asked_by,
            label=asked.label if asked.label in (0, 1) else None,
            seconds=self._seconds,
            arrived=asked.arrived,
            clock=self._clock,
        )
        if len(asked.picture) <= INLINE_BYTES:
            query = make()
        else:  # hashing megabytes takes milliseconds
            query = await asyncio.get_running_loop().run_in_executor(self._workers, make)
        verdict = await self._judged(query)
        if not asked.rehearsal:
            self._tell(verdict, self._clock.monotonic() - asked.arrived)
        if verdict.error is not None:
            raise verdict.error
        return verdict.prediction

    async def _judged(self, query: Query) -> Verdict:
        judging = asyncio.ensure_future(self._judge.judge(query))
        leaving = asyncio.ensure_future(self._give_up.wait())
        try:
            await asyncio.wait(
                {judging, leaving},
                timeout=max(0.0, query.deadline.remaining()) + self._grace,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            leaving.cancel()
        if judging.cancelled():  # the judge is being closed
            raise RefusedRequestError(503, "stopping", "the miner is stopping")
        if judging.done():
            # Looked at instead of caught: whatever a judge may raise, the sender gets an answer.
            failure = judging.exception()
            if failure is None:
                return judging.result()
            logger.opt(exception=failure).error("the judge raised; query {}: no answer", query.id)
            return self._no_verdict(query, f"judge-raised {type(failure).__name__}")
        judging.cancel()
        if self._give_up.is_set():
            raise RefusedRequestError(503, "stopping", "the miner is stopping")
        return self._no_verdict(query, "judge-stuck")

    def _no_verdict(self, query: Query, reason: str) -> Verdict:
        arrived = query.deadline.at - self._seconds
        trace = Trace(
            query=QueryTrace.of(query),
            picture=None,
            levels=(),
            answer=Answer(prediction=NO_ANSWER, reason=reason, level=None),
            stages_ms={"total": (self._clock.monotonic() - arrived) * 1000.0},
            versions={"miner": __version__},
        )
        return Verdict(query=query, probability=None, trace=trace)

    def _tell(self, verdict: Verdict, seconds: float) -> None:
        if self._record is not None:
            self._record(verdict)  # counts and tells its losses itself
        if self._spans is not None:
            self._spans(verdict.trace)
        if verdict.error is None:
            self._metrics.answered(verdict, seconds)
        level = "INFO" if verdict.probability is not None else "WARNING"
        logger.bind(trace=verdict.trace.model_dump(mode="json")).log(level, verdict.trace.line())
