"""What a sender can do to a connection: not finish it, leave it, come back to it late.

All but the last row use one miner with a judge double, a deadline of 3 s and 1.5 s for headers, so
that what is to be cut off is cut off soon.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

from natix_miner.journal import Journal
from tests.faults.asking import (
    Connection,
    Reply,
    ask_once,
    request_to,
    street_pictures,
    unlike_any_other,
    until,
)
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.faults.miners import (
    SHORT_MEMORY,
    SMALL_JOURNAL,
    VALIDATORS,
    MinerSetup,
    RunningMiner,
    shared_miner,
)

HEAD_SECONDS = 1.5
DEADLINE_SECONDS = 3.0
CAPACITY = 40


async def wire_miner() -> RunningMiner:
    """The miner that the rows about the wire share."""
    setup = MinerSetup(
        double="echo",
        deadline_seconds=DEADLINE_SECONDS,
        neuron={
            "head_seconds": HEAD_SECONDS,
            "max_in_flight": CAPACITY,
            "max_in_flight_per_hotkey": 15,
            **SHORT_MEMORY,
        },
        journal=SMALL_JOURNAL,
    )
    return await shared_miner("wire", setup)


@fault("unfinished-requests", "100 connections that never finish their request")
async def unfinished(scale: Scale, folder: Path) -> Outcome:
    """A quarter sends nothing, a quarter half a request line, a quarter header after header without
    an end, a quarter a request whose body stays one byte short: most of those unsigned, the rest
    signed by one validator."""
    miner, claims = await wire_miner(), Claims()
    before = miner.vitals()
    many = scale.count(100, 800)
    begun = time.monotonic()
    lives = [asyncio.create_task(_dawdle(miner, number)) for number in range(many)]
    await asyncio.sleep(0.4)
    during = miner.vitals()
    asked: list[Reply] = []
    while not all(life.done() for life in lives) and time.monotonic() - begun < 30.0:
        asked.append(await ask_once(miner))
        await asyncio.sleep(0.1)
    seconds = [life.result() for life in lives if life.done()]
    flat = await until(lambda: miner.vitals().files <= before.files, 5.0)
    claims.hold(len(seconds) == many, f"{many - len(seconds)} connections were never closed")
    # Bodies may take until the deadline, and what follows a refusal another head_seconds.
    most = DEADLINE_SECONDS + HEAD_SECONDS + 1.5
    longest = max(seconds, default=0.0)
    claims.hold(longest <= most, f"a connection lived {longest:.1f} s, over {most:g} s")
    answered = [reply for reply in asked if reply.status == 200]
    claims.hold(bool(asked) and len(answered) == len(asked), "a real query was refused meanwhile")
    slowest = max((reply.seconds for reply in asked), default=0.0)
    claims.hold(slowest <= miner.deadline_seconds, f"a real query took {slowest:.2f} s")
    claims.hold(flat, f"{miner.vitals().files} files open afterwards, {before.files} before")
    return Outcome(
        {
            "connections": many,
            "open_files_before": before.files,
            "open_files_during": during.files,
            "open_files_after": miner.vitals().files,
            "longest_lived_s": round(longest, 2),
            "real_queries": len(asked),
            "answered": len(answered),
            "slowest_ms": round(1000 * slowest, 1),
            "late": sum(reply.seconds > miner.deadline_seconds for reply in asked),
        },
        tuple(claims.broken),
    )


async def _dawdle(miner: RunningMiner, number: int) -> float:
    """Seconds until the miner has closed a connection that never finishes its request."""
    connection = await Connection.to(miner)
    begun = time.monotonic()
    kind, nth = number % 4, number // 4
    request = request_to(miner, b"\x40never finished", VALIDATORS[0])
    if kind == 1:
        connection.writer.write(request[:20])
    elif kind == 2:
        connection.writer.write(b"POST /ImageSynapse HTTP/1.1\r\n")
    elif kind == 3:
        if nth >= 10:  # ten are signed and admitted, the others are not
            request = request.replace(b"dendrite_signature", b"dendrite_no")
        connection.writer.write(request[:-1])
    closed = asyncio.create_task(_closed(connection))
    while not closed.done():
        if kind == 2 and not connection.writer.transport.is_closing():
            connection.writer.write(b"x-more: and more\r\n")
        await asyncio.wait({closed}, timeout=0.3)
    connection.abort()
    return time.monotonic() - begun


async def _closed(connection: Connection) -> None:
    with suppress(OSError):
        while await connection.reader.read(65536):
            pass


@fault("leaving-mid-request", "the client leaves before, within and after the body")
async def leaving(scale: Scale, folder: Path) -> Outcome:
    """Whoever has sent all of a request is judged and journalled, whether he waits or not; what
    came in part is forgotten and counted."""
    miner, claims = await wire_miner(), Claims()
    each = scale.count(12, 500)
    before, left_before = miner.vitals(), await asyncio.to_thread(miner.refused, "sender-left")
    journalled_before = await asyncio.to_thread(_journalled, miner)
    for _ in range(each):
        for part in ("head", "some of the body", "all"):
            request = request_to(miner, unlike_any_other(street_pictures()[1]))
            body = request.index(b"\r\n\r\n") + 4
            end = {"head": body, "some of the body": body + 900}.get(part, len(request))
            connection = await Connection.to(miner)
            connection.writer.write(request[:end])
            await connection.writer.drain()
            await asyncio.sleep(0.002)
            connection.abort()
    whole = await until(lambda: _journalled(miner) - journalled_before >= each, 8.0, 0.1)
    journalled = await asyncio.to_thread(_journalled, miner) - journalled_before
    left = await asyncio.to_thread(miner.refused, "sender-left") - left_before
    after = await ask_once(miner)
    in_flight = (await asyncio.to_thread(miner.metrics))["natix_in_flight"]
    flat = await until(lambda: miner.vitals().files <= before.files, 5.0)
    claims.hold(whole and journalled == each, f"{journalled} of {each} whole queries journalled")
    claims.hold(left == 2 * each, f"{left:g} of {2 * each} cut requests counted as sender-left")
    claims.hold(after.status == 200, f"the query afterwards got {after.status}")
    claims.hold(in_flight == 0, f"{in_flight:g} requests are still in flight")
    claims.hold(flat, f"{miner.vitals().files} files open afterwards, {before.files} before")
    return Outcome(
        {
            "left_before_body": each,
            "left_within_body": each,
            "left_after_body": each,
            "counted_as_left": int(left),
            "journalled": journalled,
            "late": int(after.seconds > miner.deadline_seconds),
        },
        tuple(claims.broken),
    )


def _journalled(miner: RunningMiner) -> int:
    with Journal(miner.journal) as journal:
        return journal.counts().queries


@fault("keep-alive-race", "connections that lie idle for seconds between queries")
async def keep_alive(scale: Scale, folder: Path) -> Outcome:
    """A validator keeps a connection for 15 s; a query sent on it after any shorter pause must not
    meet a closed door. Pauses of 0.5 s to 4 s in the short run, to 14 s in the long one; headers
    have 1.5 s here, which must not count for the pause."""
    miner, claims = await wire_miner(), Claims()
    longest = min(14.0, max(4.0, 4.0 * scale.factor))
    many = scale.count(12, 200)
    pauses = [0.5 + (longest - 0.5) * number / max(1, many - 1) for number in range(many)]
    replies: list[Reply] = []
    lost = 0

    async def come_back(pause: float) -> None:
        nonlocal lost
        connection = await Connection.to(miner)
        try:
            for wait in (0.0, pause):
                await asyncio.sleep(wait)
                request = request_to(miner, unlike_any_other(street_pictures()[2]))
                replies.append(await connection.ask(request))
        except (EOFError, OSError):
            lost += 1
        finally:
            connection.close()

    gate = asyncio.Semaphore(CAPACITY)

    async def staggered(number: int, pause: float) -> None:
        await asyncio.sleep(0.01 * (number % 50))
        async with gate:
            await come_back(pause)

    await asyncio.gather(*(staggered(number, pause) for number, pause in enumerate(pauses)))
    answered = sum(reply.status == 200 for reply in replies)
    late = sum(reply.seconds > miner.deadline_seconds for reply in replies)
    claims.hold(lost == 0, f"{lost} of {many} connections were closed during a pause")
    claims.hold(answered == 2 * many, f"{answered} of {2 * many} queries answered")
    claims.hold(late == 0, f"{late} late answers")
    return Outcome(
        {
            "connections": many,
            "longest_pause_s": round(max(pauses), 1),
            "answered": answered,
            "closed_on_us": lost,
            "late": late,
        },
        tuple(claims.broken),
    )
