"""Ports and addresses: who holds a port, and what validators could reach."""

from __future__ import annotations

import os
import socket

import pytest

from natix_miner.doctor import Status
from natix_miner.doctor.network import (
    check_external_ip,
    check_metrics_port,
    check_port,
    check_reachable,
    own_address,
)


def test_a_free_port_is_free_again_afterwards():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for _ in range(2):
        assert check_port("127.0.0.1", port, "--axon-port").status is Status.OK
    assert check_port("127.0.0.1", 0, "--axon-port").status is Status.OK


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_whoever_holds_a_port_is_named(host):
    with socket.create_server((host, 0)) as held:
        port = held.getsockname()[1]
        found = check_port(host, port, "--axon-port")
        metrics = check_metrics_port(host, port)
    assert (found.status, metrics.status) == (Status.FAIL, Status.FAIL)
    assert f"port {port}" in found.detail
    assert f"pid {os.getpid()} (" in found.detail
    assert "--axon-port" in found.advice
    assert "--metrics-port" in metrics.advice


def test_an_address_of_another_machine_cannot_be_listened_on():
    assert check_port("192.0.2.77", 8091, "--axon-port").status is Status.FAIL
    assert check_metrics_port("127.0.0.1", None).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("ip", "private", "status"),
    [
        ("10.1.2.3", False, Status.FAIL),
        ("10.1.2.3", True, Status.WARN),
        ("127.0.0.1", True, Status.FAIL),
        ("0.0.0.0", True, Status.FAIL),
        ("8.8.8.8", False, Status.OK),
        ("example.org", False, Status.FAIL),
    ],
)
def test_the_external_address_must_be_one_that_validators_reach(ip, private, status):
    found = check_external_ip(ip, 8091, private, "")
    assert (found.status, ip in found.detail) == (status, True)
    assert bool(found.advice) == (status is not Status.OK)


def test_an_address_that_is_not_published_is_not_judged():
    found = check_external_ip(None, 8091, False, "nothing is published")
    assert (found.status, found.detail) == (Status.SKIPPED, "nothing is published")


@pytest.mark.parametrize(
    ("host", "external", "own", "status", "word"),
    [
        ("127.0.0.1", "8.8.8.8", "8.8.8.8", Status.WARN, "nobody outside"),
        ("0.0.0.0", "8.8.8.8", "8.8.8.8", Status.OK, "only an outsider can tell"),
        ("0.0.0.0", "8.8.8.8", "192.168.0.2", Status.WARN, "NAT"),
        ("0.0.0.0", "8.8.8.8", None, Status.WARN, "without a route"),
        ("0.0.0.0", None, "192.168.0.2", Status.SKIPPED, "only an outsider can tell"),
    ],
)
def test_reachable_says_no_more_than_can_be_known_here(host, external, own, status, word):
    found = check_reachable(host, 8091, external, lambda: own)
    assert (found.status, word in found.detail) == (status, True)


def test_our_own_address_is_asked_of_the_routes():
    found = own_address()
    assert found is None or found.count(".") == 3
