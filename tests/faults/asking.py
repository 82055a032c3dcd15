"""A validator's side of the wire: signed requests over connections that are kept alive, timed."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from functools import cache
from itertools import count, cycle
from typing import Any, Self

from bittensor_wallet import Keypair

from natix_miner.neuron.client import http_request, signed_headers, synapse_body
from tests.faults.miners import ROOT, VALIDATORS, RunningMiner

#: What a client waits for a reply before it calls the miner mute.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """`seconds` from the first byte sent to the last received, by the client's clock."""

    status: int
    body: dict[str, Any]
    seconds: float

    @property
    def prediction(self) -> float | None:
        """What was answered; None for a refusal."""
        return float(self.body["prediction"]) if self.status == 200 else None

    @property
    def message(self) -> str:
        """The reason that a refusal gives."""
        return str(self.body.get("message", ""))


class Connection:
    """One validator's connection to a miner."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, miner: RunningMiner) -> Self:
        """Connect; raises OSError when nobody listens."""
        return cls(*await asyncio.open_connection(*miner.address))

    async def ask(self, request: bytes) -> Reply:
        """Send one request and wait for its reply.

        Raises EOFError or OSError when the connection closes first, TimeoutError after
        `PATIENCE_SECONDS`.
        """
        begun = time.perf_counter()
        self.writer.write(request)
        return await self.reply(begun)

    async def reply(self, begun: float | None = None) -> Reply:
        """The next reply on this connection, timed from `begun` (now, when not given)."""
        since = time.perf_counter() if begun is None else begun
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
            body = await self.reader.readexactly(length)
        seconds = time.perf_counter() - since
        try:
            content = json.loads(body)
        except ValueError:  # the HTTP parser itself refuses in plain words
            content = {"message": body.decode("latin-1")}
        return Reply(int(head.split(" ")[1]), content, seconds)

    def close(self) -> None:
        """Close in order: what was sent is still read."""
        self.writer.close()

    def abort(self) -> None:
        """Hang up at once."""
        self.writer.transport.abort()


@cache
def street_pictures() -> tuple[bytes, ...]:
    """The small pictures of the demo, a few kilobytes each."""
    folder = ROOT / "natix_miner" / "demo" / "queries"
    return tuple(path.read_bytes() for path in sorted(folder.glob("cropped-*.jpg")))


_numbers = count()


def unlike_any_other(jpeg: bytes) -> bytes:
    """The same picture in other bytes: a comment with a number that is never used twice."""
    comment = f"{next(_numbers):012d}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


_validators = cycle(VALIDATORS)


def request_to(miner: RunningMiner, picture: bytes, validator: Keypair | None = None) -> bytes:
    """The bytes of one signed request, by the next validator in turn unless one is named."""
    key = next(_validators) if validator is None else validator
    headers = signed_headers(key, miner.hotkey, time.time_ns())
    return http_request(headers, synapse_body(picture))


async def ask_once(miner: RunningMiner, picture: bytes | None = None) -> Reply:
    """One signed request over a connection of its own."""
    sent = unlike_any_other(street_pictures()[0]) if picture is None else picture
    connection = await Connection.to(miner)
    try:
        return await connection.ask(request_to(miner, sent))
    finally:
        connection.close()


async def until(condition: Any, seconds: float, every: float = 0.02) -> bool:
    """Whether `condition()` came true within `seconds`; what blocks is asked in a thread."""
    give_up = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(every)
    return True
