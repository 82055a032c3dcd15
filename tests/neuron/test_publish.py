"""Publishing the axon: the address is checked, the chain's answer is looked at."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from natix_miner.errors import AddressError, ChainError
from natix_miner.neuron.publish import Publisher, check_external_address
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron

OWN = "5own"


class ChainDouble:
    """Stands for SubtensorSource: runs the work on a subtensor double that answers `responses`."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.served = []

    def call(self, work, seconds):
        return asyncio.run(work(self))

    async def serve_axon(self, netuid, axon):
        self.served.append((netuid, axon.wallet, axon.external_ip, axon.external_port))
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return SimpleNamespace(success=response == "ok", message=response)


def snapshot(ip="0.0.0.0", port=0, hotkey=OWN):
    return ChainSnapshot(72, 1, (Neuron(3, hotkey, 0.0, False, ip, port, 0.0, 0.0),))


def publisher(chain, clock, ip=lambda: "8.8.8.8", allow_private=False):
    return Publisher(chain, "wallet", OWN, ip, 8091, allow_private, clock)


def test_an_axon_that_the_chain_does_not_know_is_published(manual_clock, told):
    chain = ChainDouble("ok")
    publisher(chain, manual_clock).after_fetch(snapshot())
    assert chain.served == [(72, "wallet", "8.8.8.8", 8091)]
    assert told == ["INFO axon published on chain as 8.8.8.8:8091"]


def test_an_axon_that_the_chain_knows_is_left_alone(manual_clock):
    chain = ChainDouble()
    one = publisher(chain, manual_clock)
    one.after_fetch(snapshot("8.8.8.8", 8091))
    one.after_fetch(snapshot(hotkey="5somebody"))  # not registered: nothing to publish
    assert chain.served == []


def test_a_refusal_is_told_once_and_tried_again_later(manual_clock, told):
    chain = ChainDouble("ServingRateLimitExceeded", "ServingRateLimitExceeded", "ok")
    one = publisher(chain, manual_clock)
    one.after_fetch(snapshot())
    one.after_fetch(snapshot())
    assert len(chain.served) == 1  # not before its time
    manual_clock.advance(601)
    one.after_fetch(snapshot())
    manual_clock.advance(601)
    one.after_fetch(snapshot())
    assert len(chain.served) == 3
    assert [line.split()[0] for line in told] == ["WARNING", "INFO"]
    assert "ServingRateLimitExceeded" in told[0]


def test_a_chain_that_fails_while_publishing_does_not_raise(manual_clock, told):
    publisher(ChainDouble(ChainError("dropped")), manual_clock).after_fetch(snapshot())
    assert "dropped" in told[0]


def test_an_address_that_was_found_and_is_of_no_use_is_not_published(manual_clock, told):
    chain = ChainDouble()
    publisher(chain, manual_clock, ip=lambda: "10.0.0.5").after_fetch(snapshot())
    assert chain.served == []
    assert "is private or reserved" in told[0]


@pytest.mark.parametrize("ip", ["10.0.0.5", "192.168.1.1", "127.0.0.1", "169.254.1.1", "::1"])
def test_private_addresses_are_refused_unless_allowed(ip):
    with pytest.raises(AddressError, match="--allow-private-address"):
        check_external_address(ip, 8091, allow_private=False)
    check_external_address(ip, 8091, allow_private=True)


@pytest.mark.parametrize(
    ("ip", "port"), [("0.0.0.0", 8091), ("::", 8091), ("host", 8091), ("", 1), ("8.8.8.8", 0)]
)
def test_what_is_no_address_is_refused_in_any_case(ip, port):
    with pytest.raises(AddressError):
        check_external_address(ip, port, allow_private=True)


def test_a_public_address_is_fine():
    check_external_address("8.8.8.8", 8091, allow_private=False)
