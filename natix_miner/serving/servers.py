"""All servers of a profile as one thing that is started, asked for, and closed."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

from loguru import logger

from natix_miner.clock import SYSTEM_CLOCK, Clock, Deadline
from natix_miner.errors import ServingError
from natix_miner.serving import leftovers
from natix_miner.serving.budget import Budget, Patience, RestartBudget
from natix_miner.serving.canary import ask_canary
from natix_miner.serving.client import Client
from natix_miner.serving.folder import ServersFolder
from natix_miner.serving.guarded import GuardedServer
from natix_miner.serving.mark import Mark, Owner
from natix_miner.serving.ports import pick_port
from natix_miner.serving.process import ServerProcess
from natix_miner.serving.settings import ServerSettings, ServingSettings
from natix_miner.serving.state import LaunchPlan, ServerStatus, State
from natix_miner.serving.supervisor import Life, Supervisor
from natix_miner.serving.turns import Turns

#: From name, settings and a free port (0 for a remote server) to how it is started and reached;
#: called in a thread before each start. Raises NatixMinerError.
Prepare = Callable[[str, ServerSettings, int], LaunchPlan]


class Servers:
    """The servers of a profile, by name; nothing happens before `start`.

    `prepare` says how each incarnation is launched. All of it lives on the event loop that `start`
    is called on; `status` may be called from any thread.
    """

    def __init__(
        self,
        settings: Mapping[str, ServerSettings],
        serving: ServingSettings,
        *,
        prepare: Prepare,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        self._settings = dict(settings)
        self._prepare = prepare
        self._clock = clock
        self._rng = rng or random.Random()
        self._turns = Turns()
        self._folder = ServersFolder(
            serving.folder.absolute(), int(serving.log_megabytes * 1e6), serving.log_files
        )
        self._plans: dict[str, LaunchPlan] = {}
        self._guarded = {
            name: GuardedServer(name, each, clock, self._rng)
            for name, each in self._settings.items()
        }
        self._supervisors = {name: self._supervisor(name) for name in self._settings}
        self._closing: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Clean up after dead miners, then begin to start all; does not wait until they are up.

        Raises ServingError when the folder cannot be used.
        """
        self._folder.open()
        if any(not each.remote for each in self._settings.values()):
            await asyncio.to_thread(leftovers.clean, self._folder.path)
        for supervisor in self._supervisors.values():
            supervisor.start()

    async def settled(self, seconds: float) -> None:
        """Wait until each is up or given up (a remote one: asked once), at most `seconds`."""
        waiting = [
            asyncio.ensure_future(supervisor.settled.wait())
            for supervisor in self._supervisors.values()
        ]
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=None if math.isinf(seconds) else seconds)
        for task in late:
            task.cancel()
        if late:
            states = {name: str(status.state) for name, status in self.status().items()}
            logger.warning("not all servers are up after {:g} s: {}", seconds, states)

    def server(self, name: str) -> GuardedServer:
        """Where the experts ask; the same object for as long as the miner runs."""
        return self._guarded[name]

    def by_name(self) -> Mapping[str, GuardedServer]:
        """All of them."""
        return dict(self._guarded)

    def address(self, name: str) -> tuple[str, str | None, str]:
        """Base address, key and model name of a server that is up; raises ServingError."""
        if self._supervisors[name].status.state is not State.UP:
            raise ServingError(f"server {name!r} is not up: {self.status()[name].reason}")
        plan = self._plans[name]
        return plan.base_url, plan.api_key, plan.model

    def status(self) -> Mapping[str, ServerStatus]:
        """How each is doing."""
        return {
            name: replace(supervisor.status, requests=asdict(self._guarded[name].counts()))
            for name, supervisor in self._supervisors.items()
        }

    async def close(self) -> None:
        """Stop all side by side; takes as long as the most patient `stop_seconds` and 2 s at most.
        May be called twice."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await asyncio.gather(*(supervisor.close() for supervisor in self._supervisors.values()))
        self._folder.close()

    def _supervisor(self, name: str) -> Supervisor:
        settings = self._settings[name]
        budget: Budget = (
            Patience(settings.canary_every_seconds, settings.restarts.longest_seconds, self._rng)
            if settings.remote
            else RestartBudget(settings.restarts, self._clock, self._rng)
        )
        return Supervisor(
            name,
            settings,
            launch=lambda: self._launch(name),
            ask=self._ask,
            turn=self._turns.free if settings.remote else lambda: self._turns.of(settings.gpus),
            guard=self._guarded[name],
            budget=budget,
            clock=self._clock,
        )

    async def _launch(self, name: str) -> Life:
        settings = self._settings[name]
        port = 0 if settings.remote else pick_port(settings.port, name)
        plan = await asyncio.to_thread(self._prepare, name, settings, port)
        self._plans[name] = plan
        client = Client(
            name, plan.base_url, plan.model, plan.api_key, settings.token_logprobs, self._clock
        )
        if settings.remote:
            return Life(client)
        try:
            process = await ServerProcess.spawn(
                plan.command,
                plan.environment,
                Mark(Owner.this(), name),
                log=self._folder.log(name),
                records=self._folder.path,
                stop_seconds=settings.stop_seconds,
            )
        except BaseException:
            await client.close()
            raise
        return Life(client, process)

    async def _ask(self, client: Client, deadline: Deadline) -> None:
        await ask_canary(client, deadline, self._rng)
