"""A judge with servers: in which order it starts them, waits for them and gives them back."""

from __future__ import annotations

import pytest

from natix_miner.breaker import Breaker
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.experts import Expert, Look
from natix_miner.judge import Judge, JudgeThread
from natix_miner.sections import PictureLimits
from natix_miner.serving.state import ServerStatus, State


class ServersDouble:
    """Stands for the servers of a profile."""

    def __init__(self, did):
        self.did = did

    async def start(self):
        self.did.append("servers started")

    async def settled(self, seconds):
        self.did.append(f"waited {seconds:g}")

    async def close(self):
        self.did.append("servers closed")

    def status(self):
        return {"fast": ServerStatus(State.UP)}


class Watching(Expert):
    name, version = "watching", "1"

    def __init__(self, did):
        self.did = did

    async def start(self):
        self.did.append("expert started")

    async def look(self, frame, deadline):
        return Look(0.5)


@pytest.fixture
def made():
    did: list[str] = []
    expert = Watching(did)
    cascade = Cascade(
        (Level("only", (Seat(expert, 1.0, Breaker()),)),),
        LogOddsPool(equal_weights(frozenset({"watching"}))),
    )
    judge = Judge(
        cascade, (expert,), PictureLimits(), {}, servers=ServersDouble(did), wait_for_servers=7.0
    )
    return judge, did


async def test_servers_come_up_while_the_experts_load(made):
    judge, did = made
    await judge.start()
    assert did == ["servers started", "expert started", "waited 7"]
    await judge.close()
    assert did[-1] == "servers closed"


async def test_the_status_can_be_read_from_another_thread(made):
    judge, _ = made
    thread = JudgeThread(judge)
    await thread.start()
    assert thread.server_status()["fast"].state == "up"
    await thread.close()
