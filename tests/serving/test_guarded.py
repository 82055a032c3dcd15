"""The guard of a server: in time or refused at once, and what its breaker makes of each outcome."""

from __future__ import annotations

import asyncio
import random

import pytest

from natix_miner.breaker import BreakerState
from natix_miner.clock import Deadline
from natix_miner.errors import ServerAnswerError, UnavailableError
from natix_miner.experts.vlm.port import Question, Server, TokenAnswer
from natix_miner.serving.client import Client
from natix_miner.serving.counts import Counts
from natix_miner.serving.guarded import GuardedServer
from natix_miner.serving.settings import ServerSettings
from tests.serving import misbehaving as m

QUESTION = Question(before="Roadwork?", picture=b"\xff\xd8\xff")


class ScriptedClient:
    """A double of the client: takes the seconds it is told, then says or raises what it is told."""

    def __init__(self, seconds: float = 0.0, says: object = None) -> None:
        self.seconds, self.says, self.asked, self.retried = seconds, says, 0, 0

    async def ask(self, question: Question, deadline: Deadline) -> TokenAnswer:
        self.asked += 1
        seconds, says = self.seconds, self.says
        if deadline.remaining() < seconds:
            await asyncio.sleep(deadline.remaining())
            raise TimeoutError("no answer")
        await asyncio.sleep(seconds)
        if isinstance(says, BaseException):
            raise says
        return TokenAnswer(0.6, 0.2)

    async def write(self, question: Question, most_tokens: int, deadline: Deadline) -> str:
        await self.ask(question, deadline)
        return "cones" * most_tokens


def settings(**changes: object) -> ServerSettings:
    return ServerSettings.model_validate({"model": "tiny", "max_in_flight": 4} | changes)


@pytest.fixture
def guard(virtual) -> GuardedServer:
    return GuardedServer("fast", settings(), virtual)


def attached(guard: GuardedServer, seconds: float = 0.0, says: object = None) -> ScriptedClient:
    client = ScriptedClient(seconds, says)
    guard.attach(client)
    return client


def ask(virtual, guard, seconds: float = 4.0):
    return virtual.run(guard.ask(QUESTION, Deadline.after(seconds, virtual)))


def fail(virtual, guard, expected, match=None, seconds=4.0) -> float:
    """Ask for nothing; how long that took."""
    began = virtual.monotonic()
    with pytest.raises(expected, match=match):
        ask(virtual, guard, seconds)
    return virtual.monotonic() - began


def test_it_is_what_experts_know_as_a_server(guard):
    server: Server = guard
    assert server.name == "fast"


def test_answers_and_text_pass_through(virtual, guard):
    attached(guard)
    assert ask(virtual, guard) == TokenAnswer(0.6, 0.2)
    assert virtual.run(guard.write(QUESTION, 2, Deadline.after(1.0, virtual))) == "conescones"
    assert guard.counts() == Counts(asked=2, answered=2)
    assert guard.in_flight == 0


def test_before_it_is_started_it_says_so_at_once(virtual, guard):
    assert fail(virtual, guard, UnavailableError, "'fast' is down: not started yet") == 0.0
    assert guard.counts() == Counts(refused_down=1)


def test_detached_it_says_why_and_attached_again_it_answers(virtual, guard):
    attached(guard)
    guard.detach("restarting for the 2nd time")
    assert fail(virtual, guard, UnavailableError, "restarting for the 2nd time") == 0.0
    attached(guard)
    ask(virtual, guard)


def test_whoever_waits_when_it_is_detached_can_turn_elsewhere_at_once(virtual, guard):
    attached(guard, seconds=3.0)

    async def detached_while_asked() -> list:
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, guard.detach, "the canary was not answered")
        loop.call_later(1.0, guard.detach, "the canary was not answered")
        deadline = Deadline.after(4.0, virtual)
        asking = (guard.ask(QUESTION, deadline) for _ in range(3))
        return await asyncio.gather(*asking, return_exceptions=True)

    began = virtual.monotonic()
    errors = virtual.run(detached_while_asked())
    assert virtual.monotonic() - began == pytest.approx(1.0)
    assert [type(error) for error in errors] == [UnavailableError] * 3
    assert "went away: the canary was not answered" in str(errors[0])
    assert guard.in_flight == 0
    assert guard.counts() == Counts(asked=3, failed=3)


