"""The wallet's files: what a miner needs is there, and nothing that it should not hold."""

from __future__ import annotations

import stat
from pathlib import Path

from natix_miner.doctor.row import Finding, fail, ok, warn, worst_of
from natix_miner.neuron.wallet import MinerKeys

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_wallet(keys: MinerKeys, folder: Path, hotkey: str, publishes: bool) -> Finding:
    """What there is to say of a wallet whose hotkey could be opened. `folder` is the wallet's;
    `publishes`: the axon is to be published on chain, which needs the coldkey's public half."""
    findings = [ok(f"hotkey {keys.address} opens without a password"), _permissions(folder, hotkey)]
    public = folder / "coldkeypub.txt"
    if keys.coldkey_address is None:
        advice = f"copy coldkeypub.txt from the machine that holds the coldkey to {public}"
        missing = f"no {public}"
        if publishes:
            findings.append(fail(f"{missing}: the axon cannot be published on chain", advice))
        else:
            findings.append(warn(f"{missing}; nothing is published now", advice))
    else:
        findings.append(ok(f"coldkeypub of {keys.coldkey_address}"))
    if keys.coldkey_present:
        coldkey = folder / "coldkey"
        findings.append(
            warn(
                f"the private coldkey lies at {coldkey}; a miner never needs it",
                f"keep it on another machine: copy it there, then shred -u {coldkey}",
            )
        )
    return worst_of(findings)


def _permissions(folder: Path, hotkey: str) -> Finding:
    path = folder / "hotkeys" / hotkey
    mode = path.stat().st_mode
    if mode & _OTHERS:
        return warn(
            f"others than its owner may use {path} (mode {stat.S_IMODE(mode):o})",
            f"chmod 600 {path}",
        )
    return ok(f"only its owner may read {path}")
