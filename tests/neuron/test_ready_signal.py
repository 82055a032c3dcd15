"""What pm2 and systemd are told, over real sockets."""

from __future__ import annotations

import asyncio
import os
import re
import socket

import pytest

from natix_miner.neuron.ready_signal import VARIABLES, ReadySignal


@pytest.fixture
def channel():
    """Both ends of what Node gives a child: the parent's, and a descriptor for the child."""
    parent, child = socket.socketpair()
    parent.settimeout(2.0)
    yield parent, child.detach()
    parent.close()


@pytest.fixture
def systemd(tmp_path):
    """A socket like systemd's, and its address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(2.0)
        yield listener, str(tmp_path / "notify")


def test_pm2_is_told_over_the_channel_of_node(channel):
    parent, descriptor = channel
    environment = {"NODE_CHANNEL_FD": str(descriptor), "NODE_CHANNEL_SERIALIZATION_MODE": "json"}
    signal = ReadySignal.take(environment)
    signal.ready("ready axon=…")
    assert parent.recv(100) == b'"ready"\n'
    signal.stopping()
    signal.close()
    assert parent.recv(100) == b""


def test_children_inherit_neither_the_variables_nor_the_channel(channel):
    _, descriptor = channel
    environment = dict.fromkeys(VARIABLES, "") | {
        "NODE_CHANNEL_FD": str(descriptor),
        "PATH": "/bin",
    }
    os.set_inheritable(descriptor, True)
    signal = ReadySignal.take(environment)
    assert environment == {"PATH": "/bin"}
    assert not os.get_inheritable(descriptor)
    signal.close()


def test_a_parent_that_is_gone_stops_nothing(channel, told):
    parent, descriptor = channel
    signal = ReadySignal.take({"NODE_CHANNEL_FD": str(descriptor)})
    parent.close()
    signal.ready()
    signal.close()
    assert [line for line in told if "pm2 could not be told" in line]


def test_a_descriptor_that_is_no_channel_is_left_alone(tmp_path, told):
    with (
        (tmp_path / "file").open("wb") as file,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        numbers = [str(file.fileno()), str(other.fileno()), "1", "-1", "three", "99999"]
        for number in numbers:
            ReadySignal.take({"NODE_CHANNEL_FD": number}).ready()
        os.fstat(other.fileno())
        file.write(b"still open")
    assert (tmp_path / "file").read_bytes() == b"still open"
    assert len([line for line in told if "is no channel" in line]) == 6


def test_a_channel_of_another_format_is_told_nothing(channel, told):
    _, descriptor = channel
    ReadySignal.take(
        {"NODE_CHANNEL_FD": str(descriptor), "NODE_CHANNEL_SERIALIZATION_MODE": "advanced"}
    ).ready()
    assert any("speaks advanced" in line for line in told)
    os.close(descriptor)


def test_systemd_is_told_ready_and_stopping(systemd):
    listener, address = systemd
    environment = {"NOTIFY_SOCKET": address}
    signal = ReadySignal.take(environment)
    signal.ready("ready axon=127.0.0.1:8091")
    signal.stopping()
    assert listener.recv(200) == b"READY=1\nSTATUS=ready axon=127.0.0.1:8091"
    assert listener.recv(200) == b"STOPPING=1\nSTATUS=draining"
    assert environment == {}


def test_an_abstract_address_begins_with_an_at():
    name = f"natix-miner-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(2.0)
        ReadySignal.take({"NOTIFY_SOCKET": "@" + name}).ready()
        assert listener.recv(100) == b"READY=1"


def test_a_socket_that_is_gone_stops_nothing(tmp_path, told):
    ReadySignal.take({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert any("systemd could not be told READY=1" in line for line in told)


def test_without_a_supervisor_nothing_is_said(told):
    signal = ReadySignal.take({})
    signal.ready("ready")
    signal.stopping()
    asyncio.run(signal.keep_beating())
    signal.close()
    assert told == []


@pytest.mark.parametrize("named", [False, True])
def test_the_watchdog_hears_twice_within_its_patience(systemd, virtual, named):
    listener, address = systemd
    process = str(os.getpid()) if named else ""
    signal = ReadySignal.take(
        {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": process}
    )

    async def nearly_five_minutes():
        beating = asyncio.ensure_future(signal.keep_beating())
        beats = 0
        listener.setblocking(False)
        for _ in range(290):
            await asyncio.sleep(1.0)
            try:
                assert listener.recv(100) == b"WATCHDOG=1"
                beats += 1
            except BlockingIOError:
                pass
        beating.cancel()
        return beats

    assert virtual.run(nearly_five_minutes()) == 10


@pytest.mark.parametrize(
    ("microseconds", "process"), [("60000000", "1"), ("0", ""), ("soon", ""), ("", "")]
)
def test_a_watchdog_that_is_not_ours_hears_nothing(systemd, microseconds, process):
    _, address = systemd
    signal = ReadySignal.take(
        {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": process}
    )
    asyncio.run(asyncio.wait_for(signal.keep_beating(), 1.0))


def test_a_miner_tells_systemd_and_outlives_a_channel_that_is_not_there(
    miners, systemd, monkeypatch
):
    listener, address = systemd
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("NODE_CHANNEL_FD", "77")
    miner = miners.start()
    said = [listener.recv(400).decode()]
    while "READY=1" not in said[-1]:
        said.append(listener.recv(400).decode())
    assert re.match(rf"READY=1\nSTATUS=ready axon=127\.0\.0\.1:{miner.port} ", said[-1])
    assert "WATCHDOG=1" in said
    assert miner.stop() == 0
    rest = []
    while not any("STOPPING=1" in message for message in rest):
        rest.append(listener.recv(400).decode())
    assert "'77', which is no channel" in miner.log()
