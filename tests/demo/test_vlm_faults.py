"""The miner with a real vLLM server that is killed, stopped and orphaned while queries come in."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from natix_miner.cascade import Trace
from natix_miner.demo.processes import MinerProcess, servers_of
from natix_miner.demo.wallets import MINER, VALIDATOR, make_snapshot, make_wallet
from natix_miner.journal import Journal
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

CONFIGS = Path(__file__).parents[2] / "configs"
QUERIES = 200
LATE = 9.0  # the validator hangs up
DOWN_WITHIN = 30.0
UP_WITHIN = 150.0


def profile_with_language_always(folder: Path) -> Path:
    """The shipped profile; every query is asked of the server, which comes back quickly."""
    profile = yaml.safe_load((CONFIGS / "embedded-vlm.yaml").read_text())
    profile["name"] = "faults"
    for expert in profile["experts"].values():
        if "model" in expert:
            expert["model"] = str((CONFIGS / expert["model"]).resolve())
        if "questions" in expert:
            expert["questions"] = [str((CONFIGS / q).resolve()) for q in expert["questions"]]
    profile["servers"]["tiny"].update(
        model=str((CONFIGS / profile["servers"]["tiny"]["model"]).resolve()),
        executable=str((CONFIGS.parent / ".venv-vllm" / "bin" / "vllm").resolve()),
        canary_every_seconds=5,
    )
    profile["serving"]["folder"] = str(folder / "servers")
    profile["consensus"] = {"pool": "log-odds"}
    for level in profile["levels"]:
        level.pop("enter", None)
    path = folder / "faults.yaml"
    path.write_text(yaml.safe_dump(profile, sort_keys=False))
    return path


def pictures(count: int, seed: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(out, "JPEG")
        made.append(out.getvalue())
    return made


@dataclass
class Asker:
    """Signs queries as a validator and remembers how long each answer took."""

    port: int
    hotkey: str
    key: object

    async def ask(self, picture: bytes) -> tuple[float, float]:
        """(seconds, prediction)"""
        request = http_request(
            signed_headers(self.key, self.hotkey, time.time_ns()), synapse_body(picture)
        )
        begun = time.monotonic()
        status, reply = await exchange("127.0.0.1", self.port, request)
        assert status == 200, reply
        return time.monotonic() - begun, float(reply["prediction"])

    async def ask_all(self, made: list[bytes], at: int, act) -> list[tuple[float, float]]:
        """All pictures, four at a time; `act` is called when `at` answers have come."""
        gate, answers = asyncio.Semaphore(4), []

        async def one(picture: bytes) -> None:
            async with gate:
                answers.append(await self.ask(picture))
                if len(answers) == at:
                    act()

        await asyncio.gather(*(one(picture) for picture in made))
        return answers


@pytest.fixture(scope="module")
def miner(tmp_path_factory, vllm_installed):
    folder = tmp_path_factory.mktemp("faults")
    miner_key = make_wallet(folder / "wallets", MINER).hotkey
    validator = make_wallet(folder / "wallets", VALIDATOR).hotkey
    make_snapshot(folder / "chain.json", miner_key.ss58_address, validator.ss58_address)
    process = MinerProcess(profile_with_language_always(folder), folder)
    with process:
        yield process, Asker(process.port, miner_key.ss58_address, validator), folder


def engine_of(pid: int) -> int:
    """Process id of the engine below the API server (it names itself)."""
    for server in servers_of(pid):
        name = Path(f"/proc/{server}/comm").read_text()
        if "EngineCore" in name or "EngineCor" in name:
            return server
    raise AssertionError(
        {server: Path(f"/proc/{server}/comm").read_text() for server in servers_of(pid)}
    )


async def until_language_answers(asker: Asker, folder: Path, seconds: float) -> float:
    """Seconds until a query's trace shows an answer of the server."""
    begun = time.monotonic()
    seed = 1000
    while time.monotonic() - begun < seconds:
        seed += 1
        (picture,) = pictures(1, seed)
        await asker.ask(picture)
        if language_status(folder)[-1][0] == "ok":
            return time.monotonic() - begun
        await asyncio.sleep(0.5)
    raise AssertionError(f"the server did not come back: {language_status(folder)[-3:]}")


