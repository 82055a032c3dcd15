"""Keeps one server running: starts it, watches it, ends it when it hangs, starts it again.

Up means that a warm-up picture was answered in the right form, alive that a canary picture is
answered within its time (see `canary`). No canary is sent when a real question was answered since
the last look, and one that fails is forgiven when real ones were answered meanwhile: the server is
busy then. Whatever goes wrong ends in a state and a reason; nothing is raised to the outside, the
miner goes on without the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, TypeVar

from loguru import logger

from natix_miner.clock import Clock, Deadline
from natix_miner.errors import NatixMinerError, ServerStartError
from natix_miner.serving.budget import Budget
from natix_miner.serving.canary import Ask, until_answered
from natix_miner.serving.causes import find_cause, with_last_lines
from natix_miner.serving.life import Guard, Life
from natix_miner.serving.settings import ServerSettings
from natix_miner.serving.state import ServerStatus, State

_Result = TypeVar("_Result")

#: A canary that comes back so long after its deadline tells that our own loop stood still.
OWN_DELAY_SECONDS = 1.0
#: Why a server ended that was up stands near the end of its log.
_RECENT_LINES = 200
_STOPS = "the miner stops"


class _Over(ServerStartError):
    """A life is over: why in a sentence, and in full with the last lines of its log; `lasting` when
    another one would end the same way."""

    def __init__(self, sentence: str, full: str = "", *, lasting: bool = False) -> None:
        super().__init__(full or sentence)
        self.sentence = sentence
        self.lasting = lasting


class Supervisor:
    """One server, from `start` to `close`.

    `launch` spawns it and makes its client (raises NatixMinerError when that is impossible),
    `ask` asks a client one picture, `turn` is held while it starts, `guard` has
    the client while it is up. `settled` is set once it was up or is given up; a remote one is never
    given up and settled once it was asked. Lives on one event loop; `status` may be read from any
    thread.
    """

    def __init__(
        self,
        name: str,
        settings: ServerSettings,
        *,
        launch: Callable[[], Awaitable[Life]],
        ask: Ask,
        turn: Callable[[], AbstractAsyncContextManager[Any]],
        guard: Guard,
        budget: Budget,
        clock: Clock,
    ) -> None:
        self.name = name
        self.settled = asyncio.Event()
        self._settings = settings
        self._launch = launch
        self._ask = ask
        self._turn = turn
        self._guard = guard
        self._budget = budget
        self._clock = clock
        self._life: Life | None = None
        self._task: asyncio.Task[None] | None = None
        self._told_down = False
        self.status = ServerStatus(State.STARTING, "not started yet", clock.time())

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"server {self.name}")
        self._task.add_done_callback(self._on_end)

    async def close(self) -> None:
        """Stop the server, politely, and leave it at that; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._guard.detach(_STOPS)
        life, self._life = self._life, None
        if life is not None:
            await life.client.close()
            if life.process is not None:
                await life.process.stop()
        self._become(State.CLOSED, _STOPS)
        self.settled.set()

    async def _run(self) -> None:
        while True:
            over = await self._live()
            pause = None if over.lasting else self._budget.spend()
            if pause is None:
                why = "another start would end the same way" if over.lasting else self._budget
                self._become(State.OFF, f"given up ({why}): {over}")
                logger.error("server {} is {}", self.name, self.status.reason)
                self.settled.set()
                return
            self._become(State.DOWN, str(over))
            self._tell_down(over, pause)
            if self._settings.remote:
                self.settled.set()
            await asyncio.sleep(pause)

    def _tell_down(self, over: _Over, pause: float) -> None:
        # A remote server may be away for days: said once, not whenever it was asked again.
        level = "DEBUG" if self._settings.remote and self._told_down else "WARNING"
        self._told_down = True
        logger.log(level, "server {}: {}; again in {:.1f} s", self.name, over.sentence, pause)

    async def _live(self) -> _Over:
        """One life of the server, from its launch to its end; why it ended."""
        if not (self._settings.remote and self.status.state is State.DOWN):
            self._become(State.STARTING, "waits for its turn to start")
        began = self._clock.monotonic()
        async with self._turn():
            try:
                life = await self._begin()
            except _Over as over:
                await self._end(over)
                return over
        self._budget.was_up()
        self._guard.attach(life.client)
        self._become(State.UP)
        self.settled.set()
        self._told_down = False
        logger.info("server {} is up after {:.1f} s", self.name, self._clock.monotonic() - began)
        try:
            await self._watch(life)
        except _Over as over:
            await self._end(over)
            return over

    async def _begin(self) -> Life:
        """Launch it and wait for its first answer; raises _Over."""
        try:
            life = self._life = await self._launch()
        except (NatixMinerError, OSError) as error:
            lasting = not isinstance(error, ServerStartError | OSError)
            raise _Over(str(error), lasting=lasting) from error
        if life.process:
            self._become(State.STARTING, "no picture answered yet")
            logger.info("server {} starts; its log: {}", self.name, life.process.log.path)
        seconds = self._settings.start_seconds if life.process else self._settings.canary_seconds
        try:
            problem = await self._unless_it_ends(life, self._answered(life, seconds))
        except _Ended:
            raise await self._over(life, "did not come up: its process ended") from None
        if problem:
            what = "does not answer" if life.process is None else "did not come up"
            raise await self._over(life, f"{what}: {problem}")
        return life

    async def _watch(self, life: Life) -> NoReturn:
        """Look after it while it is up; raises _Over."""
        try:
            while True:
                looked = self._clock.monotonic()
                pause = asyncio.sleep(self._settings.canary_every_seconds)
                await self._unless_it_ends(life, pause)
                if self._guard.answered_since(looked):
                    continue
                asked = self._clock.monotonic()
                problem = await self._unless_it_ends(life, self._canary_problem(life))
                if not problem:
                    continue
                if self._guard.answered_since(asked):
                    logger.debug("server {} is busy: canary: {}", self.name, problem)
                    continue
                raise await self._over(life, f"stopped answering: {problem}", search=False)
        except _Ended:
            raise await self._over(life, "its process ended") from None

    async def _canary_problem(self, life: Life) -> str:
        """Why no canary was answered; empty when one was."""
        seconds = self._settings.canary_seconds
        for _ in range(2):
            deadline = Deadline.after(seconds, self._clock)
            problem = await self._answered(life, seconds)
            if -deadline.remaining() < OWN_DELAY_SECONDS:
                break
        return problem

    async def _answered(self, life: Life, seconds: float) -> str:
        return await until_answered(
            lambda deadline: self._ask(life.client, deadline), seconds, self._clock
        )

    async def _unless_it_ends(self, life: Life, work: Coroutine[Any, Any, _Result]) -> _Result:
        """What `work` returns; raises _Ended when the process ends before that."""
        if life.process is None:
            return await work
        working = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(life.process.wait())
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise _Ended
            return working.result()
        finally:
            for task in (working, ending):
                task.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)

    async def _over(self, life: Life, what: str, *, search: bool = True) -> _Over:
        """The error that says what happened and how the log ends; `search` finds out why."""
        if life.process is None:
            return _Over(what)
        was_up = self.status.state is State.UP
        lines = await life.process.last_lines()
        if was_up:
            lines = lines[-_RECENT_LINES:]
        cause = find_cause(lines) if search else None
        sentence = f"{what}; {cause.sentence}" if cause else what
        return _Over(
            sentence,
            with_last_lines(sentence, lines, life.process.log.path),
            lasting=cause is not None and cause.lasting and not was_up,
        )

    async def _end(self, over: _Over) -> None:
        """Nobody asks it any more, and nothing of it is left."""
        self._guard.detach(over.sentence)
        self._become(State.DOWN, str(over))
        # Kept until it is gone: who cancels us here stops it himself.
        if (life := self._life) is not None:
            await life.client.close()
            if life.process is not None:
                await life.process.kill()
            self._life = None

    def _become(self, state: State, reason: str = "") -> None:
        process = self._life.process if self._life else None
        same = state is self.status.state
        self.status = ServerStatus(
            state=state,
            reason=reason,
            since=self.status.since if same else self._clock.time(),
            restarts=self._budget.spent,
            pid=process.pid if process else None,
        )

    def _on_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._guard.detach("its supervisor failed")
            self._become(State.OFF, f"its supervisor failed: {error!r}")
            self.settled.set()
            logger.opt(exception=error).error("the supervisor of server {} failed", self.name)


class _Ended(Exception):
    """The process has ended."""
