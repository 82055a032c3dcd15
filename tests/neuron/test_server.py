"""Connections: kept alive, hung up, answered in one packet; logs of the SDK."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.errors import NeuronError
from natix_miner.neuron.admission import Admission, AdmissionRules
from natix_miner.neuron.axon import LeanAxon, bind
from natix_miner.neuron.client import http_request, signed_headers, synapse_body
from natix_miner.neuron.rehearsal import rehearse
from natix_miner.neuron.server import AxonApp
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron
from natix_miner.neuron.verify import SeenNonces, Verifier

HEAD_SECONDS = 0.6


class HandlerDouble:
    """Answers 0.25 once `free` is set; keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.finished = 0
        self.free = asyncio.Event()
        self.free.set()

    async def answer(self, asked):
        self.asked.append(asked)
        await self.free.wait()
        self.finished += 1
        return 0.25


class ObserverDouble:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def refused(self, status, reason, asked_by):
        self.told.append((status, reason))

    def picture_refused(self, reason, asked_by):
        self.told.append((422, reason))


@pytest.fixture
async def axon(keys):
    own = keys["other"]
    row = Neuron(0, keys["validator"].ss58_address, 1.0, True, "0.0.0.0", 0, 0.0, 0.0)
    snapshot = ChainSnapshot(72, 1, (row,))
    admission = Admission(
        own.ss58_address,
        Verifier(own.ss58_address, 10.0, SYSTEM_CLOCK),
        SeenNonces(20.0, 1000, SYSTEM_CLOCK),
        lambda: snapshot,
        AdmissionRules(1_000_000, 2_000_000, 10, 10, require_permit=True),
    )
    workers = ThreadPoolExecutor(1)
    handler, observer = HandlerDouble(), ObserverDouble()
    app = AxonApp(own, admission, handler, observer, SYSTEM_CLOCK, workers, body_seconds=2.0)
    made = LeanAxon(bind("127.0.0.1", 0), app, 75.0, HEAD_SECONDS, SYSTEM_CLOCK)
    made.handler, made.observer, made.admission = handler, observer, admission
    await made.start()
    yield made
    await made.stop(1.0)
    workers.shutdown()


def request(keys, picture=b"picture"):
    own = keys["other"].ss58_address
    headers = signed_headers(keys["validator"], own, time.time_ns())
    return http_request(headers, synapse_body(picture))


