"""/healthz, /readyz and /metrics over real HTTP: what a supervisor sees when something is wrong."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.errors import AddressError
from natix_miner.journal import JournalWriter, Pacing
from natix_miner.judge import JudgeThread
from natix_miner.neuron.chain import ChainState
from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body
from natix_miner.neuron.health import LOSS_SECONDS, Health, Phase
from natix_miner.neuron.metrics.server import MOST_CONNECTIONS, serve_watching
from natix_miner.sections import JournalSettings
from natix_miner.serving.state import ServerStatus, State
from tests.faults.doubles_miner import running
from tests.neuron.miner_with_double import JudgeDouble as QuickJudge
from tests.neuron.populated import ChainDouble, JudgeDouble, populated, verdict


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Stands for the axon's loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@dataclass
class Served:
    """The three pages of a miner that serves, on a port."""

    port: int
    health: Health
    chain: ChainDouble
    judge: JudgeDouble
    loop: asyncio.AbstractEventLoop
    time: Any

    def page(self, path: str) -> tuple[int, dict[str, Any]]:
        status, headers, body = ask(self.port, path)
        assert headers["Content-Type"] == "application/json"
        assert body.count(b"\n") == 1
        return status, json.loads(body)


class OffsetClock:
    """The machine's clock, put forward at will."""

    ahead = 0.0

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic() + self.ahead

    def time(self) -> float:
        return SYSTEM_CLOCK.time() + self.ahead


@pytest.fixture
def served():
    with loop_in_a_thread() as loop:
        clock = OffsetClock()
        health = Health(loop, clock)
        health.phase, health.axon_up = Phase.SERVING, lambda: True
        health.chain, health.judge = ChainDouble(), JudgeDouble()
        health.judge.servers["power"] = ServerStatus(State.UP)
        health.judge.rests["vlm"] = True
        port = free_port()
        close = serve_watching("127.0.0.1", port, populated().registry, health, clock)
        yield Served(port, health, health.chain, health.judge, loop, clock)
        close()


class TestAlive:
    def test_a_loop_that_answers_is_alive(self, served):
        status, document = served.page("/healthz")
        assert status == 200
        assert document["alive"] is True
        assert document["phase"] == "serving"
        assert 0.0 <= document["loop_ms"] < 1000.0

    def test_a_miner_that_still_loads_its_models_is_alive_too(self, served):
        served.health.phase = Phase.STARTING
        status, document = served.page("/healthz")
        assert (status, document["alive"], document["phase"]) == (200, True, "starting")

    def test_a_loop_that_hangs_is_not_and_is_once_it_goes_on(self, served):
        go_on = threading.Event()
        served.loop.call_soon_threadsafe(go_on.wait, 10.0)
        began = time.monotonic()
        status, document = served.page("/healthz")
        assert (status, document["alive"]) == (503, False)
        assert "does not answer" in document["reason"]
        assert 0.9 < time.monotonic() - began < 3.0
        go_on.set()
        assert served.page("/healthz")[0] == 200

    def test_a_hanging_loop_collects_one_ping_however_often_it_is_asked(self, served, monkeypatch):
        monkeypatch.setattr("natix_miner.neuron.health.PING_SECONDS", 0.05)
        go_on, sent = threading.Event(), []
        served.loop.call_soon_threadsafe(go_on.wait, 10.0)
        plain = served.loop.call_soon_threadsafe
        monkeypatch.setattr(
            served.loop, "call_soon_threadsafe", lambda *given: (sent.append(given), plain(*given))
        )
        assert [served.page("/healthz")[0] for _ in range(5)] == [503] * 5
        go_on.set()
        assert len(sent) == 1

    def test_the_metrics_are_shown_while_the_loop_hangs(self, served):
        go_on = threading.Event()
        served.loop.call_soon_threadsafe(go_on.wait, 10.0)
        assert ask(served.port, "/metrics")[0] == 200
        assert served.page("/readyz")[0] == 200
        go_on.set()

    def test_a_closed_loop_is_not_alive(self):
        loop = asyncio.new_event_loop()
        loop.close()
        assert Health(loop, SYSTEM_CLOCK).liveness().alive is False


class TestReady:
    def test_with_everything_in_place(self, served):
        assert served.page("/readyz") == (200, {"ready": True, "reasons": [], "degraded": []})

    @pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
    def test_not_while_it_starts_or_drains(self, served, phase):
        served.health.phase = phase
        assert served.page("/readyz") == (
            503,
            {"ready": False, "reasons": [phase.value], "degraded": []},
        )

    def test_not_when_the_axon_is_gone(self, served):
        served.health.axon_up = lambda: False
        status, document = served.page("/readyz")
        assert (status, document["reasons"]) == (503, ["the axon does not accept connections"])

    def test_not_without_a_snapshot(self, served):
        served.chain.snapshot, served.chain.state = None, ChainState.WAITING
        status, document = served.page("/readyz")
        assert (status, document["reasons"]) == (503, ["no snapshot of the chain"])

    def test_all_reasons_are_told(self, served):
        served.health.phase, served.chain.snapshot = Phase.DRAINING, None
        served.health.journal = lambda: "disk-full"
        assert served.page("/readyz")[1]["reasons"] == [
            "draining",
            "no snapshot of the chain",
            "journal: disk-full",
        ]

    def test_a_server_an_expert_or_the_chain_missing_is_degraded_only(self, served):
        served.judge.servers["power"] = ServerStatus(State.OFF, "gone")
        served.judge.rests["vlm"] = False
        served.chain.state = ChainState.STALE
        assert served.page("/readyz") == (
            200,
            {
                "ready": True,
                "reasons": [],
                "degraded": [
                    "chain: stale",
                    "server power: off",
                    "expert vlm: not asked, it kept failing",
                ],
            },
        )

    def test_nothing_is_known_at_the_very_start(self):
        loop = asyncio.new_event_loop()
        found = Health(loop, SYSTEM_CLOCK).readiness()
        loop.close()
        assert found.reasons == ("starting", "no snapshot of the chain")
        assert not found.ready


