"""What one check finds out is there for those after it; where it could not, they say so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from bittensor_wallet import Wallet

from natix_miner.demo.demo import QUERIES
from natix_miner.doctor import Diagnosis, Options, examine
from natix_miner.errors import ChainError
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000.0
CLOCK = SimpleNamespace(time=lambda: NOW, monotonic=lambda: 0.0)
CHAIN = ("wallet", "chain", "clock", "registration", "subnet")


@pytest.fixture
def address(tmp_path):
    """The hotkey of a new wallet."""
    wallet = Wallet(name="miner", hotkey="default", path=str(tmp_path))
    wallet.create_if_non_existent(
        coldkey_use_password=False, hotkey_use_password=False, suppress=True
    )
    (tmp_path / "miner" / "coldkey").unlink()
    (tmp_path / "miner" / "hotkeys" / "default").chmod(0o600)
    return wallet.unlock_hotkey().ss58_address


@pytest.fixture
def look(tmp_path, address):
    """Rows of the named checks."""

    def rows_of(names, ask=None, offline=False, **settings):
        given = {"wallet_name": "miner", "wallet_path": str(tmp_path), **settings}
        given.setdefault("profile", ROOT / "configs" / "embedded.yaml")
        options = Options(pictures=QUERIES, offline=offline)
        checks = Diagnosis(RunSettings(**given), options, clock=CLOCK, ask=ask).checks()
        return {row.check: row for row in examine(check for check in checks if check.name in names)}

    return rows_of


class ChainDouble:
    """Answers each piece of work by its name, as a chain with our hotkey on uid 7 would."""

    def __init__(self, hotkey, made=NOW - 1):
        ours = Neuron(7, hotkey, 0.0, False, "0.0.0.0", 0, 0.25, 1.0, 3)
        other = Neuron(8, "5other", 0.0, False, "0.0.0.0", 0, 0.75, 3.0, 3)
        validator = Neuron(0, "5v", 9.0, True, "0.0.0.0", 0, 0.0, 0.0, 990)
        self.snapshot = ChainSnapshot(72, 1000, (validator, ours, other))
        self.made = made
        self.endpoints = []

    def __call__(self, endpoint, work, seconds):
        self.endpoints.append(endpoint)
        name = getattr(work, "func", work).__name__
        return {
            "_block": 1000,
            "read_subnet": self.snapshot,
            "_cost": 0.5,
            "_next_block": (self.made, NOW),
        }[name]


def test_the_chains_word_is_asked_once_and_used_by_all_rows(look, address):
    chain = ChainDouble(address)
    rows = look(CHAIN, chain, chain_endpoint="ws://a:1")
    assert {row.check: str(row.status) for row in rows.values()} == {
        "wallet": "ok",
        "chain": "ok",
        "clock": "ok",
        "registration": "ok",
        "subnet": "ok",
    }
    assert chain.endpoints == ["ws://a:1"] * 4


def test_a_wrong_clock_shows_on_a_real_endpoint_too(look, address):
    chain = ChainDouble(address, made=NOW + 30)
    row = look(CHAIN, chain, chain_endpoint="ws://a:1")["clock"]
    assert (str(row.status), "30.0 s behind" in row.detail) == ("fail", True)


def test_an_unregistered_hotkey_is_told_the_cost(look):
    row = look(CHAIN, ChainDouble("5somebody"), chain_endpoint="ws://a:1")["registration"]
    assert (str(row.status), "0.5 TAO" in row.detail) == ("warn", True)


def test_where_no_endpoint_answers_the_rows_after_it_say_where_to_look(look):
    def refuse(endpoint, work, seconds):
        raise ChainError(f"{endpoint} refused")

    rows = look(CHAIN, refuse, chain_endpoint="ws://a:1,ws://b:2")
    assert str(rows["chain"].status) == "fail"
    assert rows["chain"].detail == "ws://a:1 refused; ws://b:2 refused"
    for check in ("registration", "subnet"):
        assert rows[check].detail == "the chain did not tell, see the row chain"


def test_offline_asks_nobody(look):
    def never(endpoint, work, seconds):
        raise AssertionError("asked")

    rows = look((*CHAIN, "external-address"), never, offline=True, publish_axon=True)
    for check in ("chain", "registration", "subnet", "external-address"):
        assert (str(rows[check].status), "--offline" in rows[check].detail) == ("skipped", True)


def test_a_journal_that_the_settings_name_is_tried_although_the_profile_is_broken(look, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    names = ("profile", "journal", "disk", "deadline")
    rows = look(names, profile=broken, journal=tmp_path / "j.sqlite3")
    assert {row.check: str(row.status) for row in rows.values()} == {
        "profile": "fail",
        "journal": "ok",
        "disk": "ok",
        "deadline": "skipped",
    }
    assert str(look(names, profile=broken)["journal"].status) == "skipped"


def test_what_is_not_accepted_is_not_started(look, tmp_path):
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        "{name: borrowed, levels: [{name: one, experts: [detector]}],"
        " experts: {detector: {type: ultralytics, file: yolo.pt}}}"
    )
    rows = look(("profile", "servers", "deadline"), profile=profile)
    assert str(rows["profile"].status) == "fail"
    assert "AGPL" in rows["profile"].detail
    assert rows["deadline"].detail.endswith("see the row profile")
