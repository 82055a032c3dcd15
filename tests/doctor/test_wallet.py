"""The wallet's files on real key files."""

from __future__ import annotations

import stat

import pytest
from bittensor_wallet import Wallet

from natix_miner.doctor import Status
from natix_miner.doctor.wallet import check_wallet
from natix_miner.neuron.wallet import open_wallet


@pytest.fixture
def folder(tmp_path):
    wallet = Wallet(name="miner", hotkey="default", path=str(tmp_path))
    wallet.create_if_non_existent(
        coldkey_use_password=False, hotkey_use_password=False, suppress=True
    )
    (tmp_path / "miner" / "coldkey").unlink()
    (tmp_path / "miner" / "hotkeys" / "default").chmod(0o600)
    return tmp_path / "miner"


def look(folder, publishes=True):
    keys = open_wallet("miner", "default", str(folder.parent))
    return check_wallet(keys, folder, "default", publishes)


def test_a_hotkey_and_coldkeypub_are_all_a_miner_needs(folder):
    found = look(folder)
    assert (found.status, found.advice) == (Status.OK, "")


def test_a_coldkey_on_the_machine_and_an_open_hotkey_are_warned_of(folder):
    (folder / "coldkey").write_text("{}")
    hotkey = folder / "hotkeys" / "default"
    hotkey.chmod(0o640)
    found = look(folder)
    assert found.status is Status.WARN
    assert f"coldkey lies at {folder / 'coldkey'}" in found.detail
    assert f"chmod 600 {hotkey}" in found.advice
    assert stat.S_IMODE(hotkey.stat().st_mode) == 0o640  # told, not done


def test_without_coldkeypub_nothing_could_be_published(folder):
    (folder / "coldkeypub.txt").unlink()
    assert look(folder).status is Status.FAIL
    assert look(folder, publishes=False).status is Status.WARN
