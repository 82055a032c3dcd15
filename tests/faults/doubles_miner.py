"""A whole miner in the process of the row: real axon, signatures, admission, judge thread, cascade,
journal, chain watch and metrics, on loopback. What a row breaks, it brings along itself."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from natix_miner.cascade.trace import Trace
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.journal import Journal, JournalWriter, Pacing
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body
from natix_miner.neuron.miner import Miner, RunsJudge
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron, write_snapshot
from natix_miner.neuron.wallet import MinerKeys
from natix_miner.profile import Profile, load_profile
from tests.faults.doubles_asking import Answered

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "models" / "embedded"
NETUID = 72
#: Every row has its answers by then.
DEADLINE_SECONDS = 3.0
#: A validator hangs up two seconds after the deadline.
HANGS_UP_SECONDS = DEADLINE_SECONDS + 2.0
START_SECONDS = 60.0
STOP_SECONDS = 30.0

COLOUR = {
    "type": "colour-shape",
    "model": str(EMBEDDED / "colour_shape.json"),
    "timeout_seconds": 2.0,
}
NETWORK = {
    "type": "embedded-network",
    "model": str(EMBEDDED / "network.onnx"),
    "views": ["whole"],
    "timeout_seconds": 2.0,
}


def key(number: int) -> Any:
    """A hotkey that is the same in every run."""
    from bittensor_wallet import Keypair

    return Keypair.create_from_seed("0x" + f"{number:02x}" * 32)


def subnet(*hotkeys: str, block: int = 1, validator: str = "") -> ChainSnapshot:
    """A snapshot of these hotkeys; `validator` has the permit."""
    rows = tuple(
        Neuron(uid, hotkey, 1000.0, hotkey == validator, "127.0.0.1", 8091, 0.0, 0.0)
        for uid, hotkey in enumerate(hotkeys)
    )
    return ChainSnapshot(NETUID, block, rows)


def write_profile(folder: Path, **changes: Any) -> Path:
    """A profile of the two embedded experts; `changes` replace its sections. In JSON, which is
    YAML."""
    content = {
        "name": "faults",
        "deadline_seconds": DEADLINE_SECONDS,
        "experts": {"network": NETWORK, "colour": COLOUR},
        "levels": [{"name": "glance", "experts": ["network", "colour"]}],
        "consensus": {"pool": "log-odds"},
        "breaker": {"failures": 3, "rest_seconds": 0.5},
        # A row asks faster than any validator does.
        "neuron": {"max_per_minute_per_hotkey": 0},
        "journal": {"keep_days": 1_000_000.0},
        **changes,
    }
    path = folder / "profile.yaml"
    path.write_text(json.dumps(content))
    return path


def judge_of(profile: Profile) -> RunsJudge:
    """The profile's own judge, as `natix-miner run` makes it."""
    from natix_miner.assembly import build_judge
    from natix_miner.judge import JudgeThread

    return JudgeThread(build_judge(profile))


class HastyMiner(Miner):
    """The miner, whose journal gives up sooner when told so: a row cannot wait as long."""

    pacing: Pacing | None = None
    writer: JournalWriter

    def _open_journal(self) -> JournalWriter:
        self.writer = super()._open_journal()
        if self.pacing is not None:
            self.writer._pacing = self.pacing
        return self.writer


class RunningMiner:
    """A miner that serves, and its validator."""

    def __init__(
        self, miner: HastyMiner, settings: RunSettings, profile: Profile, address: tuple[str, int]
    ) -> None:
        self.miner = miner
        self.settings = settings
        self.address = address
        self.deadline_seconds = profile.deadline_seconds
        self.validator = key(2)
        self.hotkey = key(1).ss58_address

    async def ask(self, picture: bytes, *, signed_at: float | None = None) -> Answered:
        """One signed query, on a connection of its own; `signed_at` in unix seconds, now by
        default."""
        nonce = time.time_ns() if signed_at is None else int(signed_at * 1e9)
        request = http_request(
            signed_headers(self.validator, self.hotkey, nonce), synapse_body(picture)
        )
        begun = time.monotonic()
        try:
            async with asyncio.timeout(2 * HANGS_UP_SECONDS):
                status, reply = await exchange(*self.address, request)
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError):
            return Answered(begun, time.monotonic() - begun, 0, None)
        seconds = time.monotonic() - begun
        said = reply.get("prediction") if status == 200 else None
        return Answered(begun, seconds, status, None if said is None else float(said))

    async def count(self, name: str, **labels: str) -> float:
        """The sum of a metric over all samples that have these labels, as /metrics tells it."""
        return await asyncio.to_thread(self._count, name, labels)

    def _count(self, name: str, labels: dict[str, str]) -> float:
        from prometheus_client.parser import text_string_to_metric_families

        address = f"http://127.0.0.1:{self.settings.metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as page:
            text = page.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def traces(self) -> list[Trace]:
        """Of all queries in the journal, in the order in which they came."""
        await asyncio.to_thread(self.miner.writer.flush, 10.0)
        return await asyncio.to_thread(self._traces)

    def _traces(self) -> list[Trace]:
        assert self.settings.journal is not None
        with Journal(self.settings.journal) as journal:
            read = [entry.read_trace() for entry in journal.entries()]
        return sorted(read, key=lambda trace: trace.query.received_at)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    profile: Path | None = None,
    make_judge: Callable[[Profile], RunsJudge] = judge_of,
    clock: Clock = SYSTEM_CLOCK,
    pacing: Pacing | None = None,
    **settings: Any,
) -> AsyncIterator[RunningMiner]:
    """A miner that has become ready; stopped in order at the end. `settings` are options of
    `natix-miner run`."""
    read = load_profile(profile or write_profile(folder))
    chosen = _settings(folder, settings)
    own = key(1)
    keys = MinerKeys(own, own.ss58_address, None, wallet=None, coldkey_present=False)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    miner = HastyMiner(
        chosen, read, keys, make_judge(read), clock, random.Random(72), say=ready.set_result
    )
    miner.pacing = pacing
    serving = asyncio.create_task(miner.run())
    patience = START_SECONDS + read.serving.wait_seconds
    try:
        await asyncio.wait({serving, ready}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        axon = ready.result().split("axon=")[1].split()[0]
        host, _, port = axon.rpartition(":")
        yield RunningMiner(miner, chosen, read, (host, int(port)))
    finally:
        miner.stop()
        await asyncio.wait_for(serving, STOP_SECONDS)


def _settings(folder: Path, changes: dict[str, Any]) -> RunSettings:
    values: dict[str, Any] = {
        "profile": folder / "profile.yaml",
        "netuid": NETUID,
        "axon_host": "127.0.0.1",
        "axon_port": 0,
        "metrics_port": free_port(),
        "journal": folder / "journal.sqlite3",
        "log_file": None,
        "state_dir": folder / "state",
        "publish_axon": False,
        **changes,
    }
    if "chain_endpoint" not in values and "chain_snapshot" not in values:
        values["chain_snapshot"] = write_chain(folder)
    return RunSettings(**values)


def write_chain(folder: Path, block: int = 1, registered: bool = True) -> Path:
    """The snapshot file of a subnet of the validator and, when registered, of us."""
    validator, own = key(2).ss58_address, key(1).ss58_address
    hotkeys = (validator, own) if registered else (validator,)
    path = folder / "chain.json"
    write_snapshot(subnet(*hotkeys, block=block, validator=validator), path)
    return path


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
