"""A real dendrite cannot tell our axon from the SDK's own."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: Values that are different at every request, or say who answered.
VOLATILE = {"process_time", "nonce", "signature", "uuid", "port"}


@pytest.fixture(scope="module")
def stock_axon(keys, seeds):
    """The SDK's axon in a process of its own, under the hotkey `other`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            str(HERE / "stock_axon_script.py"),
            seeds["other"],
            str(port),
            keys["validator"].ss58_address,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().strip() == "ready"
        yield {"hotkey": keys["other"].ss58_address, "ip": "127.0.0.1", "port": port}
    finally:
        process.communicate(timeout=10)


@pytest.fixture(scope="module")
def our_axon(shared_miners):
    miner = shared_miners.start("echo")
    return {"hotkey": miner.hotkey, "ip": miner.host, "port": miner.port}


def shape(synapse):
    """Everything a synapse says, volatile values replaced by whether they are there."""

    def part(terminal):
        return {
            name: (value is not None if name in VOLATILE or name == "hotkey" else value)
            for name, value in terminal.items()
        }

    rest = {
        name: value
        for name, value in synapse.items()
        if name not in ("dendrite", "axon", "total_size")  # the size of a Python object over there
    }
    return {**rest, "dendrite": part(synapse["dendrite"]), "axon": part(synapse["axon"])}


def test_answers_come_back_the_same(dendrite, seeds, stock_axon, our_axon):
    pictures = [b"\x20abc", b"\xf0" + b"x" * 20_000, b"\x80" + b"y" * 400_000]
    queries = [
        {"image": base64.b64encode(picture).decode(), "testnet_label": label}
        for picture, label in zip(pictures, (-1, 0, 1), strict=True)
    ]

    result = dendrite(seeds["validator"], [stock_axon, our_axon], queries)

    stock, ours = result["answers"]
    assert result["sdk"].startswith("10.5")
    assert [synapse["prediction"] for synapse in ours] == [0x20 / 256, 0xF0 / 256, 0x80 / 256]
    assert [synapse["dendrite"]["status_code"] for synapse in ours] == [200, 200, 200]
    assert [shape(synapse) for synapse in ours] == [shape(synapse) for synapse in stock]


def test_refusals_come_back_with_status_and_message(dendrite, seeds, stock_axon, our_axon):
    result = dendrite(seeds["stranger"], [stock_axon, our_axon], [{"image": "QUJD"}])

    (stock,), (ours,) = result["answers"]
    assert stock["dendrite"]["status_code"] == ours["dendrite"]["status_code"] == 403
    assert ours["axon"]["status_message"] == "forbidden: hotkey is not registered on 72"
    assert ours["dendrite"]["status_message"] == ours["axon"]["status_message"]
    assert ours["prediction"] == stock["prediction"] == -1.0
    for synapse in (stock, ours):
        del synapse["axon"]["status_message"], synapse["dendrite"]["status_message"]
        synapse.pop("image")  # the sender's own copy
    assert shape(ours) == shape(stock)


def test_an_undecodable_picture_is_an_error_and_never_a_prediction(dendrite, seeds, our_axon):
    queries = [
        {"image": base64.b64encode(b"none").decode()},
        {"image": "no base64!"},
        {"image": ""},
    ]

    result = dendrite(seeds["validator"], [our_axon], queries)

    (answers,) = result["answers"]
    assert [synapse["prediction"] for synapse in answers] == [-1.0, -1.0, -1.0]
    assert [synapse["dendrite"]["status_code"] for synapse in answers] == [422, 422, 422]
    messages = [synapse["dendrite"]["status_message"] for synapse in answers]
    assert messages[0] == "not a picture: send a JPEG"
    assert "base64" in messages[1]
    assert "empty" in messages[2]


def test_twenty_at_once_over_kept_alive_connections(dendrite, seeds, our_axon):
    queries = [{"image": base64.b64encode(bytes([n]) * 2000).decode()} for n in range(1, 21)]

    result = dendrite(seeds["validator"], [our_axon], queries, concurrent=True)

    assert [synapse["prediction"] for synapse in result["answers"][0]] == [
        n / 256 for n in range(1, 21)
    ]