def test_a_journal_says_when_it_would_refuse(tmp_path):
    writer = JournalWriter(JournalSettings(path=tmp_path / "journal.sqlite3", queue=2))
    assert writer.refuses() == "closed"
    with writer.start():
        assert writer.refuses() is None
        with writer._wake:  # the writer's thread cannot take any out meanwhile
            assert writer.record(verdict())
            assert writer.refuses() is None
            assert writer.record(verdict())
            assert writer.refuses() == "queue-full"
            assert not writer.record(verdict())
        assert writer.flush(5.0)
        assert writer.refuses() is None
    assert writer.refuses() == "closed"


class TestServer:
    def test_metrics_in_the_format_that_is_asked_for(self, served):
        status, headers, plain = ask(served.port, "/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain")
        assert b"natix_uid 7.0\n" in plain
        accept = "application/openmetrics-text;version=1.0.0"
        _, headers, modern = ask(served.port, "/metrics", Accept=accept)
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        assert {family.name for family in text_string_to_metric_families(modern.decode())} >= {
            "natix_queries",
            "natix_build",
        }

    def test_a_head_request_gets_the_size_and_no_body(self, served):
        status, headers, body = ask(served.port, "/readyz", "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 10

    @pytest.mark.parametrize("path", ["/", "/metrics/", "/debug", "/../etc/passwd"])
    def test_other_pages_are_not_found(self, served, path):
        assert ask(served.port, path)[0] == 404

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    def test_nothing_but_reading_is_allowed(self, served, method):
        status, headers, _ = ask(served.port, "/metrics", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")

    def test_nothing_that_a_reader_sends_comes_back(self, served):
        for path in ("/<script>", "/readyz?<script>"):
            _, headers, body = ask(served.port, path)
            assert b"script" not in body
            assert "script" not in str(headers)

    def test_connections_that_never_ask_are_bounded_in_number_and_time(self, served):
        before = len(os.listdir("/proc/self/fd"))
        idle = [
            socket.create_connection(("127.0.0.1", served.port), 5) for _ in range(MOST_CONNECTIONS)
        ]
        beyond = socket.create_connection(("127.0.0.1", served.port), 5)
        assert hung_up(beyond)
        idle[0].sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        served.time.ahead += 11.0
        assert all(hung_up(connection) for connection in idle)
        assert served.page("/readyz")[0] == 200
        for connection in (*idle, beyond):
            connection.close()
        assert len(os.listdir("/proc/self/fd")) <= before + 2

    def test_a_taken_port_and_a_foreign_address_are_told(self, served):
        registry = populated().registry
        with pytest.raises(AddressError, match=f"127.0.0.1:{served.port} .*--metrics-port"):
            serve_watching("127.0.0.1", served.port, registry, served.health, SYSTEM_CLOCK)
        with pytest.raises(AddressError, match=r"192\.0\.2\.1:.*--metrics-host"):
            serve_watching("192.0.2.1", served.port, registry, served.health, SYSTEM_CLOCK)


async def test_a_miner_is_ready_when_it_says_so_and_not_while_it_drains(miners, keys):
    miners.deadline_seconds = 2.0
    port = free_port()
    miner = miners.start("stuck", metrics_port=str(port))
    status, _, body = await asyncio.to_thread(ask, port, "/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": [], "degraded": []})
    assert b"natix_ready 1.0" in (await asyncio.to_thread(ask, port, "/metrics"))[2]

    headers = signed_headers(keys["validator"], miner.hotkey, time.time_ns())
    asking = asyncio.create_task(
        exchange(*miner.address, http_request(headers, synapse_body(b"picture")))
    )
    while b"natix_in_flight 1.0" not in (await asyncio.to_thread(ask, port, "/metrics"))[2]:
        await asyncio.sleep(0.02)
    miner.process.terminate()
    await asyncio.sleep(0.2)
    status, _, body = await asyncio.to_thread(ask, port, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, ["draining"])
    status, _, body = await asyncio.to_thread(ask, port, "/healthz")
    assert (status, json.loads(body)["phase"]) == (200, "draining")
    assert (await asking)[0] == 200
    assert await asyncio.to_thread(miner.process.wait, 15) == 0


async def test_a_miner_whose_journal_is_locked_says_so_until_it_is_written_again(tmp_path):
    pacing = Pacing(attempts=1, busy_seconds=0.01)
    clock = OffsetClock()
    async with running(
        tmp_path,
        make_judge=lambda _: JudgeThread(QuickJudge("quick")),
        clock=clock,
        pacing=pacing,
    ) as miner:
        port = miner.settings.metrics_port
        with sqlite3.connect(miner.settings.journal, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert (await miner.ask(b"picture")).status == 200
            await asyncio.to_thread(miner.miner.writer.flush, 5.0)
            status, _, body = await asyncio.to_thread(ask, port, "/readyz")
            assert (status, json.loads(body)["reasons"]) == (503, ["journal: locked"])
            assert await miner.count("natix_ready") == 0
            assert await miner.count("natix_journal_losses_total", reason="locked") == 1
        clock.ahead += LOSS_SECONDS + 1.0
        assert (await asyncio.to_thread(ask, port, "/readyz"))[0] == 200
        assert await miner.count("natix_ready") == 1
