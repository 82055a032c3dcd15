"""Heads that the HTTP parser lets through and the axon does not, whichever parser is installed."""

from __future__ import annotations

from typing import Any

import pytest

from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.neuron.guard import HEAD_BYTES
from natix_miner.neuron.server import AxonApp
from natix_miner.neuron.wire import ROUTE
from tests.faults.miners import VALIDATORS


class AdmissionDouble:
    """Open; whoever gets further than the shape of the head is told so."""

    def check_open(self) -> None:
        pass

    def check_announced_size(self, size: int | None) -> None:
        raise AssertionError("the head was let through")


class ObserverDouble:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []

    def refused(self, status: int, reason: str, asked_by: str | None) -> None:
        self.told.append((status, reason))


async def refusal_of(headers: list[tuple[bytes, bytes]]) -> tuple[dict[str, Any], ObserverDouble]:
    """The start of the response and what the observer was told."""
    observer = ObserverDouble()
    app = AxonApp(
        VALIDATORS[0], AdmissionDouble(), None, observer, SYSTEM_CLOCK, None, body_seconds=1.0
    )
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"path": ROUTE, "method": "POST", "headers": headers, "client": ("127.0.0.1", 1)}
    await app(scope, None, send)
    return sent[0], observer


async def test_two_ways_to_tell_the_length_are_refused_and_the_connection_is_closed():
    start, observer = await refusal_of(
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]
    )
    assert start["status"] == 400
    assert (b"connection", b"close") in start["headers"]
    assert observer.told == [(400, "two-lengths")]


async def test_headers_over_the_limit_are_refused_also_when_they_came_in_one_read():
    start, observer = await refusal_of([(b"x-long", b"y" * HEAD_BYTES)])
    assert start["status"] == 431
    assert (b"connection", b"close") not in start["headers"]
    assert observer.told == [(431, "head-too-large")]


async def test_headers_just_below_the_limit_go_on():
    with pytest.raises(AssertionError, match="let through"):
        await refusal_of([(b"x-long", b"y" * (HEAD_BYTES - 10))])