def test_whoever_is_cancelled_while_it_is_detached_stays_cancelled(virtual, guard):
    attached(guard, seconds=3.0)

    async def both() -> None:
        task = asyncio.ensure_future(guard.ask(QUESTION, Deadline.after(4.0, virtual)))
        await asyncio.sleep(1.0)
        guard.detach("stopped")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual.run(both())
    assert guard.in_flight == 0


def test_beyond_the_most_it_refuses_at_once_and_that_is_no_failure(virtual, guard):
    client = attached(guard, seconds=1.0)

    async def burst() -> list:
        deadline = Deadline.after(4.0, virtual)
        asking = (guard.ask(QUESTION, deadline) for _ in range(7))
        return await asyncio.gather(*asking, return_exceptions=True)

    answers = virtual.run(burst())
    refused = [answer for answer in answers if isinstance(answer, UnavailableError)]
    assert len(refused) == 3
    assert "'fast' is full: 4 are under way" in str(refused[0])
    assert client.asked == 4
    assert guard.counts() == Counts(asked=4, answered=4, refused_full=3)
    assert guard.breaker.state is BreakerState.CLOSED


FAILURES = [
    ServerAnswerError("broke off", 0),
    ServerAnswerError("left out", 200),
    ServerAnswerError("wrong key", 401),
    ServerAnswerError("wrong model", 404),
    ServerAnswerError("its own fault", 500),
    ValueError("a defect of ours"),
]


@pytest.mark.parametrize("error", FAILURES, ids=str)
def test_five_failures_open_the_breaker_and_then_nobody_is_asked(virtual, guard, error):
    client = attached(guard, says=error)
    for _ in range(5):
        fail(virtual, guard, type(error))
    assert (
        fail(virtual, guard, UnavailableError, "rests: 5 failures in a row, next try in 30 s") == 0
    )
    assert client.asked == 5
    assert guard.counts() == Counts(asked=5, failed=5, refused_down=1)


def test_late_answers_open_the_breaker(virtual, guard):
    attached(guard, seconds=60.0)
    for _ in range(5):
        assert fail(virtual, guard, TimeoutError) == pytest.approx(4.0)
    fail(virtual, guard, UnavailableError, "5 failures in a row")
    assert guard.counts() == Counts(asked=5, timed_out=5, refused_down=1)


@pytest.mark.parametrize(
    "error",
    [
        ServerAnswerError("broken picture", 400),
        ServerAnswerError("too large", 413),
        UnavailableError("queue full"),
    ],
    ids=str,
)
def test_what_is_not_the_servers_fault_never_opens_the_breaker(virtual, guard, error):
    client = attached(guard, says=error)
    for _ in range(50):
        fail(virtual, guard, type(error))
    assert client.asked == 50
    assert guard.breaker.state is BreakerState.CLOSED
    counts = guard.counts()
    assert (counts.failed, counts.refused_full) in {(50, 0), (0, 50)}


def test_the_probe_decides_and_rests_grow(virtual, guard):
    client = attached(guard, says=ServerAnswerError("broke off"))
    for _ in range(5):
        fail(virtual, guard, ServerAnswerError)
    virtual.advance(30.0)
    fail(virtual, guard, ServerAnswerError)
    fail(virtual, guard, UnavailableError, "next try in 60 s")
    virtual.advance(60.0)
    client.says, client.seconds = None, 1.0

    async def probe_and_others() -> list:
        deadline = Deadline.after(4.0, virtual)
        asking = (guard.ask(QUESTION, deadline) for _ in range(3))
        return await asyncio.gather(*asking, return_exceptions=True)

    answer, *refused = virtual.run(probe_and_others())
    assert answer == TokenAnswer(0.6, 0.2)
    assert all("a probe is under way" in str(error) for error in refused)
    assert ask(virtual, guard)


