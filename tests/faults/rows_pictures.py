"""Pictures that were broken on their way, or on purpose."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

from tests.faults.asking import Connection, Reply, ask_once, request_to, street_pictures
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.faults.miners import (
    SHORT_MEMORY,
    SMALL_JOURNAL,
    MinerSetup,
    RunningMiner,
    shared_miner,
)

CAPACITY = 20
CONNECTIONS = 4


async def embedded_miner() -> RunningMiner:
    """The miner with the real embedded profile and a capacity of 20 that rows share."""
    setup = MinerSetup(neuron={"max_in_flight": CAPACITY, **SHORT_MEMORY}, journal=SMALL_JOURNAL)
    return await shared_miner("embedded", setup)


def mutated(rng: random.Random) -> tuple[str, bytes]:
    """The kind of damage and a JPEG that has it."""
    jpeg, other = (bytearray(rng.choice(street_pictures())) for _ in range(2))
    kind = rng.choice(tuple(_DAMAGE))
    return kind, bytes(_DAMAGE[kind](jpeg, other, rng))


def _flip(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randint(1, 40)):
        jpeg[rng.randrange(len(jpeg))] ^= 1 << rng.randrange(8)
    return jpeg


def _flip_head(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randint(1, 12)):
        jpeg[rng.randrange(min(700, len(jpeg)))] = rng.randrange(256)
    return jpeg


def _sizes(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    """Another height and width in the frame header."""
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    if at > 0:
        jpeg[at + 5 : at + 9] = rng.choice(
            (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\1\0\1", rng.randbytes(4))
        )
    return jpeg


def _cut(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    return jpeg[: rng.randrange(len(jpeg))]


def _lose(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(2, len(jpeg))
    del jpeg[start : start + rng.randint(1, 2000)]
    return jpeg


def _insert(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(2, len(jpeg))
    jpeg[start:start] = rng.randbytes(rng.randint(1, 2000))
    return jpeg


def _splice(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    return jpeg[: rng.randrange(len(jpeg))] + other[rng.randrange(len(other)) :]


def _blank(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(2, len(jpeg))
    end = min(len(jpeg), start + rng.randint(1, 3000))
    jpeg[start:end] = bytes([rng.choice((0, 255))]) * (end - start)
    return jpeg


def _segments(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    """Another marker where one stands, or another length of its segment."""
    marks = [n for n in range(2, min(len(jpeg) - 4, 700)) if jpeg[n] == 0xFF]
    at = rng.choice(marks) if marks else 2
    jpeg[at + 1] = rng.choice((0xC0, 0xC2, 0xC3, 0xC4, 0xC9, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1))
    if rng.random() < 0.5:
        jpeg[at + 2 : at + 4] = rng.randbytes(2)
    return jpeg


def _endless(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    return jpeg + rng.randbytes(rng.randint(1, 20_000))


def _noise(jpeg: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    return jpeg[: rng.randint(2, 30)] + rng.randbytes(rng.randint(0, 4000))


_DAMAGE = {
    "bits": _flip,
    "head": _flip_head,
    "sizes": _sizes,
    "cut": _cut,
    "lost": _lose,
    "inserted": _insert,
    "spliced": _splice,
    "blank": _blank,
    "segments": _segments,
    "trailing": _endless,
    "noise": _noise,
}


@fault("mutated-jpegs", "JPEGs with bits, lengths and segments destroyed, asked over the wire")
async def mutated_jpegs(scale: Scale, folder: Path) -> Outcome:
    """All of them as signed queries to a real miner with the embedded profile, four at a time: each
    is answered 200 or refused 422 with a reason, in time."""
    miner, claims = await embedded_miner(), Claims()
    rng = random.Random(scale.seed)
    left = many = scale.count(500, 10_000)
    statuses: Counter[str] = Counter()
    replies: list[float] = []
    log_before = len(miner.log())

    def note(kind: str, reply: Reply) -> None:
        replies.append(reply.seconds)
        answered = reply.status == 200 and 0.0 < (reply.prediction or 0.0) < 1.0
        statuses["200" if answered else "no opinion" if reply.status == 200 else "refused"] += 1
        if reply.status != 200:
            told = reply.status == 422 and bool(reply.message)
            claims.hold(told, f"{kind}: {reply.status} {reply.message!r}")

    async def ask_in_turn() -> None:
        nonlocal left
        connection = await Connection.to(miner)
        while left > 0 and not scale.over():
            left -= 1
            kind, picture = mutated(rng)
            try:
                note(kind, await connection.ask(request_to(miner, picture)))
            except (EOFError, OSError) as error:  # TimeoutError is an OSError
                claims.hold(False, f"{kind}: {type(error).__name__} instead of a reply")
                connection.abort()
                connection = await Connection.to(miner)
        connection.close()

    await asyncio.gather(*(ask_in_turn() for _ in range(CONNECTIONS)))
    sent = many - left
    after = await ask_once(miner)
    counted = await asyncio.to_thread(miner.metrics)
    reasons = {name for name in counted if name.startswith("natix_picture_errors_total{")}
    late = sum(seconds > miner.deadline_seconds for seconds in replies)
    claims.hold(len(replies) == sent, f"{sent - len(replies)} of {sent} without a reply")
    claims.hold(late == 0, f"{late} late answers")
    claims.hold(statuses["refused"] > 0 and statuses["200"] > 0, f"not both kinds: {statuses}")
    claims.hold(after.status == 200, f"a good picture afterwards got {after.status}")
    claims.hold("Traceback" not in miner.log()[log_before:], "a traceback in the log")
    return Outcome(
        {
            "pictures": sent,
            "wanted": many,
            "kinds_of_damage": len(_DAMAGE),
            "answered": statuses["200"],
            "answered_without_opinion": statuses["no opinion"],
            "refused_422": statuses["refused"],
            "reasons_in_metrics": len(reasons),
            "slowest_ms": round(1000 * max(replies)),
            "late": late,
        },
        tuple(claims.broken),
    )