def language_status(folder: Path) -> list[tuple[str, str, float]]:
    """(status, detail, received_at) of the VLM expert in every journalled query, in order."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:  # the writer commits within a tenth of a second
        time.sleep(0.3)
        journal = Journal(folder / "journal.sqlite3")
        try:
            traces: list[Trace] = [entry.read_trace() for entry in journal.entries()]
        finally:
            journal.close()
        if traces:
            break
    traces.sort(key=lambda trace: trace.query.received_at)
    return [
        (expert.status, expert.detail, trace.query.received_at)
        for trace in traces
        for level in trace.levels
        for expert in level.experts
        if expert.name == "vlm"
    ]


async def test_the_engine_is_killed_and_comes_back_while_every_answer_is_in_time(miner):
    process, asker, folder = miner
    assert language_status_after(await asker.ask(pictures(1, 1)[0]), folder) == "ok"
    answers = await asker.ask_all(
        pictures(QUERIES, 2), 60, lambda: os.kill(engine_of(process.pid), signal.SIGKILL)
    )
    slowest = max(seconds for seconds, _ in answers)
    assert len(answers) == QUERIES
    assert slowest < LATE
    assert all(prediction >= 0.0 for _, prediction in answers)
    seen = Counter(status for status, _, _ in language_status(folder))
    back = await until_language_answers(asker, folder, UP_WITHIN)
    print(f"kill -9 of the engine: slowest answer {slowest:.2f} s, {dict(seen)}, up {back:.0f} s")
    assert seen["ok"] > 0
    assert seen["skipped"] + seen["failed"] + seen["timed-out"] > 0


async def test_the_engine_is_stopped_and_marked_down_while_every_answer_is_in_time(miner):
    process, asker, folder = miner
    await until_language_answers(asker, folder, UP_WITHIN)
    before = len(language_status(folder))
    stopped_at: list[float] = []

    def stop() -> None:
        os.kill(engine_of(process.pid), signal.SIGSTOP)
        stopped_at.append(time.time())

    answers = await asker.ask_all(pictures(QUERIES, 3), 60, stop)
    slowest = max(seconds for seconds, _ in answers)
    assert slowest < LATE
    assert all(prediction >= 0.0 for _, prediction in answers)
    # Queries keep coming until the trace says that the server is not asked any more.
    marked = None
    while marked is None and time.time() - stopped_at[0] < DOWN_WITHIN + 5.0:
        await asker.ask(pictures(1, int(time.time_ns() % 2**31))[0])
        marked = next(
            (
                (at - stopped_at[0], detail)
                for status, detail, at in language_status(folder)[before:]
                if status == "skipped" and at > stopped_at[0]
            ),
            None,
        )
    assert marked is not None
    assert marked[0] < DOWN_WITHIN
    back = await until_language_answers(asker, folder, UP_WITHIN)
    print(
        f"SIGSTOP of the engine: slowest answer {slowest:.2f} s, marked down after "
        f"{marked[0]:.1f} s ({marked[1]}), up again {back:.0f} s later"
    )


def language_status_after(answer: tuple[float, float], folder: Path) -> str:
    assert answer[1] >= 0.0
    return language_status(folder)[-1][0]


def test_the_miner_is_killed_and_takes_its_servers_with_it(miner):
    process, _, _ = miner
    spawned = servers_of(process.pid)
    assert len(spawned) >= 3, "warden, API server, engine"
    os.kill(process.pid, signal.SIGKILL)
    begun = time.monotonic()
    while servers_of(process.pid) and time.monotonic() - begun < 10.0:
        time.sleep(0.1)
    assert servers_of(process.pid) == []
    assert not [pid for pid in spawned if Path(f"/proc/{pid}").exists() and not zombie(pid)]
    print(f"kill -9 of the miner: its servers were gone after {time.monotonic() - begun:.1f} s")


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
