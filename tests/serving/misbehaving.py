"""A real HTTP server on a real socket that answers as it is told, wrongly too.

A double of the model only: no request is judged, each gets the next behaviour of the script.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Seen", asyncio.Transport], Awaitable[None]]

#: How its vocabulary cuts words: one token each, but " YES" and "NO" are two.
WORDS = {"yes": [10], "Yes": [11], "YES": [12], " yes": [13], " Yes": [14], " YES": [1, 12],
         "no": [20], "No": [21], "NO": [1, 2], " no": [23], " No": [24], " NO": [25]}  # fmt: skip
YES, NO = (10, 11, 12, 13, 14), (20, 21, 23, 24, 25)


@dataclass
class Seen:
    """A request as it came, and the port that it came from."""

    path: str
    headers: dict[str, str]
    body: bytes
    port: int
    #: Set when the connection is closed.
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def json(self) -> Any:
        return json.loads(self.body)


class Misbehaving:
    """Answers completions by the script, whose last behaviour repeats; /tokenize by `tokenize`."""

    def __init__(self) -> None:
        self.script: list[Behaviour] = [right()]
        self.tokenize: Behaviour = tokenize(WORDS)
        self.seen: list[Seen] = []
        self.tokenized: list[Seen] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.came = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Misbehaving]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def behaviour_for(self, seen: Seen) -> Behaviour:
        if seen.path == "/tokenize":
            self.tokenized.append(seen)
            return self.tokenize
        self.seen.append(seen)
        self.came.set()
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class _Connection(asyncio.Protocol):
    """One connection, one request after another on it."""

    def __init__(self, server: Misbehaving) -> None:
        self._server = server
        self._received = b""
        self._under_way: Seen | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if end)}
        if not end or len(rest) < int(headers["content-length"]):
            return
        self._received = b""
        port = self._transport.get_extra_info("peername")[1]
        self._under_way = seen = Seen(first.split()[1], headers, rest, port)
        work = self._server.behaviour_for(seen)(seen, self._transport)
        task = asyncio.ensure_future(work)
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._under_way:
            self._under_way.hung_up.set()


def completion(listed: dict[str, float], prompt_tokens: int = 73) -> dict[str, Any]:
    """An answer with these log-probabilities of the first token."""
    rows = [{"token": token, "logprob": value, "bytes": None} for token, value in listed.items()]
    first = {"token": "x", "logprob": -0.1, "bytes": None, "top_logprobs": rows}
    choice = {"index": 0, "message": {"content": "yes"}, "logprobs": {"content": [first]}}
    return {"choices": [choice], "usage": {"prompt_tokens": prompt_tokens}}


def numbered(seen: Seen, logprob: float = -3.0) -> dict[str, float]:
    """The same log-probability for every token that was asked for."""
    return {f"token_id:{token}": logprob for token in seen.json()["logprob_token_ids"]}


def tokenize(words: dict[str, list[int]]) -> Behaviour:
    """Cut words as this vocabulary does."""

    async def behave(seen: Seen, transport: asyncio.Transport) -> None:
        text = seen.json()["prompt"]
        ids = words[text]
        texts = [text.replace(" ", "Ġ")] if len(ids) == 1 else ["?"] * len(ids)
        told = {"count": len(ids), "tokens": ids, "token_strs": texts}
        await answer(200, told)(seen, transport)

    return behave


def right() -> Behaviour:
    """Every token asked for has the same log-probability."""

    async def behave(seen: Seen, transport: asyncio.Transport) -> None:
        await answer(200, completion(numbered(seen)))(seen, transport)

    return behave


def answer(status: int, what: object, *, headers: str = "") -> Behaviour:
    """This status, with JSON, or with bytes as they are."""
    body = what if isinstance(what, bytes) else json.dumps(what).encode()
    head = f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()

    async def behave(seen: Seen, transport: asyncio.Transport) -> None:
        transport.write(head + body)

    return behave


def raw(data: bytes) -> Behaviour:
    """These bytes, whatever they are, and then the end."""

    async def behave(seen: Seen, transport: asyncio.Transport) -> None:
        transport.write(data)
        transport.close()

    return behave


async def hang(seen: Seen, transport: asyncio.Transport) -> None:
    """Never answer."""


def slow(seconds: float) -> Behaviour:
    """Answer well, but piece by piece, all of it taking that long."""

    async def behave(seen: Seen, transport: asyncio.Transport) -> None:
        body = json.dumps(completion(numbered(seen))).encode()
        transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for piece in (body[start : start + 100] for start in range(0, len(body), 100)):
            await asyncio.sleep(seconds * 100 / len(body))
            transport.write(piece)

    return behave


async def endless(seen: Seen, transport: asyncio.Transport) -> None:
    """Send without end, as fast as it is taken."""
    transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    while not transport.is_closing():
        if transport.get_write_buffer_size() < 2**20:
            transport.write(piece)
        await asyncio.sleep(0)


async def reset(seen: Seen, transport: asyncio.Transport) -> None:
    """Break the connection off without a word."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def reset_after(data: bytes) -> Behaviour:
    """Break the connection off after these bytes have gone out."""

    async def behave(seen: Seen, transport: asyncio.Transport) -> None:
        transport.write(data)
        assert transport.get_write_buffer_size() == 0
        await asyncio.sleep(0.01)  # a reset overtakes bytes that the other side has not read yet
        await reset(seen, transport)

    return behave
