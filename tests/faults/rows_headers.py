"""Headers that are too many, too long, untrue or made to hide a second request."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

from natix_miner.journal import Journal
from tests.faults.asking import Connection, Reply, ask_once, request_to
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.faults.miners import RunningMiner
from tests.faults.rows_wire import DEADLINE_SECONDS, HEAD_SECONDS, wire_miner

HIDDEN = b"\x99hidden in the body of another"
_CLOSED = "closed"


@fault("hostile-headers", "huge, many, contradicting and smuggling headers")
async def hostile(scale: Scale, folder: Path) -> Outcome:
    """Each shape on a connection of its own, then one query on a fresh one. A shape is answered 4xx
    or closed, and never more than once: no request hidden in a body is taken for one."""
    miner, claims = await wire_miner(), Claims()
    before = miner.vitals()
    statuses: Counter[str] = Counter()
    good: list[Reply] = []
    at_once = asyncio.Semaphore(12)

    async def show(name: str, sent: bytes) -> None:
        async with at_once:
            got = await _statuses(miner, sent)
            good.append(await ask_once(miner, b"\x40fine"))
        statuses[got[0] if got else _CLOSED] += 1
        claims.hold(len(got) <= 1, f"{name}: {len(got)} replies to one request")
        claims.hold(not got or got[0].startswith("4"), f"{name}: answered {'+'.join(got)}")

    for turn in range(scale.count(1, 40)):
        shapes = {**_shapes(miner), **_drawn(miner, random.Random(scale.seed + turn))}
        await asyncio.gather(*(show(name, sent) for name, sent in shapes.items()))
    asked, fine = len(good), sum(reply.status == 200 for reply in good)
    late = sum(reply.seconds > miner.deadline_seconds for reply in good)
    await asyncio.sleep(0.6)  # the journal writes behind
    hidden = await asyncio.to_thread(_journalled_hidden, miner)
    claims.hold(fine == asked, f"{asked - fine} of {asked} good queries in between were refused")
    claims.hold(hidden == 0, f"{hidden} hidden requests were judged")
    claims.hold(miner.vitals().files <= before.files + 2, f"{miner.vitals().files} files open")
    return Outcome(
        {
            "shapes": sum(statuses.values()),
            "answered_4xx": sum(n for status, n in statuses.items() if status != _CLOSED),
            "closed_without_a_word": statuses[_CLOSED],
            "good_queries_between": fine,
            "hidden_requests_judged": hidden,
            "late": late,
        },
        tuple(claims.broken),
    )


def _shapes(miner: RunningMiner) -> dict[str, bytes]:
    """Name and bytes of every shape. What is signed is signed well, so that only the shape can be
    the reason of a refusal."""
    good = request_to(miner, b"\x40visible")
    head, _, body = good.partition(b"\r\n\r\n")
    length = f"content-length: {len(body)}".encode()
    hidden = request_to(miner, HIDDEN)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    def headers(*extra: bytes, instead_of_length: bytes | None = None) -> bytes:
        start = head if instead_of_length is None else head.replace(length, instead_of_length)
        return b"\r\n".join([start, *extra]) + b"\r\n\r\n"

    return {
        "32 KB of headers": headers(*[b"x-%04d: %b" % (n, b"y" * 500) for n in range(70)]) + body,
        "one header of 64 KB": headers(b"x-long: " + b"y" * 65536) + body,
        "1,000 headers": headers(*[b"x-%04d: 12345678901234567890123" % n for n in range(1000)]),
        "a target of 40 KB": b"POST /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: axon\r\n\r\n",
        "length is a word": headers(instead_of_length=b"content-length: ten") + body,
        "length is negative": headers(instead_of_length=b"content-length: -5") + body,
        "length has a sign": headers(instead_of_length=b"content-length: +5") + body,
        "length is hexadecimal": headers(instead_of_length=b"content-length: 0x10") + body,
        "length of 30 digits": headers(instead_of_length=b"content-length: " + b"9" * 30) + body,
        "length is empty": headers(instead_of_length=b"content-length:") + body,
        "two lengths": headers(b"content-length: 5") + body,
        "two lengths in one": headers(instead_of_length=length + b", 5") + body,
        "length and chunks": headers(b"transfer-encoding: chunked") + b"0\r\n\r\n" + hidden,
        "chunks and length": headers(instead_of_length=b"transfer-encoding: chunked\r\n" + length)
        + b"0\r\n\r\n"
        + hidden,
        "a coding nobody knows": headers(instead_of_length=b"transfer-encoding: chunked, nonsense")
        + chunked
        + hidden,
        "chunked with a tab": headers(length, instead_of_length=b"transfer-encoding:\x0bchunked")
        + chunked,
        "a space before the colon": headers(b"transfer-encoding : chunked") + b"0\r\n\r\n" + hidden,
        "a folded header": headers(b"x-fold: one\r\n transfer-encoding: chunked") + body[:0],
        "a NUL in a header": headers(b"x-nul: a\x00b") + body,
        "a bare CR in a header": headers(b"x-cr: a\rtransfer-encoding: chunked") + body,
        "chunk size too large": headers(instead_of_length=b"transfer-encoding: chunked")
        + b"FFFFFFFFFFFFFFFFF\r\n"
        + hidden,
        "chunk size no number": headers(instead_of_length=b"transfer-encoding: chunked")
        + b"zz\r\n"
        + hidden,
        "chunk without its end": headers(instead_of_length=b"transfer-encoding: chunked")
        + b"2\r\n{}"
        + hidden,
        "HTTP/2 in clear": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 40,
        "TLS": bytes.fromhex("16030100c8010000c40303") + b"\x11" * 200,
        "no HTTP at all": b"\x00\xff" * 200 + b"\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n\r\n",
        "a version that is none": head.replace(b"HTTP/1.1", b"HTTP/7.3") + b"\r\n\r\n" + body,
        "a method that is none": head.replace(b"POST", b"GRAB") + b"\r\n\r\n" + body,
        "CONNECT": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: axon\r\n\r\n",
        "a websocket": b"GET /ImageSynapse HTTP/1.1\r\nhost: axon\r\nconnection: upgrade\r\n"
        b"upgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"sec-websocket-version: 13\r\n\r\n",
        "a whole address": head.replace(b"POST /", b"POST http://elsewhere/x/", 1)
        + b"\r\n\r\n"
        + body,
        "dots in the path": head.replace(b"POST /", b"POST /../../etc/passwd?/", 1)
        + b"\r\n\r\n"
        + body,
        "a hotkey of 10 KB": head.replace(b"dendrite_hotkey: ", b"dendrite_hotkey: " + b"5" * 10000)
        + b"\r\n\r\n"
        + body,
        "a nonce of 5,000 digits": head.replace(b"nonce: ", b"nonce: " + b"1" * 5000)
        + b"\r\n\r\n"
        + body,
    }


def _drawn(miner: RunningMiner, rng: random.Random) -> dict[str, bytes]:
    """Twenty good heads with some bytes of the request line and the signed headers' names and
    values destroyed."""
    drawn = {}
    for number in range(20):
        head, _, body = request_to(miner, b"\x40drawn").partition(b"\r\n\r\n")
        broken = bytearray(head)
        signature = head.index(b"dendrite_signature: 0x") + 22
        for _ in range(rng.randint(1, 8)):
            broken[rng.randrange(len(head))] = rng.randrange(256)
        broken[signature + rng.randrange(100)] = rng.choice(b"ghijkz\x00\n:")
        drawn[f"drawn {number} of {rng.random():.6f}"] = bytes(broken) + b"\r\n\r\n" + body
    return drawn


async def _statuses(miner: RunningMiner, sent: bytes) -> list[str]:
    """The status of every reply that came until the connection closed, or was quiet for half a
    second after a reply."""
    connection = await Connection.to(miner)
    received = b""
    connection.writer.write(sent)
    with suppress(OSError, TimeoutError):
        while True:
            quiet = 0.5 if received else DEADLINE_SECONDS + HEAD_SECONDS + 1.0
            async with asyncio.timeout(quiet):
                part = await connection.reader.read(65536)
            if not part:
                break
            received += part
    connection.abort()
    return [part[:3].decode("latin-1") for part in received.split(b"HTTP/1.1 ")[1:]]


def _journalled_hidden(miner: RunningMiner) -> int:
    with Journal(miner.journal) as journal:
        return sum(entry.picture() == HIDDEN for entry in journal.entries())
