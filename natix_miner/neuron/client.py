"""A signed request made by hand: for the rehearsal at start, tests and measurements.

Not a dendrite: one request, one connection, nothing of the SDK needed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import Any, Protocol

from natix_miner.neuron.wire import EMPTY_BODY_HASH, ROUTE, SYNAPSE


class SigningKey(Protocol):
    """A hotkey that can sign."""

    ss58_address: str

    def sign(self, data: str) -> bytes:
        """An sr25519 signature."""
        ...


def signed_headers(
    key: SigningKey, axon_hotkey: str, nonce: int, *, timeout: float = 9.0, version: int = 10005000
) -> dict[str, str]:
    """The headers of one request as a dendrite makes them; `nonce` in unix nanoseconds."""
    identity = str(uuid.uuid1())
    message = f"{nonce}.{key.ss58_address}.{axon_hotkey}.{identity}.{EMPTY_BODY_HASH}"
    return {
        "name": SYNAPSE,
        "timeout": str(timeout),
        "bt_header_axon_ip": "127.0.0.1",
        "bt_header_axon_port": "8091",
        "bt_header_axon_hotkey": axon_hotkey,
        "bt_header_dendrite_ip": "127.0.0.1",
        "bt_header_dendrite_version": str(version),
        "bt_header_dendrite_nonce": str(nonce),
        "bt_header_dendrite_uuid": identity,
        "bt_header_dendrite_hotkey": key.ss58_address,
        "bt_header_dendrite_signature": f"0x{key.sign(message).hex()}",
        "header_size": "464",
        "total_size": "3148",
        "computed_body_hash": EMPTY_BODY_HASH,
        "content-type": "application/json",
    }


def synapse_body(picture: bytes, label: int = -1) -> bytes:
    """The JSON body of one request."""
    image = base64.b64encode(picture).decode("ascii")
    return json.dumps(
        {"name": SYNAPSE, "testnet_label": label, "image": image, "prediction": -1.0}
    ).encode()


def http_request(headers: dict[str, str], body: bytes, *, route: str = ROUTE) -> bytes:
    """The bytes of one POST over HTTP/1.1, connection kept alive."""
    lines = [f"POST {route} HTTP/1.1", "host: axon", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def exchange(host: str, port: int, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send one request over a connection of its own; status and JSON of the reply.

    Raises OSError when nobody listens, ValueError when the reply is no JSON over HTTP/1.1, and
    asyncio.IncompleteReadError when the connection closes before a reply.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        length = next(
            int(line.partition(":")[2])
            for line in head
            if line.lower().startswith("content-length:")
        )
        return int(head[0].split(" ")[1]), json.loads(await reader.readexactly(length))
    finally:
        writer.close()
