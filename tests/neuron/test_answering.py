"""Between transport and judge: in time, journalled, counted, told."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from natix_miner.cascade.trace import Answer, QueryTrace, Trace
from natix_miner.cascade.verdict import Verdict
from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.errors import BrokenPictureError, RefusedRequestError
from natix_miner.neuron.answering import Answering
from natix_miner.neuron.metrics import Metrics
from natix_miner.neuron.server import INLINE_BYTES
from natix_miner.neuron.transport import Asked


class JudgeDouble:
    """Answers with `probability`, or does what `act` does."""

    def __init__(self, probability=0.25, act=None, error=None):
        self.probability, self.act, self.error = probability, act, error
        self.queries = []
        self.cancelled = False

    async def judge(self, query):
        self.queries.append(query)
        try:
            if self.act is not None:
                await self.act()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        trace = Trace(
            query=QueryTrace.of(query),
            picture=None,
            levels=(),
            answer=Answer(prediction=self.probability or -1.0, reason="double", level=None),
            stages_ms={"total": 1.0},
            versions={},
        )
        return Verdict(query, self.probability, trace, self.error)


class Desk:
    """An Answering with what it needs."""

    def __init__(self, judge, seconds=1.0):
        self.journal: list[Verdict] = []
        self.metrics = Metrics()
        self.judge = judge
        self.workers = ThreadPoolExecutor(1)
        self.answering = Answering(
            judge,
            lambda verdict: not self.journal.append(verdict),
            self.metrics,
            SYSTEM_CLOCK,
            seconds,
            self.workers,
            grace_seconds=0.05,
        )

    async def ask(self, picture=b"picture", label=-1, waited=0.0, rehearsal=False):
        arrived = SYSTEM_CLOCK.monotonic() - waited
        try:
            return await self.answering.answer(Asked(picture, label, "5abc", arrived, rehearsal))
        finally:
            self.workers.shutdown()

    def count(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels or None)


async def test_an_answer_is_journalled_counted_and_told(told):
    desk = Desk(JudgeDouble(0.75))

    assert await desk.ask(label=1) == 0.75

    (verdict,) = desk.journal
    assert (verdict.query.source, verdict.query.asked_by) == ("axon", "5abc")
    assert verdict.query.label == 1
    assert desk.count("natix_queries_total", outcome="answered", validator="other") == 1
    assert len(told) == 1
    assert "p=0.7500" in told[0]


@pytest.mark.parametrize("label", [-1, 0, 1])
async def test_only_a_label_that_was_told_reaches_the_query(label):
    desk = Desk(JudgeDouble())
    await desk.ask(label=label)
    assert desk.judge.queries[0].label == (None if label == -1 else label)


@pytest.mark.parametrize("size", [10, INLINE_BYTES + 1])
async def test_the_deadline_counts_from_arrival(size):
    desk = Desk(JudgeDouble(), seconds=5.0)
    before = SYSTEM_CLOCK.monotonic()
    await desk.ask(b"x" * size, waited=3.0)
    query = desk.judge.queries[0]
    assert query.picture == b"x" * size
    assert before + 2.0 <= query.deadline.at <= before + 2.5


async def test_a_stuck_judge_gives_minus_one_after_the_deadline_and_is_cancelled():
    judge = JudgeDouble(act=asyncio.Event().wait)
    desk = Desk(judge, seconds=0.1)

    assert await desk.ask() == -1.0
    await asyncio.sleep(0)

    assert judge.cancelled
    assert desk.journal[0].trace.answer.reason == "judge-stuck"
    assert desk.journal[0].probability is None
    assert desk.count("natix_queries_total", outcome="no-answer", validator="other") == 1


async def test_a_judge_that_raises_gives_minus_one_and_the_reason(told):
    async def fail():
        raise ZeroDivisionError("a fault")

    desk = Desk(JudgeDouble(act=fail))

    assert await desk.ask() == -1.0
    assert desk.journal[0].trace.answer.reason == "judge-raised ZeroDivisionError"
    assert any(line.startswith("ERROR the judge raised") for line in told)


async def test_no_usable_opinion_is_minus_one_and_a_warning(told):
    desk = Desk(JudgeDouble(None))
    assert await desk.ask() == -1.0
    assert told[0].startswith("WARNING")


async def test_a_bad_picture_is_an_error_and_still_journalled():
    desk = Desk(JudgeDouble(None, error=BrokenPictureError("the picture is cut off")))

    with pytest.raises(BrokenPictureError):
        await desk.ask()

    assert len(desk.journal) == 1
    assert desk.count("natix_queries_total", outcome="answered", validator="other") is None


async def test_a_rehearsal_leaves_no_mark(told):
    desk = Desk(JudgeDouble())
    assert await desk.ask(rehearsal=True) == 0.25
    assert desk.judge.queries[0].source == "rehearsal"
    assert (desk.journal, told) == ([], [])


async def test_giving_up_refuses_what_is_in_flight():
    desk = Desk(JudgeDouble(act=asyncio.Event().wait), seconds=60.0)
    asking = asyncio.create_task(desk.ask())
    await asyncio.sleep(0.01)

    desk.answering.give_up()

    with pytest.raises(RefusedRequestError) as refused:
        await asking
    assert refused.value.status == 503