@pytest.mark.parametrize(
    "error", [ServerAnswerError("broken picture", 400), UnavailableError("queue full")], ids=str
)
def test_a_probe_that_tells_nothing_is_sent_again(virtual, guard, error):
    client = attached(guard, says=ServerAnswerError("broke off"))
    for _ in range(5):
        fail(virtual, guard, ServerAnswerError)
    virtual.advance(30.0)
    client.says = error
    fail(virtual, guard, type(error))
    client.says = None
    ask(virtual, guard)
    assert guard.breaker.state is BreakerState.CLOSED


def test_one_that_had_far_less_time_than_usual_says_nothing(virtual, guard):
    client = attached(guard)
    for _ in range(10):
        ask(virtual, guard, seconds=4.0)
    client.seconds = 1.0
    for _ in range(9):
        fail(virtual, guard, TimeoutError, seconds=0.5)
    assert guard.breaker.state is BreakerState.CLOSED
    assert guard.counts().timed_out == 9


def test_a_late_one_beside_answers_counts_in_the_rate_only(virtual):
    guard = GuardedServer("fast", settings(max_in_flight=64), virtual)
    client = ScriptedClient(1.0)
    guard.attach(client)

    async def round_of(answered: int, late: int) -> None:
        deadline = Deadline.after(4.0, virtual)
        client.seconds = 60.0
        asking = [asyncio.ensure_future(guard.ask(QUESTION, deadline)) for _ in range(late)]
        await asyncio.sleep(0)
        client.seconds = 1.0
        asking += [asyncio.ensure_future(guard.ask(QUESTION, deadline)) for _ in range(answered)]
        await asyncio.gather(*asking, return_exceptions=True)

    virtual.run(round_of(answered=9, late=8))
    assert guard.breaker.state is BreakerState.CLOSED
    assert guard.counts() == Counts(asked=17, answered=9, timed_out=8)
    virtual.run(round_of(answered=4, late=8))
    assert guard.breaker.state is BreakerState.OPEN
    assert "requests failed" in guard.breaker.reason()


def cancel(virtual, guard, after: float) -> None:
    """Ask with 4 s, and cancel from outside after some of them."""

    async def cancelled() -> None:
        task = asyncio.ensure_future(guard.ask(QUESTION, Deadline.after(4.0, virtual)))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual.run(cancelled())


def test_cancelled_after_a_long_wait_it_was_late(virtual, guard):
    attached(guard, seconds=60.0)
    for _ in range(5):
        cancel(virtual, guard, 3.9)
    assert guard.counts() == Counts(asked=5, timed_out=5)
    fail(virtual, guard, UnavailableError, "5 failures in a row")


def test_cancelled_early_it_says_nothing(virtual, guard):
    attached(guard, seconds=60.0)
    for _ in range(20):
        cancel(virtual, guard, 0.5)
    assert guard.counts() == Counts(asked=20, given_up=20)
    assert guard.breaker.state is BreakerState.CLOSED
    assert guard.in_flight == 0


def test_a_cancelled_probe_makes_room_for_the_next(virtual, guard):
    client = attached(guard, seconds=60.0)
    for _ in range(5):
        fail(virtual, guard, TimeoutError)
    virtual.advance(30.0)
    cancel(virtual, guard, 0.5)
    client.seconds = 0.0
    ask(virtual, guard)


def test_without_time_left_nobody_is_asked_and_nothing_counts(virtual, guard):
    client = attached(guard)
    assert fail(virtual, guard, TimeoutError, "no time was left", seconds=-1.0) == 0.0
    assert client.asked == 0
    assert guard.counts() == Counts()


def test_a_new_client_starts_with_a_clean_slate(virtual, guard):
    first = attached(guard, says=ServerAnswerError("broke off"))
    first.retried = 3
    for _ in range(5):
        fail(virtual, guard, ServerAnswerError)
    second = attached(guard)
    second.retried = 2
    ask(virtual, guard)
    assert guard.counts() == Counts(asked=6, answered=1, failed=5, retried=5)


