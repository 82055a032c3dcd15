"""The order of the questions, and the places."""

from __future__ import annotations

import pytest

from natix_miner.errors import RefusedRequestError
from natix_miner.neuron.admission import Admission, AdmissionRules
from natix_miner.neuron.client import signed_headers
from natix_miner.neuron.rate import RateLimit
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron
from natix_miner.neuron.verify import SeenNonces, Verifier
from natix_miner.neuron.wire import parse_head


class House:
    """An admission with everything it needs, and requests to it."""

    def __init__(
        self, keys, clock, *, require_permit=True, per_hotkey=2, snapshot=True, burst=1000
    ):
        self.keys, self.clock = keys, clock
        self.own = keys["other"]
        self.seen = SeenNonces(20.0, 1000, clock)
        rows = (
            Neuron(0, keys["validator"].ss58_address, 9.0, True, "0.0.0.0", 0, 0.0, 0.0),
            Neuron(1, keys["no-permit"].ss58_address, 9.0, False, "0.0.0.0", 0, 0.0, 0.0),
        )
        self.snapshot = ChainSnapshot(72, 1, rows) if snapshot else None
        self.rate = RateLimit(60.0, burst, clock)
        self.admission = Admission(
            self.own.ss58_address,
            Verifier(self.own.ss58_address, 10.0, clock),
            self.seen,
            lambda: self.snapshot,
            AdmissionRules(1000, 2500, 3, per_hotkey, require_permit),
            self.rate,
        )

    def head(self, who, **changes):
        nonce = int(self.clock.time() * 1e9)
        headers = {**signed_headers(self.keys[who], self.own.ss58_address, nonce), **changes}
        return parse_head((name.encode(), value.encode()) for name, value in headers.items())

    def refusal(self, head):
        with pytest.raises(RefusedRequestError) as refused:
            self.admission.admit(head)
        return refused.value.status, refused.value.reason


@pytest.fixture
def house(keys, manual_clock):
    return House(keys, manual_clock)


def test_a_validator_comes_in(house, keys):
    assert house.admission.admit(house.head("validator")) == keys["validator"].ss58_address


def test_nothing_is_remembered_of_those_who_are_refused(house):
    forged = "0x" + "00" * 64
    assert house.refusal(house.head("stranger")) == (403, "unregistered")
    assert house.refusal(house.head("no-permit")) == (403, "no-permit")
    assert house.refusal(house.head("validator", bt_header_dendrite_signature=forged))[0] == 401
    assert len(house.seen) == 0


def test_an_unsigned_request_in_a_registered_name_is_refused_for_its_signature(house):
    head = house.head("no-permit", bt_header_dendrite_signature="")
    assert house.refusal(head) == (401, "unsigned")


def test_the_permit_can_be_waived(keys, manual_clock):
    house = House(keys, manual_clock, require_permit=False)
    assert house.admission.admit(house.head("no-permit")) == keys["no-permit"].ss58_address


def test_a_hotkey_that_left_the_snapshot_is_refused_at_once(house):
    house.admission.admit(house.head("validator"))
    house.snapshot = ChainSnapshot(72, 2, ())
    assert house.refusal(house.head("validator")) == (403, "unregistered")


def test_without_a_snapshot_nobody_comes_in(keys, manual_clock):
    house = House(keys, manual_clock, snapshot=False)
    assert house.refusal(house.head("validator")) == (503, "no-snapshot")


def test_during_the_rehearsal_only_our_own_hotkey_comes_in(house, keys):
    house.admission.rehearsing = True
    assert house.refusal(house.head("validator")) == (503, "starting")
    assert house.admission.admit(house.head("other")) == keys["other"].ss58_address
    house.admission.rehearsing = False
    assert house.refusal(house.head("other")) == (403, "unregistered")


def test_one_hotkey_cannot_take_all_places_and_gives_them_back(house, keys):
    hotkey = keys["validator"].ss58_address
    with house.admission.place(hotkey), house.admission.place(hotkey):
        assert house.refusal(house.head("validator")) == (429, "too-many")
        assert house.admission.in_flight == 2
    assert house.admission.in_flight == 0
    assert house.admission.admit(house.head("validator")) == hotkey


def test_all_places_together_are_bounded(house):
    with house.admission.place("a"), house.admission.place("b"), house.admission.place("c"):
        assert house.refusal(house.head("validator")) == (503, "full")


def test_bodies_held_at_once_are_bounded(house):
    house.admission.hold(1500)
    with pytest.raises(RefusedRequestError) as refused:
        house.admission.hold(1001)
    assert (refused.value.status, refused.value.reason) == (503, "full")
    house.admission.hold(1000)
    house.admission.release(2500)
    house.admission.hold(2500)


def test_while_stopping_the_door_is_shut(house):
    house.admission.check_open()
    house.admission.stopping = True
    with pytest.raises(RefusedRequestError, match="stopping"):
        house.admission.check_open()


def test_a_hotkey_that_asks_too_fast_is_told_when_to_come_again(keys, manual_clock):
    house = House(keys, manual_clock, burst=2)
    for _ in range(2):
        house.admission.admit(house.head("validator"))
    with pytest.raises(RefusedRequestError) as refused:
        house.admission.admit(house.head("validator"))
    assert (refused.value.status, refused.value.reason) == (429, "rate")
    assert refused.value.retry_seconds == pytest.approx(1.0)
    manual_clock.advance(1.01)
    house.admission.admit(house.head("validator"))


def test_only_who_is_let_in_uses_up_his_share(keys, manual_clock):
    """Else anybody could stop a validator by replaying its requests, or by writing its name."""
    house = House(keys, manual_clock, burst=2)
    caught = house.head("validator")
    house.admission.admit(caught)
    forged = "0x" + "00" * 64
    for _ in range(20):
        assert house.refusal(caught) == (401, "replayed")
        assert house.refusal(house.head("validator", bt_header_dendrite_signature=forged))[0] == 401
        assert house.refusal(house.head("stranger")) == (403, "unregistered")
        with house.admission.place("a"), house.admission.place("b"), house.admission.place("c"):
            assert house.refusal(house.head("validator")) == (503, "full")
    assert house.admission.admit(house.head("validator")) == keys["validator"].ss58_address
    assert len(house.rate) == 1


def test_the_rehearsal_is_not_held_back_by_the_pace(keys, manual_clock):
    house = House(keys, manual_clock, burst=1)
    house.admission.rehearsing = True
    for _ in range(3):
        house.admission.admit(house.head("other"))
