"""The supervisor's states in virtual time: a double for the process and for the client, all else
(guard, breaker, budget) is real. Real processes: test_servers, real vLLM: test_vllm_server."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from natix_miner.clock import Deadline
from natix_miner.errors import (
    ServerAnswerError,
    ServerCommandError,
    ServerStartError,
    UnavailableError,
)
from natix_miner.experts.vlm.port import Question, TokenAnswer
from natix_miner.serving.budget import Patience, RestartBudget
from natix_miner.serving.guarded import GuardedServer
from natix_miner.serving.life import Life
from natix_miner.serving.process import LogFile
from natix_miner.serving.settings import RestartLimits, ServerSettings
from natix_miner.serving.state import State
from natix_miner.serving.supervisor import Supervisor

QUESTION = Question(before="roadwork?")


class ProcessDouble:
    """A process in name only: ends when told, and notes what is done to it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.log = LogFile(Path("out/fast.log"), 1, 1)
        self.lines: list[str] = []
        self.done: list[str] = []
        self.kill_seconds = 0.0
        self._ended = asyncio.Event()

    async def wait(self) -> None:
        await self._ended.wait()

    async def stop(self) -> None:
        self.done.append("stop")
        self._ended.set()

    async def kill(self) -> None:
        await asyncio.sleep(self.kill_seconds)
        self.done.append("kill")
        self._ended.set()

    async def last_lines(self) -> list[str]:
        return self.lines

    def end(self, *lines: str) -> None:
        self.lines = list(lines)
        self._ended.set()


class ClientDouble:
    """A client in name only: answers after `seconds`, or raises `error`."""

    retried = 0

    def __init__(self) -> None:
        self.seconds = 0.1
        self.error: Exception | None = None
        self.asked: list[float] = []
        self.closed = False

    async def ask(self, question: Question, deadline: Deadline) -> TokenAnswer:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return TokenAnswer(0.5, 0.5)

    async def write(self, question: Question, most_tokens: int, deadline: Deadline) -> str:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


class Stage:
    """A supervisor with doubles around it; `prepare` shapes each life before it begins."""

    def __init__(
        self, clock, *, remote: bool = False, prepare: Callable = lambda life: None, **settings
    ) -> None:
        self.clock = clock
        self.rng = random.Random(3)
        self.lives: list[Life] = []
        self.begun: list[float] = []
        self.prepare = prepare
        if remote:
            settings |= {"base_url": "http://elsewhere:1"}
        self.settings = ServerSettings(model="x", **settings)
        self.guard = GuardedServer("fast", self.settings, clock, self.rng)
        self.supervisor = Supervisor(
            "fast",
            self.settings,
            launch=self.launch,
            ask=self.ask,
            turn=contextlib.nullcontext,
            guard=self.guard,
            budget=Patience(10.0, 60.0, self.rng)
            if remote
            else RestartBudget(self.settings.restarts, clock, self.rng),
            clock=clock,
        )

    async def launch(self) -> Life:
        self.begun.append(self.clock.monotonic())
        process = None if self.settings.remote else ProcessDouble(100 + len(self.lives))
        life = Life(ClientDouble(), process)
        self.prepare(life)
        self.lives.append(life)
        return life

    async def ask(self, client: ClientDouble, deadline: Deadline) -> None:
        await client.ask(QUESTION, deadline)

    @property
    def status(self):
        return self.supervisor.status

    @property
    def life(self) -> Life:
        return self.lives[-1]

    async def becomes(self, state: State, seconds: float) -> None:
        """Wait until it is in this state; fails when it takes longer."""
        async with asyncio.timeout(seconds):
            while self.status.state is not state:
                await asyncio.sleep(0.01)

    async def asks(self) -> None:
        """A real question of an expert."""
        await self.guard.ask(QUESTION, Deadline.after(60.0, self.clock))


