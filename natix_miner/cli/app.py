"""The commands of `natix-miner`, put together; one file a command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from natix_miner import __version__
from natix_miner.cli import (
    compare,
    cost,
    demo,
    doctor,
    fit,
    journal,
    judge,
    label,
    memory,
    models,
    plan,
    publish,
    register,
    replay,
    run,
    score,
    serve,
    status,
    trace,
)
from natix_miner.errors import NatixMinerError


class _Commands(typer.core.TyperGroup):
    """Turns errors raised on purpose into one clear line and exit code 2."""

    def invoke(self, ctx):  # type: ignore[no-untyped-def]
        try:
            return super().invoke(ctx)
        except NatixMinerError as error:
            Console(stderr=True).print(
                f"natix-miner: {error}", style="red", markup=False, soft_wrap=True
            )
            sys.exit(2)


app = typer.Typer(
    name="natix-miner",
    cls=_Commands,
    help="Roadwork miner for Bittensor subnet 72, and a judge of street pictures without it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)


def _version(shown: bool) -> None:
    if shown:
        print(f"natix-miner {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    import os

    from natix_miner.neuron.secret_files import fill_in_secrets

    fill_in_secrets(os.environ)


app.command(
    epilog="Example: natix-miner run --wallet-name default --wallet-hotkey default --axon-port 8091"
)(run.run)
app.command()(judge.judge)
app.command()(score.score)
app.command()(fit.fit)
app.command()(compare.compare)
app.command()(trace.trace)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(plan.plan)
app.command()(replay.replay)
app.command()(label.label)
app.command()(status.status)
app.command()(cost.cost)
app.command()(publish.publish)
app.add_typer(register.app, name="register")
app.add_typer(journal.app, name="journal")
app.add_typer(serve.app, name="serve")
app.add_typer(models.app, name="models")
app.add_typer(memory.app, name="memory")
