"""`natix-miner register subnet` behind its options: show, ask, pay, look."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from natix_miner.cli.tables import show_table
from natix_miner.errors import ConfigurationError

if TYPE_CHECKING:
    from natix_miner.neuron.settings import RunSettings
    from natix_miner.neuron.wallet import MinerKeys
    from natix_miner.registration.subnet import Chain, SubnetOffer

#: Exit status: it was tried and did not succeed.
FAILED = 1
#: Exit status: nothing was done, because nobody agreed or the coldkey is elsewhere.
NOTHING_DONE = 3


def register_subnet(
    chain: Chain,
    settings: RunSettings,
    keys: MinerKeys,
    *,
    max_cost: float | None,
    yes: bool,
    as_json: bool,
    attempts: int = 1,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Show the offer, ask, register; the exit code. Raises NatixMinerError."""
    from natix_miner.registration.subnet import read_offer, register_on_subnet, tao, unlock_coldkey

    offer = read_offer(chain, settings.netuid, keys.address, keys.coldkey_address, attempts)
    tell = _Teller(as_json, _offer_document(offer, keys))
    if not as_json:
        _show_offer(offer, keys)
    if offer.uid is not None:
        return tell.end(0, "registered", f"registered already, uid {offer.uid}; nothing to pay")
    limit = offer.limit_rao if max_cost is None else min(offer.limit_rao, _rao(max_cost))
    if (against := _against(offer, keys, limit, settings)) is not None:
        return tell.end(NOTHING_DONE, *against)
    if not yes and not (sys.stdin.isatty() and not as_json):
        return tell.end(
            NOTHING_DONE,
            "not-agreed",
            f"nothing was done: nobody can be asked here; --yes spends up to {tao(limit)} unasked",
        )
    if not yes and not typer.confirm(f"Spend up to {tao(limit)} of {keys.coldkey_address}?"):
        return tell.end(NOTHING_DONE, "not-agreed", "nothing was done")
    if not _can_unlock(keys):
        return tell.end(
            NOTHING_DONE,
            "password",
            "nothing was done: the coldkey needs its password typed on a terminal",
        )
    unlock_coldkey(keys.wallet)
    tell.note("registering; this takes some blocks of 12 s")
    result = register_on_subnet(
        chain, keys.wallet, keys.address, offer, limit_rao=limit, sleep=sleep
    )
    if result.uid is None:
        return tell.end(FAILED, "failed", f"not registered: {result.message}")
    tell.document["uid"] = result.uid
    return tell.end(0, "registered", f"registered, uid {result.uid}")


def _against(
    offer: SubnetOffer, keys: MinerKeys, limit: int, settings: RunSettings
) -> tuple[str, str] | None:
    """Why nothing can be done here (a word and a sentence), or None."""
    from natix_miner.registration import btcli_line
    from natix_miner.registration.subnet import tao

    if offer.cost_rao > limit:
        return "too-dear", (
            f"nothing was done: it costs {tao(offer.cost_rao)}, more than --max-cost {tao(limit)}"
        )
    if offer.balance_rao is not None and offer.balance_rao < offer.cost_rao:
        return "balance", (
            f"nothing was done: it costs {tao(offer.cost_rao)}, the coldkey holds"
            f" {tao(offer.balance_rao)}"
        )
    if not keys.coldkey_present:
        return "no-coldkey", (
            "nothing was done: the coldkey is not on this machine, as it should be. On the machine"
            f" that holds it:\n  {btcli_line(settings)}"
        )
    return None


def _can_unlock(keys: MinerKeys) -> bool:
    """Whether the coldkey opens without typing, or somebody is there to type."""
    file = keys.wallet.coldkey_file
    return not file.is_encrypted() or file.env_var_name() in os.environ or sys.stdin.isatty()


class _Teller:
    """Says the end: a line and the exit code, or all of it as one JSON object."""

    def __init__(self, as_json: bool, document: dict[str, Any]) -> None:
        self.document = document
        self._as_json = as_json

    def note(self, line: str) -> None:
        typer.echo(line, err=self._as_json)

    def end(self, code: int, word: str, message: str) -> int:
        if self._as_json:
            typer.echo(json.dumps({**self.document, "outcome": word, "message": message}, indent=2))
        else:
            typer.secho(message, fg=None if code else "green")
        return code


def _show_offer(offer: SubnetOffer, keys: MinerKeys) -> None:
    from natix_miner.neuron.subnet_state import SubnetWord
    from natix_miner.registration.subnet import tao

    state = offer.state
    if state.word in (SubnetWord.BURNING, SubnetWord.SILENT):
        typer.secho(f"subnet {offer.netuid} is {state.word}: {state.reason}", fg="red", bold=True)
    balance = "unknown: no coldkeypub.txt here" if offer.balance_rao is None else None
    show_table(
        ("what", "is"),
        [
            ("subnet", f"{offer.netuid} at block {offer.block}"),
            ("state", f"{state.word}: {state.reason}"),
            ("miners with incentive", str(state.paid_miners)),
            ("hotkey", keys.address),
            ("registered", "no" if offer.uid is None else f"uid {offer.uid}"),
            ("cost", tao(offer.cost_rao)),
            ("coldkey", keys.coldkey_address or "unknown: no coldkeypub.txt here"),
            ("balance", balance or tao(offer.balance_rao or 0)),
        ],
        title=f"registering on subnet {offer.netuid}",
    )


def _offer_document(offer: SubnetOffer, keys: MinerKeys) -> dict[str, Any]:
    return {
        "netuid": offer.netuid,
        "block": offer.block,
        "state": asdict(offer.state),
        "hotkey": keys.address,
        "coldkey": keys.coldkey_address,
        "uid": offer.uid,
        "cost_rao": offer.cost_rao,
        "balance_rao": offer.balance_rao,
        "coldkey_on_this_machine": keys.coldkey_present,
    }


def _rao(amount: float) -> int:
    from natix_miner.registration.subnet import RAO_PER_TAO

    if not amount <= 1e9:  # NaN as well.
        raise ConfigurationError(f"--max-cost {amount:g} is more TAO than there is")
    return round(amount * RAO_PER_TAO)