@pytest.fixture
def play(virtual):
    """Run a scene on a stage of this kind, then close the supervisor."""

    def run(scene: Callable, **kind) -> Stage:
        stage = Stage(virtual, **kind)

        async def whole() -> None:
            stage.supervisor.start()
            try:
                await scene(stage)
            finally:
                await stage.supervisor.close()

        virtual.run(whole())
        return stage

    return run


@pytest.fixture
def log():
    lines: list[str] = []
    sink = logger.add(
        lambda line: lines.append(str(line)), level="DEBUG", format="{level} {message}"
    )
    yield lines
    logger.remove(sink)


REFUSED = ServerAnswerError("nobody listens", 0)


def test_it_is_up_once_a_picture_is_answered_and_not_before(play):
    async def scene(stage):
        assert stage.status.state is State.STARTING
        assert not stage.supervisor.settled.is_set()
        await asyncio.sleep(30.0)
        assert stage.status.state is State.STARTING
        assert stage.status.pid == 100
        with pytest.raises(UnavailableError, match="is down"):
            await stage.asks()
        stage.life.client.error = None
        await stage.becomes(State.UP, 1.0)
        await stage.asks()
        assert stage.supervisor.settled.is_set()
        assert (stage.status.reason, stage.status.restarts) == ("", 0)
        assert stage.status.since == pytest.approx(stage.clock.time(), abs=0.2)

    play(scene, prepare=lambda life: setattr(life.client, "error", REFUSED))


def test_the_first_picture_may_take_as_long_as_the_start(play):
    async def scene(stage):
        await stage.becomes(State.UP, 62.0)
        assert len(stage.lives) == 1

    play(scene, prepare=lambda life: setattr(life.client, "seconds", 60.0), start_seconds=100.0)


def test_a_start_that_takes_too_long_is_ended_and_begun_anew(play):
    async def scene(stage):
        await stage.becomes(State.DOWN, 21.0)
        assert stage.status.reason.startswith(
            "did not come up: no answer to a picture within 20 s (nobody listens)"
        )
        await stage.becomes(State.STARTING, 2.0)
        assert stage.lives[0].process.done == ["kill"]
        assert stage.lives[0].client.closed
        assert stage.status.restarts == 1
        assert stage.status.pid in (None, 101)

    play(scene, prepare=lambda life: setattr(life.client, "error", REFUSED), start_seconds=20.0)


def test_a_server_that_answers_wrongly_need_not_be_waited_for(play):
    wrong = ServerAnswerError("answered without log-probabilities", 200)

    async def scene(stage):
        await stage.becomes(State.DOWN, 2.0)
        assert "answered without log-probabilities" in stage.status.reason

    play(scene, prepare=lambda life: setattr(life.client, "error", wrong))


def test_one_that_ends_at_start_tells_its_last_lines_and_the_line_that_matters(play):
    lines = [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        *(f"  frame {number}" for number in range(40)),
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]

    async def scene(stage):
        await asyncio.sleep(5.0)
        stage.life.process.end(*lines)
        await stage.becomes(State.DOWN, 1.0)
        first, *rest = stage.status.reason.splitlines()
        assert first.startswith("did not come up: its process ended; its memory does not suffice")
        assert "Tried to allocate 2.00 GiB" in first
        assert "out/fast.log" in first
        assert [line.strip() for line in rest] == [line.strip() for line in lines[-15:]]
        with pytest.raises(UnavailableError) as refused:
            await stage.asks()
        assert "\n" not in str(refused.value), "a trace has no room for a log"

    play(scene, prepare=lambda life: setattr(life.client, "error", REFUSED))


def test_what_another_start_does_not_mend_switches_it_off_at_once(play, log):
    async def scene(stage):
        stage.life.process.end("usage: vllm", "vllm: error: unrecognized arguments: --bogus")
        await stage.becomes(State.OFF, 1.0)
        assert "unrecognized arguments: --bogus" in stage.status.reason
        assert "serve check" in stage.status.reason
        assert stage.supervisor.settled.is_set()
        await asyncio.sleep(1000.0)
        assert len(stage.lives) == 1

    async def begun(stage):
        await asyncio.sleep(0.01)
        await scene(stage)

    play(begun, prepare=lambda life: setattr(life.client, "error", REFUSED))
    assert any(line.startswith("ERROR") and "--bogus" in line for line in log)


