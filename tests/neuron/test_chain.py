"""The chain may refuse, stay mute, drop or forget us: the last good snapshot stays in use."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import socket
import threading
import time

import pytest
from websockets.asyncio.server import serve

from natix_miner.errors import ChainError, SnapshotError
from natix_miner.neuron.chain import ChainState, ChainWatch, Pace
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron, read_snapshot, write_snapshot
from natix_miner.neuron.sources import FileSource
from natix_miner.neuron.subtensor import SubtensorSource, endpoints_of, read_subnet

OWN = "5own"


def snapshot_with(*hotkeys, block=1, netuid=72):
    rows = tuple(
        Neuron(uid, hotkey, 1.0, True, "0.0.0.0", 0, 0.0, 0.0) for uid, hotkey in enumerate(hotkeys)
    )
    return ChainSnapshot(netuid, block, rows)


def test_rows_of_the_sdk_become_neurons():
    from natix_miner.neuron.sdk import load_sdk

    sdk = load_sdk()
    from bittensor.core.chain_data import AxonInfo, NeuronInfoLite

    def row(uid, **changes):
        axon = AxonInfo(version=1, ip="1.2.3.4", port=8091, ip_type=4, hotkey="5h", coldkey="5c")
        plain = NeuronInfoLite.get_null_neuron()
        values = {
            "uid": uid,
            "hotkey": f"5h{uid}",
            "total_stake": sdk.Balance.from_tao(12.5),
            "validator_permit": True,
            "incentive": 0.5,
            "emission": 0.25,
            "last_update": 60,
            "axon_info": axon,
        }
        return dataclasses.replace(plain, **{**values, **changes})

    class SubtensorDouble:
        """Answers as a chain at block 77 would."""

        async def get_current_block(self):
            return 77

        async def neurons_lite(self, netuid, block):
            return [row(0), row(1, axon_info=None, validator_permit=False)] if netuid == 72 else []

    snapshot = asyncio.run(read_subnet(SubtensorDouble(), 72))

    assert snapshot == ChainSnapshot(
        72,
        77,
        (
            Neuron(0, "5h0", 12.5, True, "1.2.3.4", 8091, 0.5, 0.25, 60),
            Neuron(1, "5h1", 12.5, False, "0.0.0.0", 0, 0.5, 0.25, 60),
        ),
    )
    with pytest.raises(ChainError, match="subnet 71 has no neurons"):
        asyncio.run(read_subnet(SubtensorDouble(), 71))


class ScriptedSource:
    """A source double: gives or raises what it was told, in turn; the last one for ever."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)

    def fetch(self):
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def describe(self):
        return "script"


def watch_on(source, clock, **changes):
    options = {"pace": Pace(300.0), "rng": random.Random(5), "own_hotkey": OWN, **changes}
    return ChainWatch(source, options.pop("pace"), clock, options.pop("rng"), **options)


def test_failures_keep_the_last_good_snapshot_and_are_told_once(manual_clock, told):
    failure = ChainError("endpoint does not answer")
    source = ScriptedSource(
        snapshot_with(OWN), failure, failure, failure, snapshot_with(OWN, block=9)
    )
    watch = watch_on(source, manual_clock)

    watch.refresh_once()
    assert (watch.state, watch.uid) == (ChainState.FRESH, 0)
    for _ in range(3):
        watch.refresh_once()
        assert watch.state is ChainState.STALE
        assert watch.snapshot.block == 1
    watch.refresh_once()

    assert (watch.state, watch.snapshot.block) == (ChainState.FRESH, 9)
    warnings = [line for line in told if line.startswith("WARNING")]
    assert warnings == ["WARNING chain fails (endpoint does not answer); snapshot in use: block 1"]


def test_the_age_is_counted_from_the_last_answer(manual_clock):
    watch = watch_on(ScriptedSource(snapshot_with(OWN), ChainError("x")), manual_clock)
    assert watch.age_seconds() is None
    watch.refresh_once()
    manual_clock.advance(60.0)
    watch.refresh_once()
    assert watch.age_seconds() == 60.0


def test_back_off_doubles_with_jitter_up_to_the_refresh_time():
    pace, rng = Pace(refresh=300.0, first_retry=5.0), random.Random(1)
    waits = [pace.after_failures(count, rng) for count in range(1, 40)]
    for count, wait in enumerate(waits, start=1):
        middle = min(300.0, 5.0 * 2 ** (count - 1))
        assert 0.5 * middle <= wait <= 1.5 * middle
    assert len(set(waits)) == len(waits)


def test_being_deregistered_is_told_once_and_serving_goes_on(manual_clock, told):
    source = ScriptedSource(
        snapshot_with(OWN, "5v"), snapshot_with("5v", block=2), snapshot_with("5v", block=3)
    )
    watch = watch_on(source, manual_clock)
    for _ in range(4):
        watch.refresh_once()

    assert watch.uid is None
    assert watch.snapshot.neuron_of("5v") is not None
    assert sum("is not registered on subnet 72" in line for line in told) == 1


