"""`natix-miner run`: the miner."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.errors import ConfigurationError

if TYPE_CHECKING:
    from natix_miner.neuron.miner import RunsJudge
    from natix_miner.neuron.settings import RunSettings
    from natix_miner.profile import Profile


def run(
    profile: Annotated[Path | None, typer.Option(help="Profile to judge with.")] = None,
    wallet_name: Annotated[str | None, typer.Option(help="Name of the wallet.")] = None,
    wallet_hotkey: Annotated[str | None, typer.Option(help="Name of its hotkey.")] = None,
    wallet_path: Annotated[str | None, typer.Option(help="Folder of the wallets.")] = None,
    netuid: Annotated[str | None, typer.Option(help="Subnet: 72, on the testnet 323.")] = None,
    network: Annotated[str | None, typer.Option(help="finney, test, local.")] = None,
    chain_endpoint: Annotated[
        str | None, typer.Option(help="Websocket addresses, comma-separated, instead of --network.")
    ] = None,
    chain_snapshot: Annotated[
        Path | None, typer.Option(help="JSON file that stands for the chain; nothing is published.")
    ] = None,
    axon_host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    axon_port: Annotated[str | None, typer.Option(help="Port to listen on; 0 takes any.")] = None,
    external_ip: Annotated[str | None, typer.Option(help="Address to publish on chain.")] = None,
    external_port: Annotated[str | None, typer.Option(help="Port to publish on chain.")] = None,
    allow_private_address: Annotated[
        bool | None, typer.Option(help="Publish a private address all the same.")
    ] = None,
    publish_axon: Annotated[bool | None, typer.Option(help="Publish the axon on chain.")] = None,
    force_validator_permit: Annotated[
        bool | None, typer.Option(help="Answer only hotkeys with a validator permit.")
    ] = None,
    max_body_megabytes: Annotated[
        str | None, typer.Option(help="Largest body of a request; the profile's by default.")
    ] = None,
    metrics_port: Annotated[
        str | None, typer.Option(help="Serve /metrics, /healthz and /readyz at this port.")
    ] = None,
    metrics_host: Annotated[
        str | None, typer.Option(help="Address for them; 127.0.0.1 keeps them on this machine.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Journal file; the profile's by default.")
    ] = None,
    otlp_endpoint: Annotated[
        str | None, typer.Option(help="Send spans of every query to this OTLP/HTTP collector.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning, error.")] = None,
    log_file: Annotated[Path | None, typer.Option(help="JSON log, rotated.")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where the last good chain snapshot is kept.")
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="dotenv file with the same settings; ./miner.env if there.")
    ] = None,
) -> None:
    """Run the miner: answer signed queries of validators until SIGTERM or SIGINT; SIGHUP has it
    read its fitted consensus again.

    Every option can be given in the environment or in the env file as well (docs/running.md). Exit
    code 0 after a signal, 2 when the miner cannot start.
    """
    flags = {name: value for name, value in locals().items() if name != "env_file"}
    if env_file is None and Path("miner.env").is_file():
        env_file = Path("miner.env")
    raise typer.Exit(serve(flags, env_file))


def serve(
    flags: dict[str, Any],
    env_file: Path | None,
    make_judge: Callable[[Profile], RunsJudge] | None = None,
) -> int:
    """Run the miner with these settings to its end; the exit code.

    `make_judge` brings another judge than the profile's, for tests of everything around it.

    Raises NatixMinerError when it cannot start.
    """
    from natix_miner.neuron.logging import hide_in_logs, set_up_logs
    from natix_miner.neuron.ready_signal import ReadySignal
    from natix_miner.neuron.secret_files import fill_in_secrets
    from natix_miner.neuron.settings import read_env_file, resolve_settings
    from natix_miner.neuron.wallet import open_wallet
    from natix_miner.profile import load_profile

    supervisor = ReadySignal.take(os.environ)
    settings = resolve_settings(flags, os.environ, env_file)
    fill_in_secrets(os.environ, read_env_file(env_file) if env_file is not None else None)
    hide_in_logs(_secrets(settings))
    # The journal holds pictures: what this process writes is for its own user.
    os.umask(0o077)
    try:
        set_up_logs(settings.log_level, settings.log_file)
    except OSError as error:
        raise ConfigurationError(
            f"log file {settings.log_file} cannot be written ({error.strerror}); give another"
            " --log-file"
        ) from error
    profile = load_profile(settings.profile)
    keys = open_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)

    from loguru import logger

    if keys.coldkey_present:
        logger.warning(
            "a coldkey file lies in wallet {}; a miner needs only coldkeypub.txt and the hotkey:"
            " keep the coldkey on another machine",
            settings.wallet_name,
        )

    async def main() -> None:
        from natix_miner.clock import SYSTEM_CLOCK
        from natix_miner.neuron.miner import Miner, listen_to_signals

        judge = (make_judge or _judge_of)(profile)
        rng = random.Random(os.urandom(8))

        def say(line: str) -> None:
            print(line, flush=True)
            supervisor.ready(line)

        stopping = supervisor.stopping
        miner = Miner(settings, profile, keys, judge, SYSTEM_CLOCK, rng, say, stopping)
        listen_to_signals(miner, exit_at_once=os._exit)
        beating = asyncio.ensure_future(supervisor.keep_beating())
        try:
            await miner.run()
        finally:
            beating.cancel()
            supervisor.close()
        logger.info("stopped")

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
    return 0


def _secrets(settings: RunSettings) -> set[str]:
    from natix_miner.neuron.hiding import secrets_in, secrets_in_address

    found = secrets_in(os.environ)
    for addresses in (settings.chain_endpoint, settings.otlp_endpoint):
        for address in (addresses or "").split(","):
            found |= secrets_in_address(address.strip())
    return found


def _judge_of(profile: Profile) -> RunsJudge:
    from natix_miner.assembly import build_judge
    from natix_miner.judge import JudgeThread
    from natix_miner.neuron.reload import tell_drift

    return JudgeThread(build_judge(profile, on_drift=tell_drift))


def loop_factory() -> Any:
    """uvloop's loops where it is installed, else asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