def test_one_that_dies_is_started_again(play, log):
    async def scene(stage):
        await stage.becomes(State.UP, 1.0)
        await asyncio.sleep(60.0)
        stage.life.process.end("EngineDeadError: EngineCore died", "warden: the engine ended")
        await stage.becomes(State.DOWN, 0.1)
        assert stage.status.reason.startswith("its process ended; EngineDeadError: EngineCore died")
        with pytest.raises(UnavailableError, match="EngineCore died"):
            await stage.asks()
        await stage.becomes(State.UP, 2.0)
        await stage.asks()
        assert stage.status.restarts == 1
        assert stage.lives[0].client.closed

    play(scene)
    assert any("WARNING" in line and "EngineCore died" in line for line in log)


def test_an_old_error_of_a_running_server_is_not_why_it_ended(play):
    async def scene(stage):
        await stage.becomes(State.UP, 1.0)
        stage.life.process.end(
            "error: unrecognized arguments: x", *["fine"] * 300, "RuntimeError: y"
        )
        await stage.becomes(State.DOWN, 0.1)
        assert stage.status.reason.startswith("its process ended; RuntimeError: y")

    play(scene)


def test_one_that_hangs_is_killed_within_one_look_and_one_canary(play):
    async def scene(stage):
        await stage.becomes(State.UP, 1.0)
        stage.life.client.seconds = 1e6
        await stage.becomes(State.DOWN, 10.0 + 5.0 + 0.1)
        assert stage.status.reason.startswith(
            "stopped answering: no answer to a picture within 5 s"
        )
        assert not stage.guard.answered_since(stage.clock.monotonic())
        await stage.becomes(State.UP, 2.0)
        assert stage.lives[0].process.done == ["kill"]

    play(scene)


def test_no_canary_is_sent_while_real_questions_are_answered(play):
    async def scene(stage):
        await stage.becomes(State.UP, 1.0)
        warm_up = len(stage.life.client.asked)
        for _ in range(20):
            await asyncio.sleep(5.0)
            await stage.asks()
        assert len(stage.life.client.asked) - warm_up == 20
        await asyncio.sleep(50.0)
        assert len(stage.life.client.asked) - warm_up in (24, 25)
        assert stage.status.state is State.UP

    play(scene)


def test_a_late_canary_is_forgiven_when_others_are_answered_meanwhile(play, log):
    async def scene(stage):
        await stage.becomes(State.UP, 1.0)
        begun = stage.clock.monotonic()
        client = stage.life.client
        original = client.ask

        async def canaries_hang(question, deadline):
            if asyncio.current_task() in experts:
                return await original(question, deadline)
            await asyncio.sleep(1e6)

        experts = set()
        client.ask = canaries_hang
        # The look at 10 s sees no answer and sends a canary; this one is answered during it.
        await asyncio.sleep(begun + 12.0 - stage.clock.monotonic())
        asking = asyncio.create_task(stage.asks())
        experts.add(asking)
        await asking
        await asyncio.sleep(begun + 19.0 - stage.clock.monotonic())
        assert stage.status.state is State.UP
        await stage.becomes(State.DOWN, 30.0)

    play(scene)
    assert any("is busy" in line for line in log)


def test_a_full_server_that_answers_others_is_not_killed(play):
    async def scene(stage):
        await stage.becomes(State.UP, 1.0)
        client = stage.life.client
        original = client.ask

        async def full_for_canaries(question, deadline):
            if asyncio.current_task() in experts:
                return await original(question, deadline)
            raise UnavailableError("503: queue full")

        client.ask = full_for_canaries
        experts = set()
        for _ in range(10):
            await asyncio.sleep(12.0)
            asking = asyncio.create_task(stage.asks())
            experts.add(asking)
            await asking
        assert stage.status.state is State.UP

    play(scene, canary_seconds=11.0)