def test_what_the_client_before_still_brings_says_nothing_about_the_new_one(virtual, guard):
    old = attached(guard, seconds=2.0, says=ServerAnswerError("broke off"))

    async def replaced_while_asked() -> None:
        deadline = Deadline.after(4.0, virtual)
        asking = [asyncio.ensure_future(guard.ask(QUESTION, deadline)) for _ in range(4)]
        await asyncio.sleep(1.0)
        old.says = None
        guard.attach(ScriptedClient())
        await asyncio.gather(*asking, return_exceptions=True)
        old.says = ServerAnswerError("broke off")

    for _ in range(3):
        virtual.run(replaced_while_asked())
    assert guard.breaker.state is BreakerState.CLOSED


def test_it_knows_since_when_it_has_answered(virtual, guard):
    attached(guard)
    before = virtual.monotonic()
    assert not guard.answered_since(before)
    ask(virtual, guard)
    virtual.advance(1.0)
    assert guard.answered_since(before)
    assert not guard.answered_since(virtual.monotonic())


def test_breakers_of_two_miners_do_not_probe_in_step(virtual):
    rests = set()
    for seed in range(5):
        guard = GuardedServer("fast", settings(), virtual, random.Random(seed))
        attached(guard, says=ServerAnswerError("broke off"))
        for _ in range(5):
            fail(virtual, guard, ServerAnswerError)
        began = virtual.monotonic()
        while guard.breaker.admit() is None:
            virtual.advance(0.1)
        rests.add(round(virtual.monotonic() - began, 1))
    assert len(rests) > 2
    assert all(24.0 <= rest <= 30.1 for rest in rests)


@pytest.fixture
async def real():
    """A guard with a real client on a real server that misbehaves as the test says."""
    async with m.Misbehaving().running() as server:
        client = Client("fast", server.url, "tiny", None, "chosen")
        await client.prepare(Deadline.after(20.0))
        guard = GuardedServer("fast", settings())
        guard.attach(client)
        yield guard, server
        await client.close()


@pytest.mark.parametrize(
    "behaviour",
    [m.reset, m.raw(b"garbage"), m.answer(200, b"{}"), m.answer(500, {}), m.answer(401, {})],
)
async def test_real_failures_open_the_breaker(real, behaviour):
    guard, server = real
    server.script = [behaviour]
    for _ in range(5):
        with pytest.raises(ServerAnswerError):
            await guard.ask(QUESTION, Deadline.after(20.0))
    asked = len(server.seen)
    with pytest.raises(UnavailableError, match="5 failures in a row"):
        await guard.ask(QUESTION, Deadline.after(20.0))
    assert len(server.seen) == asked


@pytest.mark.parametrize(
    ("status", "expected"), [(400, ServerAnswerError), (503, UnavailableError)]
)
async def test_a_refused_picture_and_a_full_queue_leave_it_closed(real, status, expected):
    guard, server = real
    server.script = [*[m.answer(status, {})] * 12, m.right()]
    for _ in range(12):
        with pytest.raises(expected):
            await guard.ask(QUESTION, Deadline.after(20.0))
    await guard.ask(QUESTION, Deadline.after(20.0))


async def test_a_real_hanging_server_is_given_up_on_in_time(real):
    guard, server = real
    server.script = [m.hang]
    asking = (guard.ask(QUESTION, Deadline.after(0.2)) for _ in range(4))
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(error) for error in errors] == [TimeoutError] * 4
    assert guard.in_flight == 0


async def test_detaching_closes_the_real_connections_under_way(real):
    guard, server = real
    server.script = [m.hang]
    task = asyncio.ensure_future(guard.ask(QUESTION, Deadline.after(20.0)))
    await asyncio.wait_for(server.came.wait(), 5.0)
    guard.detach("stopped")
    with pytest.raises(UnavailableError, match="went away: stopped"):
        await asyncio.wait_for(task, 5.0)
    await asyncio.wait_for(server.seen[0].hung_up.wait(), 5.0)


async def test_second_attempts_are_counted(real):
    guard, server = real
    server.script = [m.reset, m.right()]
    await guard.ask(QUESTION, Deadline.after(20.0))
    assert guard.counts() == Counts(asked=1, answered=1, retried=1)
