"""Bodies that are larger than the axon takes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.faults.asking import Connection, ask_once, request_to
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.faults.miners import RunningMiner
from tests.faults.rows_wire import wire_miner


@fault("oversized-bodies", "bodies of 64 MB, announced and in chunks")
async def oversized(scale: Scale, folder: Path) -> Outcome:
    """What is announced is refused unread; what comes in chunks is read up to the limit of 24 MB.
    The peak of the resident memory is taken with 4 bodies at a time."""
    miner, claims = await wire_miner(), Claims()
    rounds = scale.count(2, 40)
    limit_mb = 24.0
    await _oversized_round(miner)  # warm
    miner.forget_peak()
    rest = miner.vitals().resident_kb
    statuses: Counter[str] = Counter()
    peaks, announced_ms, most_sent = [], [], 0.0
    for _ in range(rounds):
        miner.forget_peak()
        for kind, status, seconds, sent_mb in await _oversized_round(miner):
            statuses[f"{kind}:{status}"] += 1
            if kind == "announced":
                announced_ms.append(1000 * seconds)
            most_sent = max(most_sent, sent_mb)
        peaks.append((miner.vitals().peak_kb - rest) / 1000.0)
    after = await ask_once(miner)
    expected = {"announced:413": 4 * rounds, "chunked:413": 4 * rounds}
    claims.hold(dict(statuses) == expected, f"replies {dict(statuses)}, not {expected}")
    claims.hold(after.status == 200, f"the query afterwards got {after.status}")
    claims.hold(max(announced_ms) < 1000.0, f"an announced body took {max(announced_ms):.0f} ms")
    # Four bodies of up to 24 MB are held at once; half as much again for what reading them takes.
    claims.hold(max(peaks) < 6 * limit_mb, f"memory rose by {max(peaks):.0f} MB at most")
    claims.hold(peaks[-1] <= peaks[0] + 16.0, f"peaks rose from {peaks[0]:.0f} to {peaks[-1]:.0f}")
    claims.hold(most_sent < 64.0, "a chunked body was taken whole")
    return Outcome(
        {
            "announced_64mb": 4 * rounds,
            "chunked_64mb": 4 * rounds,
            "announced_refused_ms": round(max(announced_ms), 1),
            "most_sent_before_cut_mb": round(most_sent, 1),
            "peak_above_rest_first_mb": round(peaks[0], 1),
            "peak_above_rest_last_mb": round(peaks[-1], 1),
            "late": int(after.seconds > miner.deadline_seconds),
        },
        tuple(claims.broken),
    )


async def _oversized_round(miner: RunningMiner) -> list[tuple[str, int, float, float]]:
    """Four of each kind at a time: kind, status, seconds, MB sent."""
    announced = await asyncio.gather(*(_announced(miner) for _ in range(4)))
    chunked = await asyncio.gather(*(_chunked(miner) for _ in range(4)))
    return [*announced, *chunked]


async def _announced(miner: RunningMiner) -> tuple[str, int, float, float]:
    head = request_to(miner, b"").partition(b"\r\n\r\n")[0]
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    connection = await Connection.to(miner)
    reply = await connection.ask(b"\r\n".join([*lines, b"content-length: 64000000"]) + b"\r\n\r\n")
    connection.abort()
    return "announced", reply.status, reply.seconds, 0.0


async def _chunked(miner: RunningMiner) -> tuple[str, int, float, float]:
    head = request_to(miner, b"").partition(b"\r\n\r\n")[0]
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    connection = await Connection.to(miner)
    begun = time.perf_counter()
    reply = asyncio.create_task(connection.reply(begun))
    connection.writer.write(b"\r\n".join([*lines, b"transfer-encoding: chunked"]) + b"\r\n\r\n")
    sent, size = 0, 64_000
    chunk = f"{size:x}\r\n".encode() + b"A" * size + b"\r\n"
    with suppress(OSError):
        while sent < 64_000_000 and not reply.done():
            connection.writer.write(chunk)
            await connection.writer.drain()
            await asyncio.sleep(0)  # let the reply be noticed
            sent += size
    status = (await reply).status
    connection.abort()
    return "chunked", status, time.perf_counter() - begun, sent / 1e6