def test_our_own_loop_standing_still_is_not_held_against_the_server(play):
    async def scene(stage):
        await stage.becomes(State.UP, 1.0)
        client = stage.life.client
        original = client.ask

        async def stalled_once(question, deadline):
            client.ask = original
            stage.clock.advance(30.0)
            await asyncio.sleep(10.0)

        client.ask = stalled_once
        await asyncio.sleep(60.0)
        assert stage.status.state is State.UP
        assert len(stage.lives) == 1

    play(scene)


def test_a_crash_loop_ends_when_the_budget_is_used_up(play, log):
    async def scene(stage):
        async with asyncio.timeout(600.0):
            while stage.status.state is not State.OFF:
                if stage.status.state is State.UP:
                    stage.life.process.end("SomeError: boom")
                await asyncio.sleep(0.05)
        assert len(stage.lives) == 1 + 5
        assert "5 restarts within 600 s" in stage.status.reason
        assert "boom" in stage.status.reason
        assert stage.status.restarts == 5
        assert stage.status.pid is None
        with pytest.raises(UnavailableError):
            await stage.asks()

    play(scene)
    assert any(line.startswith("ERROR") and "given up" in line for line in log)


def test_starts_in_vain_are_counted_however_long_they_take(play):
    async def scene(stage):
        await stage.becomes(State.OFF, 6 * 100.0 + 60.0)
        assert len(stage.lives) == 6

    play(
        scene,
        prepare=lambda life: setattr(life.client, "error", REFUSED),
        start_seconds=100.0,
        restarts={"window_seconds": 60.0},
    )


def test_a_death_every_quarter_of_an_hour_goes_on_for_ever(play):
    async def scene(stage):
        for _ in range(50):
            await stage.becomes(State.UP, 5.0)
            await asyncio.sleep(900.0)
            stage.life.process.end()
            await stage.becomes(State.DOWN, 0.1)

    assert play(scene).status.restarts == 50


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ServerCommandError("no flag for that"), State.OFF),
        (ServerStartError("port 8000 cannot be used"), State.DOWN),
        (OSError("disk"), State.DOWN),
    ],
)
def test_a_launch_that_is_impossible_ends_in_a_state_too(play, error, state):
    def fail(life):
        raise error

    async def scene(stage):
        await stage.becomes(state, 1.0)
        assert str(error) in stage.status.reason

    play(scene, prepare=fail)


def test_an_error_of_the_supervisor_itself_is_said_and_switches_the_server_off(play, log):
    def fail(life):
        raise ZeroDivisionError("a mistake of ours")

    async def scene(stage):
        await stage.becomes(State.OFF, 1.0)
        assert stage.supervisor.settled.is_set()
        assert "a mistake of ours" in stage.status.reason

    play(scene, prepare=fail)
    assert any(line.startswith("ERROR") and "supervisor" in line for line in log)


@pytest.mark.parametrize("when", ["starting", "up", "pausing", "killing", "off"])
def test_closing_stops_it_whatever_it_is_doing(play, when):
    def shape(life):
        life.process.kill_seconds = 0.5
        if when in ("starting", "off"):
            life.client.error = REFUSED

    async def scene(stage):
        await asyncio.sleep(1.0)
        if when in ("pausing", "killing"):
            stage.life.client.seconds = 1e6
            await stage.becomes(State.DOWN, 20.0)
            if when == "pausing":
                await asyncio.sleep(0.51)
        elif when == "off":
            stage.life.process.end("error: unrecognized arguments: --x")
            await stage.becomes(State.OFF, 5.0)
        await stage.supervisor.close()
        await stage.supervisor.close()
        assert stage.status.state is State.CLOSED
        assert all(life.process.done for life in stage.lives)
        assert all(life.client.closed for life in stage.lives)
        assert ("stop" in stage.lives[-1].process.done) == (when in ("starting", "up", "killing"))
        lives = len(stage.lives)
        await asyncio.sleep(100.0)
        assert len(stage.lives) == lives
        with pytest.raises(UnavailableError, match="the miner stops"):
            await stage.asks()

    play(scene, prepare=shape, restarts={"first_seconds": 60.0})


