"""`natix-miner register ...`: on the subnet, and with the NATIX application server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.cli.register_natix import register_natix
from natix_miner.cli.register_subnet import register_subnet

if TYPE_CHECKING:
    from natix_miner.neuron.settings import RunSettings
    from natix_miner.neuron.wallet import MinerKeys

app = typer.Typer(
    name="register",
    help="Register the hotkey: on the subnet (costs TAO), with the NATIX server (optional).",
    no_args_is_help=True,
)

WalletName = Annotated[str | None, typer.Option(help="Name of the wallet.")]
WalletHotkey = Annotated[str | None, typer.Option(help="Name of its hotkey.")]
WalletPath = Annotated[str | None, typer.Option(help="Folder of the wallets.")]
EnvFile = Annotated[
    Path | None,
    typer.Option(help="dotenv file with wallet and network; ./miner.env if there."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("subnet")
def subnet_command(
    wallet_name: WalletName = None,
    wallet_hotkey: WalletHotkey = None,
    wallet_path: WalletPath = None,
    netuid: Annotated[str | None, typer.Option(help="Subnet: 72, on the testnet 323.")] = None,
    network: Annotated[str | None, typer.Option(help="finney, test, local.")] = None,
    chain_endpoint: Annotated[
        str | None, typer.Option(help="Websocket addresses, comma-separated, instead of --network.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(metavar="TAO", help="Do nothing when it costs more.", min=0.0)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Spend without asking; for scripts.")] = False,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Register the hotkey on the subnet: show what it costs and whether the subnet pays anybody,
    ask, pay, and look whether the chain shows it.

    Cost, balance and the state of the subnet come first; a subnet that burns its emission or whose
    validators are silent is said in red. The price shown is the most that is paid (plus 0.5 % while
    the request travels), since it goes to the chain as a limit. TAO spent on registering does not
    come back.

    The coldkey has no business on a miner: without its file nothing is spent, and the btcli line to
    run on the machine that holds it is printed instead. Where it lies on this machine, the SDK asks
    for its password; this program neither keeps nor logs it. Nothing is spent without an answer on
    a terminal, unless --yes is given.

    Exit codes: 0 registered, now or before; 1 tried and failed; 2 wrong use, or the chain cannot be
    reached; 3 nothing was done.

    Example: natix-miner register subnet --wallet-name miner --max-cost 0.05
    """
    flags = {
        "wallet_name": wallet_name,
        "wallet_hotkey": wallet_hotkey,
        "wallet_path": wallet_path,
        "netuid": netuid,
        "network": network,
        "chain_endpoint": chain_endpoint,
    }
    settings, keys = _settings_and_keys(flags, env_file)

    from natix_miner.neuron.logging import set_up_logs
    from natix_miner.neuron.subtensor import SubtensorSource, endpoints_of

    set_up_logs("warning", None)
    endpoints = endpoints_of(settings.network, settings.chain_endpoint)
    chain = SubtensorSource(endpoints, settings.netuid, 30.0)
    code = register_subnet(
        chain, settings, keys, max_cost=max_cost, yes=yes, as_json=as_json, attempts=len(endpoints)
    )
    raise typer.Exit(code)


@app.command("natix")
def natix_command(
    uid: Annotated[int, typer.Option(help="UID of the hotkey on the subnet.")],
    model_repo: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="The published model on the hub.")
    ],
    wallet_name: WalletName = None,
    wallet_hotkey: WalletHotkey = None,
    wallet_path: WalletPath = None,
    base_url: Annotated[
        str, typer.Option(help="Address of the NATIX server.")
    ] = "https://hydra.natix.network",
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for the decision.", min=1.0, max=3600.0)
    ] = 180.0,
    env_file: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Register with the NATIX application server. Optional: upstream's documents asked for it until
    February 2026 and struck it then; the server may no longer be there.

    Signs the present time with the hotkey in this process, posts uid, public key and model
    repository once, and asks every 3 s until the server has decided, for --timeout seconds at
    most. No redirect is followed, no coldkey is touched, nothing is spent. Posting is never
    repeated: where it may have arrived without an answer, the status is asked instead.

    Exit codes: 0 registered; 1 refused, failed or not decided in time; 2 wrong use.

    Example: natix-miner register natix --uid 12 --model-repo owner/roadwork --wallet-name miner
    """
    from natix_miner.registration import check_base_url, check_repository, check_uid

    check_uid(uid)
    check_repository(model_repo)
    address = check_base_url(base_url)
    flags = {
        "wallet_name": wallet_name,
        "wallet_hotkey": wallet_hotkey,
        "wallet_path": wallet_path,
    }
    _, keys = _settings_and_keys(flags, env_file)
    code = register_natix(
        keys.hotkey, uid, model_repo, address, total_seconds=timeout, as_json=as_json
    )
    raise typer.Exit(code)


def _settings_and_keys(
    flags: dict[str, Any], env_file: Path | None
) -> tuple[RunSettings, MinerKeys]:
    from natix_miner.neuron.settings import resolve_settings
    from natix_miner.neuron.wallet import open_wallet

    if env_file is None and Path("miner.env").is_file():
        env_file = Path("miner.env")
    settings = resolve_settings(flags, os.environ, env_file)
    return settings, open_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