async def read_reply(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return head.split(b" ")[1], await reader.readexactly(length)


async def test_a_connection_serves_many_requests_also_after_refusals(axon, keys):
    reader, writer = await asyncio.open_connection(*axon.address)
    statuses = []
    replayed = request(keys)
    big = b"x" * 300_000  # parsed in a worker thread
    for sent in (replayed, replayed, request(keys, big), request(keys)):
        writer.write(sent)
        status, _ = await asyncio.wait_for(read_reply(reader), 5)
        statuses.append(status)
    writer.close()
    assert statuses == [b"200", b"401", b"200", b"200"]
    assert [asked.picture for asked in axon.handler.asked] == [b"picture", big, b"picture"]


async def test_after_a_refusal_the_rest_of_the_body_is_dropped_and_the_connection_lives(axon, keys):
    reader, writer = await asyncio.open_connection(*axon.address)
    replayed = request(keys)
    writer.write(replayed)
    await read_reply(reader)
    writer.write(replayed[:-10])
    assert (await asyncio.wait_for(read_reply(reader), 5))[0] == b"401"
    writer.write(replayed[-10:])  # arrives after the refusal
    await asyncio.sleep(HEAD_SECONDS * 1.5)  # longer than a dawdling connection may live
    before = SYSTEM_CLOCK.monotonic()
    writer.write(request(keys))
    assert (await asyncio.wait_for(read_reply(reader), 5))[0] == b"200"
    assert axon.handler.asked[-1].arrived >= before  # and not when that rest arrived
    writer.close()


async def test_a_refused_body_without_end_is_cut_off(axon, keys):
    reader, writer = await asyncio.open_connection(*axon.address)
    replayed = request(keys, b"x" * 1000)
    writer.write(replayed)
    await read_reply(reader)
    begun = time.monotonic()
    writer.write(replayed[:-500])
    assert (await asyncio.wait_for(read_reply(reader), 5))[0] == b"401"
    with pytest.raises(ConnectionError):
        await trickle(writer, replayed[-500:-1])
    assert time.monotonic() - begun < 10 * HEAD_SECONDS
    writer.close()


async def test_headers_without_end_are_cut_off(axon, keys):
    reader, writer = await asyncio.open_connection(*axon.address)
    writer.write(b"POST /ImageSynapse HTTP/1.1\r\n" + b"x-more: 1234567890\r\n" * 4000)
    received = await asyncio.wait_for(read_to_the_end(reader), 5)
    assert b"HTTP/1.1 200" not in received
    assert axon.handler.asked == []
    writer.close()


async def test_arrival_is_the_first_byte(axon, keys):
    _, writer = await asyncio.open_connection(*axon.address)
    sent = request(keys)
    writer.write(sent[:50])
    await asyncio.sleep(0.3)
    late = SYSTEM_CLOCK.monotonic()
    writer.write(sent[50:])
    await until(lambda: axon.handler.asked)
    assert axon.handler.asked[0].arrived < late - 0.2
    writer.close()


async def test_requests_sent_without_waiting_are_answered_in_order(axon, keys):
    reader, writer = await asyncio.open_connection(*axon.address)
    writer.write(request(keys) + request(keys, b"second"))
    replies = [await asyncio.wait_for(read_reply(reader), 5) for _ in range(2)]
    writer.close()
    assert [status for status, _ in replies] == [b"200", b"200"]


async def test_a_reply_is_one_packet(axon, keys):
    reader, writer = await asyncio.open_connection(*axon.address)
    writer.write(request(keys))
    packet = await asyncio.wait_for(reader.read(65536), 5)
    writer.close()
    assert packet.startswith(b"HTTP/1.1 200")
    assert packet.endswith(b'"prediction":0.25}')


async def test_who_hangs_up_while_judging_has_been_asked_for_all_the_same(axon, keys):
    axon.handler.free.clear()
    _, writer = await asyncio.open_connection(*axon.address)
    writer.write(request(keys))
    await until(lambda: axon.handler.asked)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    axon.handler.free.set()
    await until(lambda: axon.handler.finished == 1)
    await until(lambda: axon.admission.in_flight == 0)


async def test_who_hangs_up_while_sending_is_counted_and_forgotten(axon, keys):
    _, writer = await asyncio.open_connection(*axon.address)
    writer.write(request(keys)[:-5])
    await until(lambda: axon.admission.in_flight == 1)
    writer.transport.abort()
    await until(lambda: axon.observer.told == [(499, "sender-left")])
    assert axon.admission.in_flight == 0
    assert axon.handler.asked == []


async def test_stopping_closes_idle_connections(axon, keys):
    reader, writer = await asyncio.open_connection(*axon.address)
    writer.write(request(keys))
    await read_reply(reader)
    begun = time.monotonic()
    await axon.stop(5.0)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert time.monotonic() - begun < 3.0
    writer.close()


async def test_a_rehearsal_goes_through_the_real_socket(axon, keys):
    axon.admission.rehearsing = True
    assert await rehearse(axon.address, keys["other"], SYSTEM_CLOCK, 5.0) == 0.25
    assert axon.handler.asked[0].rehearsal
    assert axon.handler.asked[0].picture.startswith(b"\xff\xd8\xff")


async def test_a_rehearsal_that_fails_says_why(axon, keys):
    with pytest.raises(NeuronError, match="status 403"):  # not rehearsing: we are no validator
        await rehearse(axon.address, keys["other"], SYSTEM_CLOCK, 5.0)
    axon.handler.free.clear()
    axon.admission.rehearsing = True
    with pytest.raises(NeuronError, match="does not answer itself"):
        await rehearse(axon.address, keys["other"], SYSTEM_CLOCK, 0.2)
    axon.handler.free.set()


async def read_to_the_end(reader):
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def trickle(writer, data):
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def until(condition, seconds=5.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


def test_the_sdk_logs_through_us_and_leaves_other_loggers_alone(quiet_logs, told):
    from natix_miner.neuron.sdk import load_sdk

    logging.getLogger("somebody.else").setLevel(logging.INFO)
    load_sdk()

    logging.getLogger("bittensor").warning("a word from the SDK")
    assert told == ["WARNING bittensor: a word from the SDK"]
    assert logging.getLogger("somebody.else").level == logging.INFO