def test_a_remote_server_is_asked_for_ever_and_never_killed(play, log):
    async def scene(stage):
        await asyncio.wait_for(stage.supervisor.settled.wait(), 6.0)
        assert stage.status.state is State.DOWN
        states = set()
        for _ in range(3000):
            await asyncio.sleep(1.0)
            states.add(stage.status.state)
        assert states == {State.DOWN}, "asking again is no start"
        pauses = [b - a for a, b in zip(stage.begun, stage.begun[1:], strict=False)]
        assert all(pause <= 5.0 + 60.0 for pause in pauses)
        assert pauses[0] >= 5.0 + 5.0
        assert pauses[-1] >= 30.0
        assert stage.status.restarts == 0
        assert sum("WARNING" in line for line in log) == 1

        stage.prepare = lambda life: None
        await stage.becomes(State.UP, 70.0)
        await stage.asks()
        stage.life.client.error = REFUSED
        await stage.becomes(State.DOWN, 2 * 10.0 + 6.0)
        stage.life.client.error = None
        await stage.becomes(State.UP, 30.0)

    play(scene, remote=True, prepare=lambda life: setattr(life.client, "error", REFUSED))


def test_turns_are_held_until_it_is_up_or_buried(play):
    held = []

    @contextlib.asynccontextmanager
    async def turn():
        held.append("taken")
        yield
        held.append("given back")

    async def scene(stage):
        stage.supervisor._turn = turn
        await asyncio.sleep(0.05)
        assert held == ["taken"]
        stage.life.process.kill_seconds = 5.0
        stage.life.process.end()
        await asyncio.sleep(4.0)
        assert held == ["taken"], "its memory may not be free yet"
        await asyncio.sleep(1.5)
        assert held[:2] == ["taken", "given back"]
        await stage.becomes(State.UP, 10.0)
        assert held == ["taken", "given back"] * 2

    play(scene)


limits = st.builds(
    RestartLimits,
    most=st.integers(1, 8),
    window_seconds=st.floats(1.0, 1000.0),
    first_seconds=st.floats(0.1, 10.0),
    longest_seconds=st.floats(0.1, 100.0),
)


@given(
    limits, st.lists(st.tuples(st.floats(0.0, 500.0), st.booleans()), max_size=60), st.integers()
)
def test_no_window_ever_holds_more_restarts_than_allowed(limits, steps, seed):
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        time = monotonic

    clock = Clock()
    budget = RestartBudget(limits, clock, random.Random(seed))
    granted = []
    for seconds, came_up in steps:
        clock.now += seconds
        if came_up:
            budget.was_up()
        pause = budget.spend()
        if pause is not None:
            assert 0.0 <= pause <= limits.longest_seconds
            inside = [moment for moment in granted if clock.now - moment <= limits.window_seconds]
            assert pause <= max(limits.first_seconds * 2 ** max(len(inside), 8), 0.0)
            granted.append(clock.now)
        for end in granted:
            inside = [m for m in granted if end - limits.window_seconds <= m <= end]
            assert len(inside) <= limits.most
    assert budget.spent == len(granted)


def test_the_pauses_double_and_are_drawn_from_their_whole_range():
    class Clock:
        def monotonic(self) -> float:
            return 0.0

        time = monotonic

    drawn = []
    for seed in range(400):
        budget = RestartBudget(RestartLimits(most=8), Clock(), random.Random(seed))
        drawn.append([budget.spend() for _ in range(8)])
    for number, pauses in enumerate(zip(*drawn, strict=True)):
        longest = min(60.0, 2.0**number)
        assert max(pauses) <= longest
        assert max(pauses) > 0.95 * longest
        assert min(pauses) < 0.05 * longest
        assert sum(pauses) / 400 == pytest.approx(longest / 2, rel=0.1)
