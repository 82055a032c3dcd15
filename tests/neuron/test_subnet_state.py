"""A subnet's state in a word, read off one snapshot."""

from __future__ import annotations

import pytest

from natix_miner.neuron.snapshot import ChainSnapshot, Neuron, read_snapshot, write_snapshot
from natix_miner.neuron.subnet_state import SILENT_BLOCKS, SubnetWord, state_of

BLOCK = 100_000


def validator(uid, updated, incentive=0.0):
    return Neuron(uid, f"5v{uid}", 1000.0, True, "1.2.3.4", 80, incentive, 0.0, updated)


def miner(uid, incentive):
    return Neuron(uid, f"5m{uid}", 0.0, False, "1.2.3.4", 80, incentive, incentive, 5)


def state(*neurons):
    return state_of(ChainSnapshot(72, BLOCK, neurons))


def test_validators_that_set_weights_for_several_miners_pay():
    found = state(
        validator(0, BLOCK - 300), validator(1, BLOCK - 40), miner(2, 0.75), miner(3, 0.25)
    )
    assert found.word is SubnetWord.PAYING
    assert (found.validators, found.newest_update_blocks, found.paid_miners) == (2, 40, 2)
    assert found.largest_share == pytest.approx(0.75)


@pytest.mark.parametrize(("owner", "word"), [(99.0, SubnetWord.BURNING), (98.9, SubnetWord.PAYING)])
def test_from_99_percent_on_one_uid_on_it_is_burning(owner, word):
    found = state(validator(0, BLOCK), miner(7, owner), miner(8, 100 - owner))
    assert found.word is word
    assert found.word is not SubnetWord.BURNING or "uid 7 holds 99.0%" in found.reason


def test_burning_to_an_owner_who_is_a_validator_counts_no_miner():
    found = state(validator(0, BLOCK, incentive=1.0), miner(1, 0.0))
    assert (found.word, found.paid_miners, found.largest_share) == (SubnetWord.BURNING, 0, 1.0)


@pytest.mark.parametrize(
    ("age", "word"), [(SILENT_BLOCKS, SubnetWord.PAYING), (SILENT_BLOCKS + 1, SubnetWord.SILENT)]
)
def test_after_a_day_without_weights_it_is_silent_whatever_incentive_still_shows(age, word):
    found = state(validator(0, BLOCK - age), validator(1, 0), miner(2, 0.5), miner(3, 0.5))
    assert found.word is word
    assert found.newest_update_blocks == age


def test_without_a_permit_nobody_can_pay():
    found = state(miner(1, 0.5), miner(2, 0.5))
    assert (found.word, found.validators, found.newest_update_blocks) == ("silent", 0, None)


def test_what_miners_update_says_nothing_about_validators():
    young = Neuron(4, "5m", 0.0, False, "1.2.3.4", 80, 0.5, 0.5, BLOCK)
    assert state(validator(0, 0), young, miner(5, 0.5)).word is SubnetWord.SILENT


@pytest.mark.parametrize(
    "neurons",
    [
        (validator(0, None), miner(1, 0.5), miner(2, 0.5)),  # nobody tells when weights were set
        (validator(0, BLOCK), miner(1, 0.0)),  # nobody holds incentive
    ],
)
def test_what_the_snapshot_does_not_tell_is_unknown(neurons):
    assert state(*neurons).word is SubnetWord.UNKNOWN


def test_a_weight_from_a_later_block_than_the_snapshots_is_no_age_below_zero():
    assert state(validator(0, BLOCK + 2), miner(1, 1.0), miner(2, 1.0)).newest_update_blocks == 0


def test_last_update_and_the_time_of_the_block_are_kept_in_the_file(tmp_path):
    snapshot = ChainSnapshot(72, BLOCK, (validator(0, 17), validator(1, None)), time=1.5e9)
    write_snapshot(snapshot, tmp_path / "chain.json")
    assert read_snapshot(tmp_path / "chain.json") == snapshot
