"""What the wire costs: server CPU per request for a 20 kB picture that nobody judges.

    python scripts/bench_wire.py [--requests 3000] [--kilobytes 20]

Starts the axon in a process of its own and sends it requests that were signed beforehand, one after
another over one kept-alive connection. Prints JSON. `wire` has a handler that answers at once;
`answering` goes through all that stands between wire and judge (query, metrics, log line) with a
judge that answers at once. The rest of the machine only matters for the latency.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any

WINDOW_SECONDS = 300.0  # all requests are signed before the first is sent
WARM_UP = 200
KINDS = ("wire", "answering")


def measure_wire(requests: int = 3000, kilobytes: int = 20) -> dict[str, Any]:
    """CPU milliseconds of the server and latency percentiles (milliseconds) for each kind."""
    return {
        "requests": requests,
        "picture_bytes": kilobytes * 1000,
        **{kind: _measure(kind, requests, kilobytes * 1000) for kind in KINDS},
    }


def _measure(kind: str, requests: int, picture_bytes: int) -> dict[str, Any]:
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--serve", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        started = json.loads(server.stdout.readline())
        signed = _signed(requests + WARM_UP, picture_bytes)
        latencies, used = asyncio.run(_drive(started["port"], signed, server))
        server.stdin.close()
    cuts = quantiles(latencies, n=100)
    return {
        "cpu_ms_per_request": round(1000.0 * used / requests, 4),
        "latency_ms": {"p50": round(median(latencies), 3), "p99": round(cuts[98], 3)},
        "http": started["http"],
        "loop": started["loop"],
    }


def _keys() -> tuple[Any, Any]:
    from bittensor_wallet import Keypair

    return Keypair.create_from_uri("//bench-miner"), Keypair.create_from_uri("//bench-validator")


def _signed(count: int, picture_bytes: int) -> list[bytes]:
    from natix_miner.neuron.client import http_request, signed_headers, synapse_body

    miner, validator = _keys()
    body = synapse_body(b"\x55" * picture_bytes)
    return [
        http_request(signed_headers(validator, miner.ss58_address, time.time_ns()), body)
        for _ in range(count)
    ]


async def _drive(
    port: int, signed: list[bytes], server: subprocess.Popen[str]
) -> tuple[list[float], float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    latencies = []
    before = 0.0
    for number, request in enumerate(signed):
        if number == WARM_UP:
            before = _cpu_seconds(server)
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        if number >= WARM_UP:
            latencies.append(1000.0 * (time.perf_counter() - begun))
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"request {number} was refused: {head.decode('latin-1')}")
    used = _cpu_seconds(server) - before
    writer.close()
    return latencies, used


def _cpu_seconds(server: subprocess.Popen[str]) -> float:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("cpu\n")
    server.stdin.flush()
    return float(server.stdout.readline())


async def _serve(kind: str) -> None:
    from natix_miner.clock import SYSTEM_CLOCK
    from natix_miner.neuron.admission import Admission, AdmissionRules
    from natix_miner.neuron.axon import LeanAxon, bind
    from natix_miner.neuron.metrics import Metrics
    from natix_miner.neuron.server import AxonApp
    from natix_miner.neuron.snapshot import ChainSnapshot, Neuron
    from natix_miner.neuron.verify import SeenNonces, Verifier

    miner, validator = _keys()
    row = Neuron(0, validator.ss58_address, 1.0, True, "0.0.0.0", 0, 0.0, 0.0)
    snapshot = ChainSnapshot(72, 1, (row,))
    admission = Admission(
        miner.ss58_address,
        Verifier(miner.ss58_address, WINDOW_SECONDS, SYSTEM_CLOCK),
        SeenNonces(2 * WINDOW_SECONDS, 200_000, SYSTEM_CLOCK),
        lambda: snapshot,
        AdmissionRules(24_000_000, 256_000_000, 2000, 1024, require_permit=True),
    )
    metrics, workers = Metrics(), ThreadPoolExecutor(2)
    handler = _at_once() if kind == "wire" else _through_answering(metrics, workers)
    app = AxonApp(miner, admission, handler, metrics, SYSTEM_CLOCK, workers, body_seconds=7.0)
    axon = LeanAxon(bind("127.0.0.1", 0), app, 75.0, 10.0, SYSTEM_CLOCK)
    await axon.start()
    loop = asyncio.get_running_loop()
    http = "httptools" if "httptools" in sys.modules else "h11"
    print(
        json.dumps({"port": axon.address[1], "http": http, "loop": type(loop).__module__}),
        flush=True,
    )
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time(), flush=True)
    await axon.stop(1.0)


def _at_once() -> Any:
    class AtOnce:
        """A handler that judges nothing."""

        async def answer(self, asked: Any) -> float:
            return 0.25

    return AtOnce()


def _through_answering(metrics: Any, workers: ThreadPoolExecutor) -> Any:
    from loguru import logger

    from natix_miner.cascade.trace import Answer, QueryTrace, Trace
    from natix_miner.cascade.verdict import Verdict
    from natix_miner.clock import SYSTEM_CLOCK
    from natix_miner.neuron.answering import Answering
    from natix_miner.query import Query

    logger.remove()
    logger.add(os.devnull, level="INFO")

    class AtOnce:
        """A judge that judges nothing."""

        async def judge(self, query: Query) -> Verdict:
            trace = Trace(
                query=QueryTrace.of(query),
                picture=None,
                levels=(),
                answer=Answer(prediction=0.25, reason="bench", level=None),
                stages_ms={"total": 0.0},
                versions={},
            )
            return Verdict(query, 0.25, trace)

    return Answering(AtOnce(), lambda _: True, metrics, SYSTEM_CLOCK, 7.0, workers)


def main() -> None:
    """Parse the command line; measure, or be the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--kilobytes", type=int, default=20)
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        from natix_miner.cli.run import loop_factory

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(arguments.serve))
        return
    print(json.dumps(measure_wire(arguments.requests, arguments.kilobytes), indent=2))


if __name__ == "__main__":
    main()
