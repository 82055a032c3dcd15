"""The chain's word: endpoints, clock, registration, subnet. No test asks the real chain."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from datetime import UTC, datetime

import pytest

from natix_miner.doctor import Status, chain
from natix_miner.doctor.chain import ChainFacts, ask_chain, facts_of_file, look_at_chain
from natix_miner.doctor.subnet import (
    check_clock,
    check_clock_offline,
    check_registration,
    check_subnet,
)
from natix_miner.errors import ChainError, SnapshotError
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron

NOW = 1_800_000_000.0


class ManualClock:
    """A clock that goes on by a step at every look."""

    def __init__(self, step=0.5):
        self.step = step
        self.ticks = 0.0

    def monotonic(self):
        self.ticks += self.step
        return self.ticks

    def time(self):
        return NOW


class SubtensorDouble:
    """Answers as a chain would that makes a block whenever it is asked; `halted` makes none."""

    def __init__(self, halted=False, cost=0.25, made=NOW - 1):
        self.block = 999
        self.halted = halted
        self.cost = cost
        self.made = made

    async def get_current_block(self):
        self.block += 0 if self.halted else 1
        return self.block

    async def neurons_lite(self, netuid, block):
        from bittensor.core.chain_data import NeuronInfoLite

        return [NeuronInfoLite.get_null_neuron()]

    async def recycle(self, netuid):
        if self.cost is None:
            raise ChainError("no such hyperparameter")
        return self.cost

    async def get_timestamp(self, block):
        return datetime.fromtimestamp(self.made, UTC)


def asking(**doubles):
    """Connections to doubles by endpoint; every other endpoint refuses."""

    def ask(endpoint, work, seconds):
        if endpoint not in doubles:
            raise ChainError(f"{endpoint}: ConnectionRefusedError; the next one is asked")
        return asyncio.run(work(doubles[endpoint]))

    return ask


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(chain, "_BETWEEN_SECONDS", 0.0)


def test_a_good_endpoint_tells_block_time_and_cost():
    finding, facts = look_at_chain(["one"], 72, asking(one=SubtensorDouble()), 5.0, ManualClock())
    assert finding.status is Status.OK
    assert "one answers in 0.5 s (block 1000)" in finding.detail
    assert (facts.cost, facts.snapshot.time, facts.heard_at) == (0.25, NOW - 1, NOW)


def test_every_endpoint_is_told_and_the_first_good_one_is_asked():
    finding, facts = look_at_chain(
        ["bad", "one"], 72, asking(one=SubtensorDouble()), 5.0, ManualClock()
    )
    assert finding.status is Status.WARN
    assert "bad: ConnectionRefusedError" in finding.detail
    assert facts is not None


def test_a_slow_endpoint_is_a_warning():
    finding, _ = look_at_chain(
        ["one"], 72, asking(one=SubtensorDouble()), 5.0, ManualClock(chain.SLOW_SECONDS + 1)
    )
    assert finding.status is Status.WARN


def test_what_is_not_told_loses_neither_the_snapshot_nor_the_rest():
    halted = SubtensorDouble(halted=True, cost=None)
    finding, facts = look_at_chain(["one"], 72, asking(one=halted), 5.0, ManualClock(1.0))
    assert finding.status is Status.OK
    assert (facts.cost, facts.snapshot.time) == (None, None)
    assert check_clock(facts).status is Status.SKIPPED


def test_refused_endpoints_fail_within_their_time():
    """The real SDK against ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    begun = time.monotonic()
    finding, facts = look_at_chain(
        [f"ws://127.0.0.1:{port}"], 72, ask_chain(72), 1.5, ManualClock()
    )
    assert (finding.status, facts) == (Status.FAIL, None)
    assert f"ws://127.0.0.1:{port}" in finding.detail
    assert time.monotonic() - begun < 20.0


def facts(made, lag=4.0, neurons=(), cost=None):
    return ChainFacts(ChainSnapshot(72, 1000, neurons, made), NOW, lag, cost)


@pytest.mark.parametrize(
    ("late", "status", "word"),
    [
        (-11.0, Status.FAIL, "behind"),
        (-5.0, Status.WARN, "5.0 s behind"),
        (-1.0, Status.OK, "within"),
        (0.5, Status.OK, "within"),
        (5.5, Status.OK, "within"),
        (9.0, Status.WARN, "5.0 s ahead of"),
        (15.0, Status.FAIL, "ahead of"),
    ],
)
def test_the_clock_is_off_by_what_the_way_of_a_block_does_not_explain(late, status, word):
    found = check_clock(facts(NOW - late))
    assert (found.status, word in found.detail) == (status, True)


def test_without_a_block_the_systems_own_word_is_told():
    assert check_clock_offline(True).status is Status.OK
    assert check_clock_offline(False).status is Status.WARN
    assert check_clock_offline(None).status is Status.SKIPPED


def test_a_file_was_heard_of_when_it_was_written(tmp_path):
    path = tmp_path / "chain.json"
    path.write_text(json.dumps({"netuid": 72, "block": 5, "time": NOW, "neurons": []}))
    os.utime(path, (NOW + 60, NOW + 60))
    assert check_clock(facts_of_file(path, 72)).status is Status.FAIL
    os.utime(path, (NOW + 3, NOW + 3))
    assert check_clock(facts_of_file(path, 72)).status is Status.OK
    with pytest.raises(SnapshotError, match="not 323"):
        facts_of_file(path, 323)


OURS = Neuron(7, "5own", 0.0, False, "0.0.0.0", 0, 0.25, 1.5, 3)
OTHER = Neuron(8, "5other", 0.0, False, "1.2.3.4", 80, 0.75, 4.5, 3)
VALIDATOR = Neuron(0, "5v", 9.0, True, "0.0.0.0", 0, 0.0, 0.0, 990)


def test_registration_tells_the_uid_or_the_cost():
    found = check_registration("5own", facts(None, neurons=(OURS,)))
    assert (found.status, "uid 7" in found.detail) == (Status.OK, True)
    missing = check_registration("5mine", facts(None, neurons=(OURS,), cost=0.25))
    assert (missing.status, "0.25 TAO" in missing.detail) == (Status.WARN, True)
    assert "not known" in check_registration("5mine", facts(None)).detail


@pytest.mark.parametrize(
    ("neurons", "status", "word"),
    [
        ((VALIDATOR, OURS, OTHER), Status.OK, "paying"),
        ((VALIDATOR, OURS), Status.WARN, "burning"),
        ((OURS, OTHER), Status.WARN, "silent"),
        ((VALIDATOR,), Status.WARN, "unknown"),
    ],
)
def test_a_subnet_that_pays_nobody_is_a_warning_and_no_fault_of_the_miner(neurons, status, word):
    found = check_subnet(ChainSnapshot(72, 1000, neurons))
    assert (found.status, found.detail.startswith(word)) == (status, True)
    if word == "paying":
        assert "6.0000 alpha a tempo to 2" in found.detail
    if word in ("burning", "silent"):
        assert "not a fault of this miner" in found.advice
