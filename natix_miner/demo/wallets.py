"""Throw-away wallets, and a chain snapshot in which they are miner and validator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from natix_miner.neuron.sdk import load_sdk
from natix_miner.neuron.snapshot import ChainSnapshot, Neuron, write_snapshot

MINER, VALIDATOR, HOTKEY = "demo-miner", "demo-validator", "default"
NETUID = 72


def make_wallet(folder: Path, name: str) -> Any:
    """A new wallet without passwords under `folder`; worth nothing, registered nowhere."""
    wallet = load_sdk().Wallet(name=name, hotkey=HOTKEY, path=str(folder))
    wallet.create_if_non_existent(
        coldkey_use_password=False, hotkey_use_password=False, suppress=True
    )
    return wallet


def make_snapshot(path: Path, miner: str, validator: str) -> None:
    """Write a snapshot of a subnet of two: one validator with a permit, one miner."""

    def neuron(uid: int, hotkey: str, stake: float, permit: bool) -> Neuron:
        return Neuron(
            uid=uid,
            hotkey=hotkey,
            stake=stake,
            validator_permit=permit,
            ip="127.0.0.1",
            port=0,
            incentive=0.0,
            emission=0.0,
        )

    both = (neuron(0, validator, 1000.0, True), neuron(1, miner, 0.0, False))
    write_snapshot(ChainSnapshot(netuid=NETUID, block=1, neurons=both), path)
