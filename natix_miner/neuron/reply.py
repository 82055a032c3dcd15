"""The bytes of the axon protocol: headers and body of a reply.

A dendrite reads the answer from the body and everything about how it went from the headers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from natix_miner.neuron.wire import (
    AXON_PREFIX,
    DENDRITE_PREFIX,
    EMPTY_BODY_HASH,
    SYNAPSE,
    Headers,
    RequestHead,
)


@dataclass(frozen=True, slots=True)
class AxonStamp:
    """Our own half of an error reply: version of the protocol, nonce, uuid and signature."""

    version: int
    nonce: int
    uuid: str
    signature: str


def success_reply(
    head: RequestHead, label: int, prediction: float, seconds: float
) -> tuple[Headers, bytes]:
    """Headers and body of an answered request; `seconds` since its arrival."""
    axon: dict[str, object] = {
        "status_code": 200,
        "status_message": "Success",
        "process_time": seconds,
        "ip": head.axon_ip,
        "port": head.axon_port,
        "version": None,
        "nonce": None,
        "uuid": None,
        "hotkey": head.axon_hotkey,
        "signature": None,
    }
    dendrite: dict[str, object] = {
        "status_code": None,
        "status_message": None,
        "process_time": None,
        "ip": head.ip,
        "port": None,
        "version": head.version,
        "nonce": head.nonce,
        "uuid": head.uuid,
        "hotkey": head.hotkey,
        "signature": head.signature,
    }
    body = {
        "name": SYNAPSE,
        "timeout": 12.0 if head.timeout is None else head.timeout,
        "total_size": head.total_size or 0,
        "header_size": 0,
        "dendrite": dendrite,
        "axon": axon,
        "computed_body_hash": "",
        "testnet_label": label,
        "image": "",
        "prediction": prediction,
    }
    payload = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    return _headers(head, axon, dendrite, len(payload)), payload


def refusal_reply(
    status: int,
    message: str,
    seconds: float,
    head: RequestHead | None = None,
    stamp: AxonStamp | None = None,
    client: tuple[str, int] | None = None,
) -> tuple[Headers, bytes]:
    """Headers and body of a refusal, in the form that a dendrite takes status and message from."""
    axon: dict[str, object] = {
        "status_code": status,
        "status_message": message,
        "process_time": seconds,
    }
    dendrite: dict[str, object] = {}
    if head is not None:
        axon |= {"ip": head.axon_ip, "port": head.axon_port, "hotkey": head.axon_hotkey}
        dendrite = {
            "ip": client[0] if client else None,
            "port": client[1] if client else None,
            "version": head.version,
            "nonce": head.nonce,
            "uuid": head.uuid,
            "hotkey": head.hotkey,
            "signature": head.signature,
        }
    if stamp is not None:
        axon |= {
            "version": stamp.version,
            "nonce": stamp.nonce,
            "uuid": stamp.uuid,
            "signature": stamp.signature,
        }
    payload = json.dumps({"message": message}, separators=(",", ":")).encode()
    return _headers(head, axon, dendrite, len(payload)), payload


def _headers(
    head: RequestHead | None, axon: dict[str, object], dendrite: dict[str, object], length: int
) -> Headers:
    timeout = 12.0 if head is None or head.timeout is None else head.timeout
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(length).encode()),
        (b"name", SYNAPSE.encode()),
        (b"timeout", str(timeout).encode()),
    ]
    for prefix, values in ((AXON_PREFIX, axon), (DENDRITE_PREFIX, dendrite)):
        for name, value in values.items():
            if value is not None:
                headers.append((f"{prefix}{name}".encode(), _header_value(value)))
    headers.append((b"header_size", b"0"))
    headers.append((b"total_size", str(length).encode()))
    headers.append((b"computed_body_hash", EMPTY_BODY_HASH.encode()))
    return headers


def _header_value(value: object) -> bytes:
    text = value if isinstance(value, str) else str(value)
    return (text if text.isprintable() else repr(text)).encode("latin-1", "replace").strip()
