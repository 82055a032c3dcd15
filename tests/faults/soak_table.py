"""What the soak prints: a line as each run ends, and the table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tests.faults.frame import FaultRow
from tests.faults.one_row import Run


def print_run(run: Run, at_seconds: float) -> None:
    """One line: when it ended, which row, how large, how long, and what did not hold."""
    word = "held" if not run.broken else "BROKE: " + "; ".join(run.broken)
    clock = f"{int(at_seconds) // 60:3d}:{int(at_seconds) % 60:02d}"
    print(f"{clock}  {run.row} x{run.factor:g} {run.seconds:.1f} s  {word}", flush=True)


def print_summary(
    rows: Mapping[str, FaultRow], skipped: Mapping[str, str], runs: Sequence[Run], seconds: float
) -> None:
    """The table with the figures of every row's first run, and the sums over all runs."""
    console = Console() if Console().is_terminal else Console(width=150)
    table = Table("row", "what", "runs", "figures", "held", show_lines=True)
    for name, row in rows.items():
        mine = [run for run in runs if run.row == name]
        broken = [fault for run in mine for fault in run.broken]
        figures = mine[0].figures if mine else {}
        said = "  ".join(f"{figure} {value}" for figure, value in figures.items())
        if name in skipped:
            word = f"skipped: no {skipped[name]}"
        elif not mine:
            word = "not run"
        else:
            word = "yes" if not broken else "NO: " + "; ".join(dict.fromkeys(broken))
        table.add_row(name, row.what, str(len(mine)), said, word)
    console.print(table)
    for line in sums(runs, seconds):
        console.print(line, highlight=False)


def sums(runs: Sequence[Run], seconds: float) -> list[str]:
    """What all runs come to: time, late answers, memory, files."""
    broke = sum(bool(run.broken) for run in runs)
    growth = _named(runs, "_growth_percent")
    files = _named(runs, "_files_more")
    return [
        f"{len(runs)} runs in {seconds / 60:.1f} minutes, {broke} broke",
        f"late answers in all: {sum(int(run.figures.get('late', 0)) for run in runs)}",
        f"growth of resident memory after the warm-up: {growth or 'not measured'} (percent)",
        f"more open files at the end than after the warm-up: {files or 'not measured'}",
    ]


def _named(runs: Sequence[Run], ending: str) -> str:
    found = {
        figure.removesuffix(ending): value
        for run in runs
        for figure, value in run.figures.items()
        if figure.endswith(ending)
    }
    return ", ".join(f"{name} {value}" for name, value in found.items())