def test_the_last_good_snapshot_is_kept_and_used_at_the_next_start(manual_clock, tmp_path):
    kept = tmp_path / "chain-72.json"
    watch_on(ScriptedSource(snapshot_with(OWN, block=5)), manual_clock, keep_at=kept).refresh_once()
    assert read_snapshot(kept).block == 5

    restarted = watch_on(ScriptedSource(ChainError("refused")), manual_clock, keep_at=kept)
    restarted.use_kept(72)
    assert (restarted.state, restarted.uid) == (ChainState.KEPT, 0)
    restarted.refresh_once()
    assert (restarted.state, restarted.snapshot.block) == (ChainState.STALE, 5)


@pytest.mark.parametrize("content", ["{broken", None])
def test_a_kept_snapshot_that_is_of_no_use_is_ignored(manual_clock, tmp_path, told, content):
    kept = tmp_path / "chain-72.json"
    if content is None:
        write_snapshot(snapshot_with(OWN, netuid=323), kept)
    else:
        kept.write_text(content)
    watch = watch_on(ScriptedSource(ChainError("x")), manual_clock, keep_at=kept)

    watch.use_kept(72)

    assert (watch.state, watch.snapshot) == (ChainState.WAITING, None)
    assert "ignored" in told[0]


def test_a_kept_snapshot_that_cannot_be_written_is_told_and_harms_nothing(
    manual_clock, tmp_path, told
):
    (tmp_path / "file").write_text("")
    keep_at = tmp_path / "file" / "chain.json"
    watch = watch_on(ScriptedSource(snapshot_with(OWN)), manual_clock, keep_at=keep_at)
    watch.refresh_once()
    assert watch.state is ChainState.FRESH
    assert any("cannot be kept" in line for line in told)


def test_the_thread_fetches_and_ends_when_asked(manual_clock):
    fetched = threading.Event()
    watch = watch_on(
        ScriptedSource(snapshot_with(OWN)), manual_clock, after_fetch=lambda _: fetched.set()
    )
    watch.start()
    assert fetched.wait(5.0)
    assert watch.stop(5.0)


def test_a_file_is_read_again_only_when_it_changed(tmp_path):
    path = tmp_path / "chain.json"
    source = FileSource(path, 72)
    with pytest.raises(SnapshotError, match="cannot be read"):
        source.fetch()
    write_snapshot(snapshot_with(OWN), path)
    assert source.fetch().block == 1
    assert source.fetch() is None
    write_snapshot(snapshot_with(OWN, block=2), path)
    assert source.fetch().block == 2
    write_snapshot(snapshot_with(OWN, netuid=323), path)
    with pytest.raises(SnapshotError, match="not 72"):
        source.fetch()


def test_endpoints_are_the_networks_unless_given():
    assert endpoints_of("finney", None) == ("finney",)
    assert endpoints_of("finney", "ws://a:1, ws://b:2,") == ("ws://a:1", "ws://b:2")


# -- the real SDK against a double of the chain's websocket --------------------------------------


class WebsocketDouble:
    """Stands for a chain endpoint that misbehaves. `mute` accepts and never answers; `dropping`
    closes at the first message; `babbling` answers what is no JSON-RPC."""

    def __init__(self, manner):
        self.manner = manner
        self.connections = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _run(self):
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        self._over = asyncio.Event()
        async with serve(self._handle, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}"
            self._ready.set()
            await self._over.wait()

    async def _handle(self, connection):
        self.connections += 1
        async for _ in connection:
            if self.manner == "dropping":
                await connection.close()
            elif self.manner == "babbling":
                await connection.send('{"jsonrpc": "2.0", "result": 7')


@contextlib.contextmanager
def refusing():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    yield f"ws://127.0.0.1:{port}"


@pytest.mark.parametrize("manner", ["mute", "dropping", "babbling"])
def test_an_endpoint_that_misbehaves_costs_bounded_time_and_is_an_error(manner):
    with WebsocketDouble(manner) as chain:
        source = SubtensorSource([chain.url], 72, timeout_seconds=1.5)
        begun = time.monotonic()
        with pytest.raises(ChainError, match=r"ws://127\.0\.0\.1"):
            source.fetch()
        assert chain.connections >= 1
    assert time.monotonic() - begun < 8.0


def test_a_refusing_endpoint_is_an_error_and_the_next_one_is_asked():
    with refusing() as refused, WebsocketDouble("mute") as mute:
        source = SubtensorSource([refused, mute.url], 72, timeout_seconds=1.5)
        with pytest.raises(ChainError, match=refused):
            source.fetch()
        assert mute.connections == 0
        with pytest.raises(ChainError, match=mute.url):
            source.fetch()
        assert mute.connections == 1
        with pytest.raises(ChainError, match=refused):
            source.fetch()


def test_a_watch_on_dead_endpoints_serves_the_kept_snapshot_and_its_thread_ends(
    manual_clock, tmp_path
):
    kept = tmp_path / "chain-72.json"
    write_snapshot(snapshot_with(OWN, block=5), kept)
    with WebsocketDouble("dropping") as chain:
        source = SubtensorSource([chain.url], 72, timeout_seconds=1.0)
        watch = watch_on(source, manual_clock, pace=Pace(0.05, 0.05), keep_at=kept)
        watch.use_kept(72)
        watch.start()
        give_up = time.monotonic() + 10
        while watch.state is not ChainState.STALE and time.monotonic() < give_up:
            time.sleep(0.02)
        assert watch.state is ChainState.STALE
        assert watch.snapshot.block == 5
        assert watch.stop(10.0)
