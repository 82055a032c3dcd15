"""Measures speed and memory on this machine: medians of several runs, ratios within one run.

    .venv/bin/python scripts/bench.py [SECTION...] [--json FILE]

Sections: judge, scoring, wire, miner, baseline, experts (needs the extra detectors), vlm (needs
scripts/install_vllm.sh); without any, all are measured. Each goal is printed beside its figure; one
that falls short is printed as it is. Run it on a quiet machine: a busy one is slower, and the table
does not know.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

WIRE_RUNS = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value: median of `runs`, in `unit`; `goal` bounds it from above or below."""

    name: str
    runs: tuple[float, ...]
    unit: str
    goal: float | None = None
    more_is_better: bool = False

    @property
    def value(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


def sections() -> dict[str, Callable[[], list[Figure]]]:
    """What can be measured, by name; modules are loaded when they are run."""

    def judge() -> list[Figure]:
        from bench_judge import measure_judge

        return measure_judge()

    def scoring() -> list[Figure]:
        from bench_judge import measure_scoring

        return measure_scoring()

    def wire() -> list[Figure]:
        from bench_wire import measure_wire

        made = [measure_wire() for _ in range(WIRE_RUNS)]
        on = f"{made[0]['wire']['http']}, {made[0]['wire']['loop']}"
        return [
            Figure(
                f"wire, 20 kB picture nobody judges, server CPU ({on})",
                tuple(run["wire"]["cpu_ms_per_request"] for run in made),
                "ms/request",
                1.6,
            ),
            Figure(
                "the same with query, trace, metrics and log line",
                tuple(run["answering"]["cpu_ms_per_request"] for run in made),
                "ms/request",
            ),
        ]

    def miner() -> list[Figure]:
        from bench_miner import measure_miner

        return measure_miner()

    def baseline() -> list[Figure]:
        from bench_baseline import measure_baseline

        return measure_baseline()

    def vlm() -> list[Figure]:
        from bench_vlm import measure_vlm

        return measure_vlm()

    def experts() -> list[Figure]:
        from bench_experts import measure_experts

        return measure_experts()

    return {f.__name__: f for f in (judge, scoring, wire, miner, baseline, experts, vlm)}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("figure", "median", "lowest", "highest", "unit", "goal", "met")
    for figure in figures:
        sign = "at least" if figure.more_is_better else "at most"
        table.add_row(
            figure.name,
            f"{figure.value:.4g}",
            f"{min(figure.runs):.4g}",
            f"{max(figure.runs):.4g}",
            figure.unit,
            "" if figure.goal is None else f"{sign} {figure.goal:g}",
            {True: "yes", False: "NO", None: ""}[figure.met],
        )
    Console(width=None if sys.stdout.isatty() else 130).print(table)


def main() -> int:
    """Measure what is asked for, print the table, write the JSON."""
    known = sections()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="section", help=", ".join(known))
    parser.add_argument("--json", type=Path, help="write machine and figures to this file")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(known))
    if unknown:
        parser.error(f"unknown sections {unknown}; there are {', '.join(known)}")
    on = machine()
    print(", ".join(f"{name} {value}" for name, value in on.items()))
    figures: list[Figure] = []
    for name in options.only or known:
        print(f"measuring {name} ...", flush=True)
        figures += known[name]()
    show(figures)
    if options.json:
        document = {
            "machine": on,
            "figures": [
                {**asdict(figure), "median": figure.value, "met": figure.met} for figure in figures
            ],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
