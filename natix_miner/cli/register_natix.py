"""`natix-miner register natix` behind its options: register, with progress, and tell the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from natix_miner.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from natix_miner.registration.natix import NatixResult, Progress, SignsMessages


#: Exit status: refused, failed, or not decided in time.
FAILED = 1


def register_natix(
    hotkey: SignsMessages,
    uid: int,
    model_repo: str,
    base_url: str,
    *,
    total_seconds: float,
    as_json: bool,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Register with the server at `base_url`, progress on stderr, the end on stdout; exit code."""
    from natix_miner.registration.natix import Outcome, register_with_natix
    from natix_miner.registration.natix_server import NatixServer, open_client

    typer.echo(
        "optional: upstream struck this registration from its documents in February 2026", err=True
    )

    async def register(on_progress: Callable[[Progress], None]) -> NatixResult:
        async with open_client() as client:
            return await register_with_natix(
                NatixServer(client, base_url),
                hotkey,
                uid,
                model_repo,
                clock=clock,
                sleep=sleep,
                on_progress=on_progress,
                total_seconds=total_seconds,
            )

    with _shown_progress() as on_progress:
        result = asyncio.run(register(on_progress))
    succeeded = result.outcome is Outcome.SUCCEEDED
    if as_json:
        asked = {"uid": uid, "hotkey": hotkey.ss58_address, "model_repo": model_repo}
        typer.echo(json.dumps({**asdict(result), **asked, "base_url": base_url}, indent=2))
    else:
        took = f"({result.polls} questions, {result.seconds:.1f} s)"
        colour = "green" if succeeded else "red"
        typer.secho(f"{result.outcome}: {result.message} {took}", fg=colour)
    return 0 if succeeded else FAILED


@contextmanager
def _shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Progress on stderr: one live line on a terminal, a line for every news elsewhere."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("posting") as status:
            yield lambda step: status.update(escape(_line(step)))
        return
    last = ""

    def tell(step: Progress) -> None:
        nonlocal last
        if step.said != last:
            typer.echo(_line(step), err=True)
        last = step.said

    yield tell


def _line(step: Progress) -> str:
    return f"{step.seconds:5.1f} s  {step.said}"
