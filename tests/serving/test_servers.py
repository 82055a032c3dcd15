"""All servers of a profile: real processes (a stand-in engine) beneath real wardens, real HTTP."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from natix_miner.clock import Deadline
from natix_miner.errors import ServingError, UnavailableError
from natix_miner.experts.vlm.port import Question
from natix_miner.serving import procfs
from natix_miner.serving.servers import Servers
from natix_miner.serving.settings import ServerSettings, ServingSettings
from natix_miner.serving.state import LaunchPlan, State
from tests.serving.launching import KEY, plan_stand_in, soon, tell

PROMPT = 10.0
QUESTION = Question(before="roadwork?")
QUICK = {"first_seconds": 0.2, "longest_seconds": 0.2}


class LongestPauses(random.Random):
    """Jitter that never shortens a pause: whoever looks now and then sees each of them."""

    def uniform(self, a: float, b: float) -> float:
        return b


def section(*options: str, **settings: object) -> ServerSettings:
    """A server that is the stand-in with these options, restarted and looked at often."""
    quick = {"restarts": QUICK, "canary_every_seconds": 0.2, "canary_seconds": 1.0}
    return ServerSettings(model="x", arguments={"extra": options}, **(quick | settings))


@pytest.fixture
async def serve(tmp_path):
    begun: list[Servers] = []

    async def start(prepare=plan_stand_in, in_folder: Path = tmp_path, **sections) -> Servers:
        servers = Servers(
            sections, ServingSettings(folder=in_folder), prepare=prepare, rng=LongestPauses()
        )
        begun.append(servers)
        await servers.start()
        return servers

    yield start
    await asyncio.gather(*(servers.close() for servers in begun))


def state(servers: Servers, name: str) -> State:
    return servers.status()[name].state


async def becomes(servers: Servers, name: str, wanted: State, seconds: float = PROMPT) -> None:
    await soon(lambda: state(servers, name) is wanted, seconds, f"{name} {wanted}")


async def ask(servers: Servers, name: str) -> float:
    answer = await servers.server(name).ask(QUESTION, Deadline.after(PROMPT))
    return answer.probability


async def test_servers_come_up_answer_and_leave_nothing(serve, tmp_path):
    servers = await serve(fast=section("--engine"), power=section())
    assert [status.state for status in servers.status().values()] == [State.STARTING] * 2
    with pytest.raises(UnavailableError):
        await ask(servers, "fast")
    await servers.settled(PROMPT)
    assert [status.state for status in servers.status().values()] == [State.UP] * 2
    assert await ask(servers, "fast") == pytest.approx(0.70 / 0.94, abs=1e-6)
    url, key, model = servers.address("power")
    assert url.startswith("http://127.0.0.1:")
    assert (key, model) == (KEY, "stand-in")
    assert servers.by_name()["fast"] is servers.server("fast")
    wardens = [status.pid for status in servers.status().values()]
    processes = [each.id for pid in wardens for each in procfs.below(pid)]
    assert len(processes) == 3
    await servers.close()
    await servers.close()
    assert not any(procfs.lives(process) for process in processes)
    assert {status.state for status in servers.status().values()} == {State.CLOSED}
    with pytest.raises(UnavailableError):
        await ask(servers, "fast")
    with pytest.raises(ServingError, match="not up"):
        servers.address("fast")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".miner-1", "fast.log", "power.log"]
    assert not any(KEY in path.read_text() for path in tmp_path.iterdir())


async def test_a_server_that_cannot_be_one_does_not_hold_up_the_others(serve, tmp_path):
    """What can be wrong at start, all at once, beside one that is well (each its own GPU)."""
    twice = {"restarts": QUICK | {"most": 2}}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        servers = await serve(
            well=section(gpus=[0]),
            flag=section("--bogus", gpus=[1]),
            folder=section("--fail", "OSError: Can't load tokenizer for '/models/gone'", gpus=[2]),
            memory=section(
                "--fail", "torch.OutOfMemoryError: CUDA out of memory", gpus=[3], **twice
            ),
            taken=section(gpus=[4], port=port, **twice),
            garbage=section("--behave", "garbage", gpus=[5], **twice),
            silent=section("--behave", "hang", gpus=[6], start_seconds=1.0, **twice),
        )
        await servers.settled(2 * PROMPT)
    status = servers.status()
    assert state(servers, "well") is State.UP
    assert await ask(servers, "well") > 0.5
    said = {name: status[name].reason for name in status}
    assert {each: status[each].state for each in status if each != "well"} == dict.fromkeys(
        ("flag", "folder", "memory", "taken", "garbage", "silent"), State.OFF
    )
    assert "unrecognized arguments: --bogus" in said["flag"]
    assert "missing, incomplete or broken" in said["folder"]
    assert "/models/gone" in said["folder"]
    assert status["flag"].restarts == status["folder"].restarts == 0
    assert "memory does not suffice" in said["memory"]
    assert f"port {port} cannot be used (Address already in use)" in said["taken"]
    assert "no JSON" in said["garbage"]
    assert "no answer to a picture within 1 s" in said["silent"]
    for name in ("memory", "taken", "garbage", "silent"):
        assert status[name].restarts == 2, name
        assert status[name].pid is None


async def test_one_that_dies_or_hangs_comes_back_and_the_miner_asks_again(serve):
    servers = await serve(fast=section("--engine"))
    await becomes(servers, "fast", State.UP)

    tell(servers.address("fast")[0], "hang")
    begun = time.monotonic()
    await becomes(servers, "fast", State.DOWN)
    assert time.monotonic() - begun < 4.0
    with pytest.raises(UnavailableError, match="stopped answering"):
        await ask(servers, "fast")
    await becomes(servers, "fast", State.UP)
    assert await ask(servers, "fast") > 0.5

    (main, *_) = procfs.below(servers.status()["fast"].pid)
    os.kill(main.id.pid, signal.SIGKILL)
    await becomes(servers, "fast", State.DOWN)
    assert "signal SIGKILL" in servers.status()["fast"].reason
    await becomes(servers, "fast", State.UP)
    assert await ask(servers, "fast") > 0.5

    os.kill(servers.status()["fast"].pid, signal.SIGKILL)
    await becomes(servers, "fast", State.DOWN)
    await becomes(servers, "fast", State.UP)
    assert await ask(servers, "fast") > 0.5
    assert servers.status()["fast"].restarts == 3


async def test_questions_under_way_are_let_go_when_the_server_goes_down(serve):
    servers = await serve(fast=section(canary_seconds=0.5))
    await becomes(servers, "fast", State.UP)
    tell(servers.address("fast")[0], "hang")
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="went away"):
        await servers.server("fast").ask(QUESTION, Deadline.after(60.0))
    assert time.monotonic() - begun < PROMPT


class Starts:
    """Notes when each server is launched, and when the first look finds it up."""

    def __init__(self) -> None:
        self.launched: dict[str, float] = {}

    def prepare(self, name: str, settings: ServerSettings, port: int) -> LaunchPlan:
        self.launched[name] = time.monotonic()
        return plan_stand_in(name, settings, port)


async def test_servers_that_share_a_gpu_start_one_after_another_others_side_by_side(serve):
    starts = Starts()
    slow = ("--listen-after", "0.4")
    pair = section(*slow, gpus=[0]).model_copy(update={"gpus": (1, 0)})
    servers = await serve(
        starts.prepare,
        first=section(*slow, gpus=[0]),
        second=section(*slow, gpus=[0]),
        other=section(*slow, gpus=[1]),
        both=pair,
    )
    await servers.settled(2 * PROMPT)
    assert {status.state for status in servers.status().values()} == {State.UP}
    at = {name: moment - starts.launched["first"] for name, moment in starts.launched.items()}
    assert abs(at["other"]) < 0.4, "another GPU: side by side"
    assert at["second"] > 0.4, "the same GPU: one after the other"
    assert at["both"] > max(at["other"] + 0.4, 0.4)
    assert abs(at["both"] - at["second"]) > 0.4


async def test_servers_without_a_gpu_share_the_cpu_and_need_not_be_waited_for(serve):
    starts = Starts()
    slow = section("--listen-after", "0.4")
    servers = await serve(starts.prepare, first=slow, second=slow)
    begun = time.monotonic()
    await servers.settled(0.1)
    assert time.monotonic() - begun < 0.4
    assert {status.state for status in servers.status().values()} == {State.STARTING}
    await servers.settled(PROMPT)
    assert {status.state for status in servers.status().values()} == {State.UP}
    assert starts.launched["second"] - starts.launched["first"] > 0.4


async def test_all_are_stopped_side_by_side_within_the_longest_time_to_stop(serve):
    servers = await serve(
        a=section("--stubborn", "--engine", stop_seconds=1.0, gpus=[0]),
        b=section("--stubborn", "--engine", stop_seconds=1.0, gpus=[1]),
        c=section("--listen-after", "100", "--stubborn", stop_seconds=1.0, gpus=[2]),
    )
    await becomes(servers, "a", State.UP)
    await becomes(servers, "b", State.UP)
    processes = [
        each.id for status in servers.status().values() for each in procfs.below(status.pid)
    ]
    assert len(processes) == 5
    begun = time.monotonic()
    await servers.close()
    assert time.monotonic() - begun < 1.0 + 2.0
    assert not any(procfs.lives(process) for process in processes)


async def test_a_remote_server_is_asked_and_never_started_or_stopped(serve, tmp_path):
    local = await serve(fast=section(canary_every_seconds=1000.0))
    await becomes(local, "fast", State.UP)
    url, key, model = local.address("fast")
    remote = ServerSettings(
        model=model, base_url=url, canary_every_seconds=0.2, canary_seconds=0.5, restarts=QUICK
    )

    def prepare(name: str, settings: ServerSettings, port: int) -> LaunchPlan:
        assert port == 0
        return LaunchPlan(url, settings.model, key)

    servers = await serve(prepare, tmp_path / "other", elsewhere=remote)
    await servers.settled(PROMPT)
    assert state(servers, "elsewhere") is State.UP
    assert servers.status()["elsewhere"].pid is None
    assert await ask(servers, "elsewhere") > 0.5
    tell(url, "broken")
    await becomes(servers, "elsewhere", State.DOWN)
    assert "stopped answering" in servers.status()["elsewhere"].reason
    await asyncio.sleep(0.5)
    tell(url, "right")
    await becomes(servers, "elsewhere", State.UP)
    await servers.close()
    assert await ask(local, "fast") > 0.5, "somebody else's server is left alone"


async def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    servers = Servers(
        {"fast": section()}, ServingSettings(folder=tmp_path / "file"), prepare=plan_stand_in
    )
    with pytest.raises(ServingError, match=r"correct `serving\.folder`"):
        await servers.start()
    await servers.close()
