"""Who is refused, with which status and which words: the table of docs/running.md, by raw HTTP.

Run with -s to see it printed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass
from typing import Any

import pytest

from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def miner(shared_miners):
    return shared_miners.start("echo")


@pytest.fixture(scope="module", autouse=True)
def table():
    rows: list[tuple[str, int, str]] = []
    yield rows
    print()
    for name, status, message in rows:
        print(f"{name:44} {status} {message}")


@dataclass
class Case:
    """A request that is not answered: what is wrong with it, and what comes back."""

    name: str
    status: int
    message: str
    who: str = "validator"
    nonce_offset: float = 0.0
    headers: dict[str, str | None] | None = None
    body: bytes | None = None
    route: str = "/ImageSynapse"
    addressed_to: str | None = None


PICTURE = synapse_body(b"\x40picture")
JSON_TYPES = {
    "image a number": {"image": 3},
    "image null": {"image": None},
    "image a list": {"image": ["QUJD"]},
}
CASES = [
    Case("no signature", 401, "missing signature", headers={"bt_header_dendrite_signature": None}),
    Case("empty signature", 401, "missing signature", headers={"bt_header_dendrite_signature": ""}),
    Case(
        "signature no hex",
        401,
        "hotkey or signature is malformed",
        headers={"bt_header_dendrite_signature": "0xzz"},
    ),
    Case(
        "forged signature",
        401,
        "signature does not match",
        headers={"bt_header_dendrite_signature": "0x" + "5a" * 64},
    ),
    Case(
        "signature of another uuid",
        401,
        "signature does not match",
        headers={"bt_header_dendrite_uuid": "another"},
    ),
    Case("no hotkey", 401, "missing hotkey", headers={"bt_header_dendrite_hotkey": None}),
    Case("no nonce", 401, "missing nonce", headers={"bt_header_dendrite_nonce": None}),
    Case(
        "hotkey no address",
        400,
        "not an SS58 address",
        headers={"bt_header_dendrite_hotkey": "somebody"},
    ),
    Case("nonce 30 s old", 401, "nonce is too old", nonce_offset=-30.0),
    Case("nonce 30 s ahead", 401, "nonce is over 13 s in the future", nonce_offset=30.0),
    Case(
        "nonce 30 s old, timeout header inflated",
        401,
        "nonce is too old",
        nonce_offset=-30.0,
        headers={"timeout": "1000000"},
    ),
    Case(
        "nonce 30 s old, version header 7.1.0",
        401,
        "nonce is too old",
        nonce_offset=-30.0,
        headers={"bt_header_dendrite_version": "7001000"},
    ),
    Case("hotkey not registered", 403, "hotkey is not registered on 72", who="stranger"),
    Case("hotkey without permit", 403, "no validator permit", who="no-permit"),
    Case("addressed to another axon", 401, "addressed to another axon", addressed_to="stranger"),
    Case("another body hash", 401, "computed_body_hash", headers={"computed_body_hash": "ab" * 32}),
    Case("no JSON", 400, "the body is not JSON", body=b'{"image": "QUJD"'),
    Case("deeply nested JSON", 400, "the body is not JSON", body=b"[" * 100_000),
    Case("JSON made to fill memory", 400, "more than 1000", body=b"[" + b"[]," * 10_000 + b"1]"),
    Case("bad UTF-8", 400, "the body is not UTF-8", body=b'{"image": "\xff\xfe"}'),
    Case("array for a body", 400, "not a JSON object", body=b"[1, 2]"),
    Case("string for a body", 400, "not a JSON object", body=b'"QUJD"'),
    Case("empty body", 400, "the body is empty", body=b""),
    *(
        Case(name, 400, "image is not a string", body=json.dumps(content).encode())
        for name, content in JSON_TYPES.items()
    ),
    Case("label a word", 400, "testnet_label", body=b'{"image": "QUJD", "testnet_label": "x"}'),
    Case("label 7", 400, "testnet_label", body=b'{"image": "QUJD", "testnet_label": 7}'),
    Case("no image", 422, "the image field is empty", body=b"{}"),
    Case("image no base64", 422, "is not base64", body=b'{"image": "###"}'),
    Case("image no picture", 422, "not a picture", body=synapse_body(b"none")),
    Case("not announced as JSON", 415, "application/json", headers={"content-type": "text/plain"}),
    Case(
        "nonce no number",
        400,
        "bt_header_dendrite_nonce is not a whole number",
        headers={"bt_header_dendrite_nonce": "soon"},
    ),
    Case(
        "nonce of 5000 digits",
        400,
        "bt_header_dendrite_nonce is not a whole number",
        headers={"bt_header_dendrite_nonce": "9" * 5000},
    ),
    Case("timeout no number", 400, "timeout is not a number", headers={"timeout": "long"}),
    Case("timeout infinite", 400, "timeout is not a finite", headers={"timeout": "inf"}),
    Case(
        "version no number",
        400,
        "version is not a whole number",
        headers={"bt_header_dendrite_version": "v10"},
    ),
    Case("unknown route", 404, "unknown route; use POST /ImageSynapse", route="/Nothing"),
    Case("the SDK's ping route", 404, "unknown route; use POST /ImageSynapse", route="/Synapse"),
    Case("64 MB, announced", 413, "larger than 24000000 bytes", body=b"x" * 64_000_000),
]


def make_request(case: Case, miner: Any, keys: Any) -> bytes:
    to = keys[case.addressed_to].ss58_address if case.addressed_to else miner.hotkey
    nonce = time.time_ns() + int(case.nonce_offset * SECOND)
    headers: dict[str, str | None] = {**signed_headers(keys[case.who], to, nonce)}
    headers |= case.headers or {}
    kept = {name: value for name, value in headers.items() if value is not None}
    return http_request(kept, PICTURE if case.body is None else case.body, route=case.route)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_refused_with_status_and_message(case: Case, miner, keys, table):
    status, reply = await exchange(*miner.address, make_request(case, miner, keys))

    table.append((case.name, status, reply["message"]))
    assert status == case.status
    assert case.message in reply["message"]


async def test_a_good_request_is_answered(miner, keys):
    good = Case("good", 200, "")

    status, reply = await exchange(*miner.address, make_request(good, miner, keys))

    assert (status, reply["prediction"], reply["image"]) == (200, 0.25, "")


async def test_replayed_request_is_refused(miner, keys, table):
    request = make_request(Case("replay", 401, ""), miner, keys)

    first, _ = await exchange(*miner.address, request)
    status, reply = await exchange(*miner.address, request)

    table.append(("replay", status, reply["message"]))
    assert first == 200
    assert (status, reply["message"]) == (
        401,
        "not verified: nonce was used before; sign every request anew",
    )


async def test_a_replay_with_another_picture_is_refused(miner, keys):
    headers = signed_headers(keys["validator"], miner.hotkey, time.time_ns())

    first, _ = await exchange(*miner.address, http_request(headers, synapse_body(b"\x10a")))
    second, _ = await exchange(*miner.address, http_request(headers, synapse_body(b"\x20b")))

    assert (first, second) == (200, 401)


async def test_a_young_nonce_of_an_old_version_is_fine(miner, keys):
    case = Case("old but young", 200, "", headers={"bt_header_dendrite_version": "6001000"})

    status, _ = await exchange(*miner.address, make_request(case, miner, keys))

    assert status == 200


async def test_get_is_refused(miner, table):
    request = b"GET /ImageSynapse HTTP/1.1\r\nhost: axon\r\n\r\n"

    status, reply = await exchange(*miner.address, request)

    table.append(("GET", status, reply["message"]))
    assert (status, reply["message"]) == (405, "use POST /ImageSynapse")


async def test_too_large_a_body_without_content_length_is_cut_off(miner, keys, table):
    headers = signed_headers(keys["validator"], miner.hotkey, time.time_ns())
    lines = ["POST /ImageSynapse HTTP/1.1", "host: axon", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    reader, writer = await asyncio.open_connection(*miner.address)
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")

    for _ in range(64):
        writer.write(chunk)
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    reply = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    body = await reader.readexactly(int(reply.lower().split("content-length:")[1].split("\r\n")[0]))

    writer.close()
    table.append(("64 MB, not announced", 413, json.loads(body)["message"]))
    assert reply.startswith("HTTP/1.1 413")
    assert json.loads(body)["message"] == "the body is larger than 24000000 bytes"


async def test_a_body_longer_than_announced_is_not_read_on(miner, keys):
    headers = signed_headers(keys["validator"], miner.hotkey, time.time_ns())
    request = http_request(headers, PICTURE) + b"x" * 1000 + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection(*miner.address)

    writer.write(request)
    replies = await asyncio.wait_for(reader.read(), 10)

    writer.close()
    assert b"HTTP/1.1 400" in replies  # what was too much is taken for a request, and is none
    assert b"HTTP/1.1 500" not in replies


async def test_what_is_no_http_is_refused_and_closed(miner):
    reader, writer = await asyncio.open_connection(*miner.address)

    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")
    reply = await asyncio.wait_for(reader.read(), 10)

    writer.close()
    assert reply.startswith(b"HTTP/1.1 400")


def test_memory_does_not_hold_what_was_refused(miner):
    """After all of the above, 64 MB bodies included, on the same process."""
    with open(f"/proc/{miner.process.pid}/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 400_000  # kB


@pytest.fixture(scope="module")
def strict(shared_miners, miner):
    """A second miner, with little patience."""
    before = shared_miners.limits, shared_miners.deadline_seconds
    shared_miners.limits = {
        "head_seconds": 0.5,
        "max_per_minute_per_hotkey": 60,
        "burst_per_hotkey": 3,
    }
    shared_miners.deadline_seconds = 1.0
    own = {
        name: str(shared_miners.folder / "strict" / name)
        for name in ("journal", "log_file", "state_dir")
    }
    made = shared_miners.start("echo", **own)
    shared_miners.limits, shared_miners.deadline_seconds = before
    return made


def test_slow_and_silent_connections_are_closed(strict, keys):
    headers = signed_headers(keys["validator"], strict.hotkey, time.time_ns())
    request = http_request(headers, PICTURE)

    with (
        socket.create_connection(strict.address, timeout=10) as silent,
        socket.create_connection(strict.address, timeout=10) as half_head,
        socket.create_connection(strict.address, timeout=10) as half_body,
    ):
        half_head.sendall(request[:100])
        half_body.sendall(request[:-5])

        assert _received(silent) == b""
        assert _received(half_head) == b""
        assert _received(half_body).startswith(b"HTTP/1.1 408")


async def test_one_validator_that_floods_is_told_to_wait(strict, keys, table):
    good = Case("flood", 429, "")
    replies = []
    for _ in range(5):
        reader, writer = await asyncio.open_connection(*strict.address)
        writer.write(make_request(good, strict, keys))
        replies.append((await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode())
        writer.close()
    unregistered, _ = await exchange(
        *strict.address, make_request(Case("", 403, "", who="stranger"), strict, keys)
    )

    table.append(("sixty a minute, three at once: the fifth", 429, "Retry-After: 1"))
    assert replies[0].startswith("HTTP/1.1 200")
    assert replies[-1].startswith("HTTP/1.1 429")
    assert "retry-after: 1\r\n" in replies[-1]
    assert unregistered == 403


HEADS = {
    "one header of 64 KB": [("x-long", "y" * 65536)],
    "forty of 1 KB": [(f"x-{n}", "y" * 1024) for n in range(40)],
    "5,000 small ones": [(f"x-{n:04}", "1") for n in range(5000)],
}


@pytest.mark.parametrize("extra", HEADS.values(), ids=HEADS)
async def test_too_many_bytes_of_headers_are_not_read_on(extra, miner, keys):
    signed = signed_headers(keys["validator"], miner.hotkey, time.time_ns())
    reader, writer = await asyncio.open_connection(*miner.address)
    try:
        writer.write(http_request({**signed, **dict(extra)}, PICTURE))
        await writer.drain()
        reply = await asyncio.wait_for(reader.read(12), 10)
    except ConnectionError:
        reply = b""
    writer.close()
    assert reply in {b"HTTP/1.1 431", b""}  # in one piece, and in several: just closed


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [("validator", "stranger", 401), ("stranger", "validator", 401)],
)
async def test_of_two_headers_with_one_name_nobody_gains(first, second, status, miner, keys):
    """Whose signature it is and who is looked up is read from one and the same header."""
    signed = signed_headers(keys[first], miner.hotkey, time.time_ns())
    other = signed_headers(keys[second], miner.hotkey, time.time_ns())
    name = "bt_header_dendrite_hotkey"
    request = http_request(signed, PICTURE)
    line = f"{name}: {signed[name]}\r\n".encode()
    doubled = request.replace(line, line + f"{name}: {other[name]}\r\n".encode())

    answered, _ = await exchange(*miner.address, doubled)

    assert answered == status


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""
