"""`natix-miner demo`: see the whole line work, on this machine, without a chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from natix_miner.cli.options import DEFAULT_PROFILE, ProfileOption

if TYPE_CHECKING:
    from natix_miner.demo.demo import DemoResult


def demo(
    profile: ProfileOption = DEFAULT_PROFILE,
    out: Annotated[Path, typer.Option(help="Folder to write to; emptied first.")] = Path(
        "out/demo"
    ),
) -> None:
    """Start a real miner, ask it the bundled queries through a signed dendrite, score the answers.

    All of it stays on this machine: no chain is asked, and the wallets are made for it and thrown
    away. Exit code 0: every query was answered in time and no process is left. 1: not so. 2: it
    could not be started.

    Example: natix-miner demo
    """
    from natix_miner.demo.demo import run_demo

    result = run_demo(profile, out)
    _show(Console(), result, out)
    summary = result.summary
    sound = (
        summary["answered"] == summary["queries"]
        and not summary["late"]
        and not summary["children_left"]
        and summary["exit_code"] == 0
    )
    raise typer.Exit(0 if sound else 1)


def _show(console: Console, result: DemoResult, out: Path) -> None:
    table = Table("picture", "label", "probability", "level", "ms", title="Bundled queries")
    for row, seconds in zip(result.rows, result.seconds, strict=True):
        shown = f"{row.prediction:.3f}" if row.answered else f"- ({row.reason})"
        table.add_row(
            row.name,
            "roadwork" if row.label else "none",
            f"{shown} wrong" if row.wrong else shown,
            row.level or "-",
            f"{seconds * 1000.0:.1f}",
            style="red" if row.wrong or not row.answered else None,
        )
    console.print(table)
    figures = Table("figure", "value", title="Scored as a validator would")
    for name, value in result.summary.items():
        if name == "experts":
            continue
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, single in parts:
            shown = f"{single:.4g}" if isinstance(single, float) else str(single)
            figures.add_row(f"{name} {part}".strip(), shown)
    console.print(figures)
    experts = Table("expert", "asked", "answered", "accuracy", title="Experts by themselves")
    for name, told in result.summary["experts"].items():
        accuracy = "-" if told["accuracy"] is None else f"{told['accuracy']:.3f}"
        experts.add_row(name, str(told["asked"]), str(told["answered"]), accuracy)
    console.print(experts)
    console.print(
        "The sample queries are drawn by the scene generator; real pictures are harder: see "
        "models/README.md for figures on those.",
    )
    console.print(f"wrote {out / 'summary.json'} and {result.report}", highlight=False)
