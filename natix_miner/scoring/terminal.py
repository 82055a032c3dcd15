"""What a run of scoring looks like to whoever watches: a progress bar, then the figures."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.runner import ScoreSettings
from natix_miner.scoring.sources import QuerySource
from natix_miner.scoring.summary import Summary


class RunProgress:
    """A progress bar on a terminal, silence elsewhere; called with every row."""

    def __init__(self, source: QuerySource, settings: ScoreSettings) -> None:
        self._stack = ExitStack()
        self._bar: Any = None
        self._wrong = self._silent = 0
        count = source.count()
        if count is not None:
            count = min(count, settings.limit or count) * settings.repeats
        self._total = count

    def __enter__(self) -> RunProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            columns = (
                TextColumn("scoring"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[told]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._stack.enter_context(self._bar)
            self._task = self._bar.add_task("scoring", total=self._total, told="")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, row: ScoredQuery) -> None:
        if self._bar is None:
            return
        self._wrong += row.wrong
        self._silent += not row.answered
        told = f"{self._wrong} wrong, {self._silent} without an answer"
        self._bar.update(self._task, advance=1, told=told)


def tell(summary: Summary) -> None:
    """A rich table on a terminal, tab-separated lines elsewhere."""
    lines = list(_lines(summary))
    if not sys.stdout.isatty():
        for name, value in lines:
            print(f"{name}\t{value}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"profile {summary.settings['profile']}", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in lines:
        table.add_row(name, value)
    Console().print(table)


def _lines(summary: Summary) -> list[tuple[str, str]]:
    """Names and figures, ready to be read."""

    def shown(value: float | None, interval: tuple[float, float] | None = None) -> str:
        text = "-" if value is None else f"{value:.4f}"
        return f"{text}  ({interval[0]:.3f} to {interval[1]:.3f})" if interval else text

    quality, reward, confusion = summary.quality, summary.reward, summary.confusion
    spans = {name: (one.low, one.high) for name, one in summary.intervals.items()}
    lines = [
        ("queries", f"{summary.n} ({summary.labelled} labelled)"),
        ("answered", str(summary.answered)),
        *((f"no answer: {reason}", str(count)) for reason, count in summary.missing.items()),
        ("late", str(summary.late)),
        (
            "mean reward",
            shown(reward.mean, (reward.low, reward.high)) if reward else "-",
        ),
        ("MCC", shown(quality.mcc, spans.get("mcc"))),
        ("accuracy", shown(quality.accuracy, spans.get("accuracy"))),
        ("AUC", shown(quality.auc, spans.get("auc"))),
        ("Brier", shown(quality.brier)),
        ("calibration error (ECE)", shown(quality.ece)),
        (
            "roadwork found / overlooked",
            f"{confusion.tp} / {confusion.fn}",
        ),
        ("none seen as none / false alarm", f"{confusion.tn} / {confusion.fp}"),
        *((f"level {name}", f"{100 * share:.1f} %") for name, share in summary.levels.items()),
        *((f"{name}, ms a query", f"{ms:.2f}") for name, ms in summary.expert_ms_per_query.items()),
    ]
    latency = summary.latency_ms
    if latency["p50"] is not None and latency["p99"] is not None:
        lines.append(("time p50 / p99, ms", f"{latency['p50']:.1f} / {latency['p99']:.1f}"))
    if summary.rate_per_second is not None:
        lines.append(("pictures a second", f"{summary.rate_per_second:.1f}"))
    return lines
