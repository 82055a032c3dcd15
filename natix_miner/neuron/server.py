"""The axon as an ASGI application: one route, every refusal in its right order, no waiting on work.

The loop that runs this only parses, verifies and awaits. A request costs it some tenths of a
millisecond; bodies over `INLINE_BYTES` are parsed in a worker thread, judging happens behind the
handler, so the next caller is refused or admitted at once whatever the experts are doing.

A caller who hangs up is not watched for: his query is judged and journalled all the same (it was
asked, and the picture is worth keeping), only the answer goes nowhere.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Executor
from typing import Any, Protocol

from natix_miner.clock import Clock
from natix_miner.errors import PictureError, RefusedRequestError
from natix_miner.neuron.admission import Admission
from natix_miner.neuron.guard import HEAD_BYTES
from natix_miner.neuron.reply import AxonStamp, refusal_reply, success_reply
from natix_miner.neuron.transport import Asked, Handler, Observer
from natix_miner.neuron.wire import (
    ROUTE,
    Headers,
    RequestBody,
    RequestHead,
    parse_body,
    parse_head,
)

#: The SDK release whose protocol this is, 10.5.0, as the SDK writes it into a header.
PROTOCOL_VERSION = 10_005_000

#: Bodies up to this size are parsed on the loop: some 2 ms at most, a thread would cost about as
#: much.
INLINE_BYTES = 256 * 1024

_TWO_LENGTHS = "two-lengths"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Signer(Protocol):
    """The hotkey as far as replies need it."""

    ss58_address: str

    def sign(self, data: str) -> bytes:
        """An sr25519 signature."""
        ...


class _SenderLeftError(Exception):
    """The connection closed while the body was on its way: there is nobody to answer."""


class AxonApp:
    """ASGI application of one axon.

    `body_seconds` is the time from arrival to the end of the body; `protocol_version` the SDK
    version that replies claim, as the integer that the SDK makes of it.
    """

    def __init__(
        self,
        signer: Signer,
        admission: Admission,
        handler: Handler,
        observer: Observer,
        clock: Clock,
        parsers: Executor,
        body_seconds: float,
        protocol_version: int = PROTOCOL_VERSION,
    ) -> None:
        self._signer = signer
        self._admission = admission
        self._handler = handler
        self._observer = observer
        self._clock = clock
        self._parsers = parsers
        self._body_seconds = body_seconds
        self._version = protocol_version
        self._uuid = str(uuid.uuid1())

    def refuse_new(self) -> None:
        """Answer new requests with 503 from now on."""
        self._admission.stopping = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        arrived = scope.get("state", {}).get("arrived") or self._clock.monotonic()
        head: RequestHead | None = None
        hotkey: str | None = None
        try:
            self._admission.check_open()
            self._check_route(scope)
            _check_shape(scope)
            self._admission.check_announced_size(_content_length(scope))
            head = parse_head(scope["headers"])
            hotkey = self._admission.admit(head)
            with self._admission.place(hotkey):
                status, headers, body = await self._serve(head, hotkey, arrived, receive)
        except RefusedRequestError as error:
            self._observer.refused(error.status, error.reason, hotkey)
            status = error.status
            headers, body = self._refusal(status, str(error), arrived, head, scope)
            if error.reason == _TWO_LENGTHS:
                headers.append((b"connection", b"close"))
            if error.retry_seconds is not None:
                headers.append((b"retry-after", str(math.ceil(error.retry_seconds)).encode()))
        except PictureError as error:
            self._observer.picture_refused(error.reason, hotkey or "")
            status = 422
            headers, body = self._refusal(status, str(error), arrived, head, scope)
        except _SenderLeftError:
            self._observer.refused(499, "sender-left", hotkey)
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _check_route(self, scope: Scope) -> None:
        if scope["path"] != ROUTE:
            raise RefusedRequestError(404, "unknown-route", f"unknown route; use POST {ROUTE}")
        if scope["method"] != "POST":
            raise RefusedRequestError(405, "method", f"use POST {ROUTE}")

    async def _serve(
        self, head: RequestHead, hotkey: str, arrived: float, receive: Receive
    ) -> tuple[int, Headers, bytes]:
        chunks: list[bytes] = []
        try:
            await self._read(receive, chunks, arrived)
            parsed = await self._parse(b"".join(chunks))
            asked = Asked(
                picture=parsed.picture,
                label=parsed.label,
                asked_by=hotkey,
                arrived=arrived,
                rehearsal=self._admission.rehearsing,
            )
            prediction = await self._handler.answer(asked)
        finally:
            self._admission.release(sum(map(len, chunks)))
        seconds = self._clock.monotonic() - arrived
        headers, body = success_reply(head, parsed.label, prediction, seconds)
        return 200, headers, body

    async def _read(self, receive: Receive, chunks: list[bytes], arrived: float) -> None:
        """Fill `chunks` with the body; all of them are held against the limit of all bodies."""
        size, more = 0, True
        left = self._body_seconds - (self._clock.monotonic() - arrived)
        try:
            async with asyncio.timeout(max(0.0, left)):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _SenderLeftError
                    chunk = message.get("body", b"")
                    more = message.get("more_body", False)
                    size += len(chunk)
                    if size > self._admission.rules.max_body_bytes:
                        raise self._admission.too_large()
                    self._admission.hold(len(chunk))
                    chunks.append(chunk)
        except TimeoutError:
            raise RefusedRequestError(
                408, "slow-body", f"the body did not arrive within {self._body_seconds:g} s"
            ) from None

    async def _parse(self, body: bytes) -> RequestBody:
        if len(body) <= INLINE_BYTES:
            return parse_body(body)
        return await asyncio.get_running_loop().run_in_executor(self._parsers, parse_body, body)

    def _refusal(
        self, status: int, message: str, arrived: float, head: RequestHead | None, scope: Scope
    ) -> tuple[Headers, bytes]:
        seconds = self._clock.monotonic() - arrived
        return refusal_reply(status, message, seconds, head, self._stamp(head), scope["client"])

    def _stamp(self, head: RequestHead | None) -> AxonStamp | None:
        """Our signature under an error reply, as the SDK gives it.

        Only when the request is addressed to us and both hotkeys look like such: the SDK signs
        whatever the sender writes there, which lends our signature to texts of his making.
        """
        own = self._signer.ss58_address
        if head is None or head.hotkey is None or head.axon_hotkey != own:
            return None
        nonce = int(self._clock.time() * 1e9)
        signature = self._signer.sign(f"{nonce}.{head.hotkey}.{own}.{self._uuid}")
        return AxonStamp(self._version, nonce, self._uuid, f"0x{signature.hex()}")


def _check_shape(scope: Scope) -> None:
    # The guard sees only headers that come in parts: one read may bring many times as much.
    size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > HEAD_BYTES:
        raise RefusedRequestError(
            431, "head-too-large", f"the headers are larger than {HEAD_BYTES} bytes"
        )
    # httptools refuses this by itself; h11 would go on with what follows, which may be smuggled.
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
        raise RefusedRequestError(
            400, _TWO_LENGTHS, "send content-length or transfer-encoding, not both"
        )


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # the HTTP parser refuses what is no number
    return None
