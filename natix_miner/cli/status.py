"""`natix-miner status`: what goes on now."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from natix_miner.neuron import RunSettings
    from natix_miner.watching import StatusReport

#: Exit status when no miner that is ready answers.
NOT_UP = 1


def status(
    metrics_port: Annotated[
        str | None, typer.Option(help="Port of the miner's metrics, as `run` was given it.")
    ] = None,
    metrics_url: Annotated[
        str | None, typer.Option(help="Whole address of the metrics, instead of --metrics-port.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Journal file; the profile's by default.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where the miner keeps its snapshot of the chain.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Profile of the miner; it names the journal.")
    ] = None,
    netuid: Annotated[str | None, typer.Option(help="Subnet: 72, on the testnet 323.")] = None,
    chain_snapshot: Annotated[
        Path | None, typer.Option(help="JSON file that stands for the chain.")
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="dotenv file of the miner; ./miner.env if there.")
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.5, help="Look again so often until interrupted."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, one a line with --watch.")
    ] = False,
) -> None:
    """Tell what goes on now, and whether nobody asks because of the subnet or of this miner.

    Shown are who asks, what is answered and how fast, how experts, servers, journal and chain
    stand. Rewards are estimates over the queries whose label is known.

    It reads the miner's /metrics, the journal (while it is being written) and the snapshot of the
    chain that the miner keeps; it never asks the chain, opens no wallet and changes nothing. What
    cannot be read is told and left out. Options are found in the environment and the env file as
    `natix-miner run` finds them.

    Exit code 0: the miner answers and is ready. 1: it does not, or not yet; journal and chain are
    shown all the same. 2: an option is wrong.

    Example: natix-miner status --metrics-port 9100 --watch 5
    """
    from natix_miner.neuron import resolve_settings

    flags = {
        "metrics_port": metrics_port,
        "journal": journal,
        "state_dir": state_dir,
        "profile": profile,
        "netuid": netuid,
        "chain_snapshot": chain_snapshot,
    }
    if env_file is None and Path("miner.env").is_file():
        env_file = Path("miner.env")
    settings = resolve_settings(flags, os.environ, env_file)
    url = metrics_url
    if url is None and settings.metrics_port is not None:
        url = f"http://127.0.0.1:{settings.metrics_port}/metrics"
    path, no_journal = _journal_of(settings)

    def look_again() -> StatusReport:
        from natix_miner.clock import SYSTEM_CLOCK
        from natix_miner.watching import build, look

        return build(look(settings, url, path, SYSTEM_CLOCK, no_journal=no_journal))

    show = _show_json if as_json else _show
    if watch is None:
        report = look_again()
        show(report, watch is not None)
    else:
        report = keep_watching(look_again, show, watch, time.sleep)
    raise typer.Exit(0 if report.miner.running and report.miner.ready is not False else NOT_UP)


def keep_watching(
    look_again: Callable[[], StatusReport],
    show: Callable[[StatusReport, bool], None],
    seconds: float,
    sleep: Callable[[float], Any],
) -> StatusReport:
    """Look and show every `seconds` until Ctrl-C; the last report."""
    report = look_again()
    try:
        while True:
            show(report, True)
            sleep(seconds)
            report = look_again()
    except KeyboardInterrupt:
        return report


def _journal_of(settings: RunSettings) -> tuple[Path | None, str | None]:
    """The journal that a miner with these settings writes; where there is none, why."""
    if settings.journal is not None:
        return settings.journal, None
    from natix_miner.errors import ProfileError
    from natix_miner.profile import load_profile

    try:
        section = load_profile(settings.profile).journal
    except ProfileError as error:
        return None, f"{error}; give --journal or --profile"
    if not section.enabled:
        return None, f"the profile {settings.profile} keeps no journal"
    return section.path, None


def _show_json(report: StatusReport, watching: bool) -> None:
    import json

    from natix_miner.watching.showing import document

    typer.echo(json.dumps(document(report), indent=None if watching else 2))


def _show(report: StatusReport, watching: bool) -> None:
    """Tables and sentences; while watching on a terminal each report takes the last one's place."""
    import sys

    from natix_miner.cli.tables import show_table
    from natix_miner.watching.showing import parts

    if watching and sys.stdout.isatty():
        from rich.console import Console

        Console().clear()
    for sentence in report.sentences:
        typer.echo(sentence)
    for part in parts(report):
        typer.echo("")
        show_table(part.heads, part.rows, title=part.title)
    if watching and not sys.stdout.isatty():
        typer.echo("")
