"""Signatures, the nonce window, and a memory of nonces that stays small."""

from __future__ import annotations

import tracemalloc

import pytest

from natix_miner.errors import RefusedRequestError
from natix_miner.neuron.client import signed_headers
from natix_miner.neuron.verify import SeenNonces, Verifier
from natix_miner.neuron.wire import parse_head

WINDOW = 10.0


def signed_head(keys, clock, *, offset=0.0, to="other", **changes):
    nonce = int((clock.time() + offset) * 1e9)
    headers = {**signed_headers(keys["validator"], keys[to].ss58_address, nonce), **changes}
    return parse_head((name.encode(), value.encode()) for name, value in headers.items())


@pytest.fixture
def verifier(keys, manual_clock):
    made = Verifier(keys["other"].ss58_address, WINDOW, manual_clock)
    manual_clock.advance(100.0)  # so that the window, not the start, bounds the past
    return made


@pytest.mark.parametrize("offset", [-9.9, 0.0, 9.9])
def test_a_nonce_within_the_window_is_accepted(verifier, keys, manual_clock, offset):
    assert len(verifier.verify(signed_head(keys, manual_clock, offset=offset))) == 16


@pytest.mark.parametrize(
    ("offset", "reason"), [(-10.1, "stale-nonce"), (-1e6, "stale-nonce"), (10.1, "future-nonce")]
)
@pytest.mark.parametrize("timeout", ["9.0", "1000000.0"])
@pytest.mark.parametrize("version", ["10005000", "7001000", "1"])
def test_no_header_widens_the_window(
    verifier, keys, manual_clock, offset, reason, timeout, version
):
    head = signed_head(
        keys,
        manual_clock,
        offset=offset,
        timeout=timeout,
        bt_header_dendrite_version=version,
    )

    with pytest.raises(RefusedRequestError) as refused:
        verifier.verify(head)

    assert (refused.value.status, refused.value.reason) == (401, reason)


def test_nonces_from_before_the_start_are_refused(keys, manual_clock):
    head = signed_head(keys, manual_clock)
    manual_clock.advance(0.5)
    restarted = Verifier(keys["other"].ss58_address, WINDOW, manual_clock)

    with pytest.raises(RefusedRequestError, match="too old"):
        restarted.verify(head)


@pytest.mark.parametrize("wrong_by", [3600.0, -3600.0])
def test_a_clock_that_is_set_right_after_the_start_changes_nothing(keys, manual_clock, wrong_by):
    before = signed_head(keys, manual_clock)
    manual_clock.advance(0.5)
    manual_clock.wall += wrong_by
    verifier = Verifier(keys["other"].ss58_address, WINDOW, manual_clock)
    manual_clock.advance(0.5)
    manual_clock.wall -= wrong_by

    assert verifier.verify(signed_head(keys, manual_clock))
    with pytest.raises(RefusedRequestError, match="too old"):
        verifier.verify(before)


def test_every_signed_part_matters(verifier, keys, manual_clock):
    for header in ("bt_header_dendrite_nonce", "bt_header_dendrite_uuid"):
        good = signed_headers(
            keys["validator"], keys["other"].ss58_address, int(manual_clock.time() * 1e9)
        )
        bad = {**good, header: good[header][:-1] + ("1" if good[header][-1] != "1" else "2")}
        head = parse_head((name.encode(), value.encode()) for name, value in bad.items())
        with pytest.raises(RefusedRequestError) as refused:
            verifier.verify(head)
        assert refused.value.reason == "forged", header
    stranger = keys["stranger"].ss58_address
    with pytest.raises(RefusedRequestError, match="does not match"):
        verifier.verify(signed_head(keys, manual_clock, bt_header_dendrite_hotkey=stranger))


def test_the_same_signature_has_the_same_key_and_others_have_others(verifier, keys, manual_clock):
    one, other = signed_head(keys, manual_clock), signed_head(keys, manual_clock)

    assert verifier.verify(one) == verifier.verify(one)
    assert verifier.verify(one) != verifier.verify(other)


def test_a_signature_is_remembered_as_long_as_it_could_be_sent_again(manual_clock):
    seen = SeenNonces(20.0, 100, manual_clock)
    seen.remember(b"a")
    manual_clock.advance(19.9)

    with pytest.raises(RefusedRequestError, match="used before"):
        seen.remember(b"a")

    manual_clock.advance(0.2)
    seen.remember(b"a")
    assert len(seen) == 1


def test_hundred_thousand_nonces_take_bounded_memory_and_expire(manual_clock):
    seen = SeenNonces(20.0, 200_000, manual_clock)
    tracemalloc.start()
    for number in range(100_000):
        seen.remember(number.to_bytes(16, "big"))
        manual_clock.advance(0.001)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(seen) <= 20_001  # those of the last 20 s
    assert size < 10_000_000


def test_when_full_of_live_nonces_new_ones_are_refused_and_old_ones_still_known(manual_clock):
    seen = SeenNonces(20.0, 1000, manual_clock)
    for number in range(1000):
        seen.remember(number.to_bytes(16, "big"))

    with pytest.raises(RefusedRequestError) as full:
        seen.remember(b"one more")
    with pytest.raises(RefusedRequestError) as replay:
        seen.remember((0).to_bytes(16, "big"))

    assert (full.value.status, replay.value.status) == (503, 401)
    assert len(seen) == 1000
    manual_clock.advance(20.0)
    seen.remember(b"one more")
    assert len(seen) == 1
