"""More queries than there are places, very many of them, and the end in the midst of it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from statistics import median

from natix_miner.journal import Journal
from tests.faults.asking import (
    Connection,
    Reply,
    ask_once,
    request_to,
    street_pictures,
    unlike_any_other,
)
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.faults.miners import MinerSetup, RunningMiner, start_miner
from tests.faults.rows_pictures import CAPACITY, embedded_miner

BURST = 200


@fault("burst", "200 queries at once against a capacity of 20")
async def burst(scale: Scale, folder: Path) -> Outcome:
    """Twenty places, the real embedded profile, 200 connections that all send in the same moment:
    whoever finds a place is answered in time, all others are refused at once with 503 or 429."""
    miner, claims = await embedded_miner(), Claims()
    await ask_once(miner)
    rounds = scale.count(1, 40)
    statuses: Counter[int] = Counter()
    answers: list[float] = []
    refusals: list[float] = []
    lost = silent = 0
    least = BURST
    for _ in range(rounds):
        if scale.over():
            break
        replies = await _all_at_once(miner, BURST)
        lost += sum(reply is None for reply in replies)
        came = [reply for reply in replies if reply is not None]
        statuses.update(reply.status for reply in came)
        answers += [reply.seconds for reply in came if reply.status == 200]
        silent += sum(reply.prediction == -1.0 for reply in came)
        refusals += [reply.seconds for reply in came if reply.status in (429, 503)]
        least = min(least, sum(reply.status == 200 for reply in came))
    late = sum(seconds > miner.deadline_seconds for seconds in answers)
    accounted = len(answers) + len(refusals)
    asked = accounted + lost + sum(n for s, n in statuses.items() if s not in (200, 429, 503))
    slowest_refusal = max(refusals, default=0.0)
    claims.hold(late == 0, f"{late} late answers")
    claims.hold(accounted == asked and lost == 0, f"{accounted} of {asked} accounted for")
    claims.hold(least >= CAPACITY, f"only {least} of {BURST} answered with {CAPACITY} places")
    claims.hold(
        median(refusals or [0.0]) < 1.0, f"half of the refusals took {median(refusals):.2f} s"
    )
    claims.hold(slowest_refusal < 3.0, f"a refusal took {slowest_refusal:.2f} s")
    return Outcome(
        {
            "queries": asked,
            "capacity": CAPACITY,
            "answered": len(answers),
            "answered_without_opinion": silent,
            "refused_503": statuses[503],
            "refused_429": statuses[429],
            "lost": lost,
            "slowest_answer_ms": round(1000 * max(answers, default=0.0)),
            "median_refusal_ms": round(1000 * median(refusals or [0.0])),
            "slowest_refusal_ms": round(1000 * slowest_refusal),
            "late": late,
        },
        tuple(claims.broken),
    )


async def _all_at_once(miner: RunningMiner, many: int) -> list[Reply | None]:
    """The replies to `many` queries sent in the same moment; None where the connection closed."""
    connections = [await Connection.to(miner) for _ in range(many)]
    pictures = street_pictures()
    requests = [
        request_to(miner, unlike_any_other(pictures[number % len(pictures)]))
        for number in range(many)
    ]
    begun = time.perf_counter()
    for connection, request in zip(connections, requests, strict=True):
        connection.writer.write(request)

    async def result(connection: Connection) -> Reply | None:
        try:
            return await connection.reply(begun)
        except (EOFError, OSError):
            return None
        finally:
            connection.close()

    return list(await asyncio.gather(*map(result, connections)))


@fault("sigterm-in-burst", "SIGTERM while a burst is being answered")
async def sigterm(scale: Scale, folder: Path) -> Outcome:
    """Each query is answered, or refused with 503, or its connection is closed; what was admitted
    has its answer: as many 200 as queries in the journal. The process ends with 0 in time."""
    rounds = scale.count(1, 10)
    claims = Claims()
    statuses: Counter[str] = Counter()
    late = journalled = 0
    slowest_end = slowest_answer = 0.0
    for turn in range(rounds):
        if scale.over():
            break
        setup = MinerSetup(neuron={"max_in_flight": 40})
        miner = await asyncio.to_thread(start_miner, setup, folder / str(turn))
        asking = asyncio.create_task(_all_at_once(miner, BURST))
        while (await asyncio.to_thread(miner.metrics))["natix_in_flight"] < 1:
            if asking.done():
                break
        begun = time.monotonic()
        miner.process.send_signal(signal.SIGTERM)
        refused = asyncio.create_task(_keep_asking(miner))
        replies = await asking
        code = await asyncio.to_thread(miner.stop, signal.SIGCONT, 25.0)
        slowest_end = max(slowest_end, time.monotonic() - begun)
        for reply in (*replies, *await refused):
            statuses["closed" if reply is None else str(reply.status)] += 1
            if reply is not None and reply.status == 200:
                slowest_answer = max(slowest_answer, reply.seconds)
                late += reply.seconds > miner.deadline_seconds
        with Journal(miner.journal) as journal:
            journalled += journal.counts().queries
        claims.hold(code == 0, f"exit code {code}")
        claims.hold(not Path(f"/proc/{miner.process.pid}").exists(), "the process is still there")
        claims.hold("Traceback" not in miner.log(), "a traceback in the log")
    answered = statuses["200"]
    other = {status for status in statuses if status not in ("200", "503", "closed")}
    claims.hold(not other, f"replies that are neither answer nor 503: {other}")
    claims.hold(answered > 0, "nothing was answered: the signal came too early")
    claims.hold(journalled == answered, f"{journalled} journalled but {answered} answered")
    claims.hold(late == 0, f"{late} late answers")
    claims.hold(slowest_end < 14.0, f"the process took {slowest_end:.1f} s to end")
    return Outcome(
        {
            "queries": sum(statuses.values()),
            "answered": answered,
            "journalled": journalled,
            "refused_503": statuses["503"],
            "closed_unsent_or_unread": statuses["closed"],
            "slowest_answer_ms": round(1000 * slowest_answer),
            "signal_to_exit_s": round(slowest_end, 2),
            "late": late,
        },
        tuple(claims.broken),
    )


async def _keep_asking(miner: RunningMiner) -> list[Reply | None]:
    """One query after another, each on a connection of its own, until nobody listens any more."""
    replies: list[Reply | None] = []
    for _ in range(100):
        try:
            replies.append(await ask_once(miner))
        except EOFError:
            replies.append(None)
        except OSError:
            replies.append(None)
            break
        await asyncio.sleep(0.1)
    return replies
