"""`natix-miner doctor`: is this machine fit to mine, before anything is spent on it?"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.cli.run_options import env_file_of, takes_run_options
from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.doctor import Check, Row
    from natix_miner.neuron.settings import RunSettings

UNFIT = 1
_STATUSES = ("ok", "warn", "fail", "skipped")


@takes_run_options
def doctor(
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nothing over the network.")
    ] = False,
    start_servers: Annotated[
        bool,
        typer.Option(
            "--start-servers",
            help="Start the profile's servers, ask each a picture, stop them. Takes minutes.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    **flags: Any,
) -> None:
    """Look at everything a miner needs before anything is spent on it: one row for each check, ok,
    warn, fail or skipped, with what to do.

    Takes every option of `natix-miner run`, the environment and the env file as well, and looks at
    the miner that `run` would start with the same. Docs: docs/doctor.md.

    It spends nothing, publishes nothing, opens no coldkey and leaves nothing behind; a running
    miner is not disturbed (its port is told as taken, by whom). A halted subnet is told apart from
    a broken miner: see the row subnet.

    Exit code 0: no row fails. 1: some row does. 2: wrong usage, or settings that cannot be read.

    Example: natix-miner doctor --offline --profile configs/embedded.yaml --json
    """
    from natix_miner.demo.demo import QUERIES
    from natix_miner.doctor import Diagnosis, Options, examine, failed
    from natix_miner.neuron.hiding import Hiding, secrets_in
    from natix_miner.neuron.secret_files import fill_in_secrets
    from natix_miner.neuron.settings import read_env_file, resolve_settings

    env_file = env_file_of(flags)
    settings = resolve_settings(flags, os.environ, env_file)
    fill_in_secrets(os.environ, read_env_file(env_file) if env_file is not None else None)
    hiding = Hiding(secrets_in(os.environ) | _secrets_of(settings))
    options = Options(pictures=QUERIES, offline=offline, start_servers=start_servers)
    _quiet()
    checks = Diagnosis(settings, options).checks()
    with _progress(checks, shown=sys.stderr.isatty()) as (begin, end):
        rows = examine(checks, begin, end, hiding.clean)
    if as_json:
        typer.echo(json.dumps({"rows": [row.document() for row in rows]}, indent=2))
    else:
        _tell(rows)
    raise typer.Exit(UNFIT if failed(rows) else 0)


def _secrets_of(settings: RunSettings) -> set[str]:
    """What in the addresses of the settings may be a key."""
    from natix_miner.neuron.hiding import secrets_in_address

    addresses = f"{settings.chain_endpoint or ''},{settings.otlp_endpoint or ''}".split(",")
    return {secret for address in addresses for secret in secrets_in_address(address.strip())}


def _quiet() -> None:
    """The rows tell what is wrong; the log of the parts that are tried would tell it twice."""
    from loguru import logger

    logger.remove()


def _tell(rows: list[Row]) -> None:
    show_table(
        ("check", "status", "detail", "advice"),
        [(row.check, str(row.status), row.detail, row.advice) for row in rows],
        title="Doctor",
        whole=(0, 1),
    )
    if sys.stdout.isatty():
        counts = {status: sum(str(row.status) == status for row in rows) for status in _STATUSES}
        typer.echo(", ".join(f"{count} {status}" for status, count in counts.items() if count))


@contextmanager
def _progress(checks: tuple[Check, ...], shown: bool) -> Iterator[tuple[Any, Any]]:
    """What is told of a check's begin and end; nothing where nobody looks."""
    if not shown:
        yield None, None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    from rich.console import Console

    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("looking", total=len(checks))
        yield (
            lambda name: bar.update(task, description=name),
            lambda row: bar.advance(task),
        )
