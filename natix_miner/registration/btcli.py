"""The line for the machine that holds the coldkey."""

from __future__ import annotations

import shlex

from natix_miner.neuron.settings import RunSettings


def btcli_line(settings: RunSettings) -> str:
    """The command that registers this hotkey, to be run where the coldkey is.

    Options as btcli 9.23 names them. The wallet's folder is left out: it is another one there.
    """
    words = [
        "btcli",
        "subnets",
        "register",
        "--netuid",
        str(settings.netuid),
        "--network",
        _network(settings),
        "--wallet-name",
        settings.wallet_name,
        "--wallet-hotkey",
        settings.wallet_hotkey,
    ]
    return shlex.join(words)


def _network(settings: RunSettings) -> str:
    if settings.chain_endpoint:
        return settings.chain_endpoint.split(",")[0].strip()
    return settings.network
