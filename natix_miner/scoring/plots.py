"""The plots of the report, as inline SVG that takes its colours from the page.

matplotlib draws with marker colours that no plot would use; they are then replaced by CSS
variables, so that one drawing serves the light and the dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from natix_miner.scoring.metrics import reliability
from natix_miner.scoring.reward import rewards
from natix_miner.scoring.row import ScoredQuery

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#0a0b01", "#0a0b02", "#0a0b03"
ACCENT, ROADWORK, NONE, BAD = "#0a0b04", "#0a0b05", "#0a0b06", "#0a0b07"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    ACCENT: "var(--accent)",
    ROADWORK: "var(--roadwork)",
    NONE: "var(--none)",
    BAD: "var(--bad)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "natix-miner",
    "font.size": 10.0,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}
_WIDE, _HALF = (9.2, 2.9), (4.5, 3.1)


def all_plots(rows: Sequence[ScoredQuery], deadline_ms: float | None) -> dict[str, str]:
    """SVG by name: reward, reliability, scores, latency; a plot without data is left out."""
    import matplotlib

    labelled = [row for row in rows if row.label is not None]
    answered = [row for row in labelled if row.answered]
    with matplotlib.rc_context(_STYLE):
        plots = {}
        if labelled:
            plots["reward"] = _svg(reward_plot(labelled))
        if answered:
            plots["reliability"] = _svg(reliability_plot(answered))
            plots["scores"] = _svg(score_plot(answered))
        if any(row.total_ms > 0 for row in rows):
            plots["latency"] = _svg(latency_plot(rows, deadline_ms))
    return plots


def reward_plot(rows: Sequence[ScoredQuery]) -> Figure:
    """Reward of every labelled answer in turn, its running mean, and where the wrong ones are."""
    paid = rewards([row.prediction for row in rows], [row.label or 0 for row in rows])
    places = np.arange(1, len(paid) + 1)
    figure, axes = _figure(_WIDE)
    axes.fill_between(places, paid, color=ACCENT, alpha=0.16, linewidth=0)
    axes.plot(places, paid, color=ACCENT, linewidth=1.2, label="reward of this answer")
    axes.plot(
        places, np.cumsum(paid) / places, color=INK, linewidth=1.6, dashes=(4, 2), label="mean"
    )
    marks = [
        ("wrong", BAD, [row.wrong for row in rows]),
        ("no answer", MUTED, [not row.answered for row in rows]),
    ]
    for name, colour, hits in marks:
        where = places[np.array(hits)]
        if len(where):
            heights = np.full(len(where), -0.04)
            axes.plot(where, heights, "|", color=colour, ms=7, mew=1.4, label=name)
    axes.set(xlim=(0.5, max(2, len(paid)) + 0.5), ylim=(-0.09, 1.03))
    axes.set(xlabel="labelled queries, in the order of the stream", ylabel="reward")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=4, borderaxespad=0.0)
    return figure


def reliability_plot(rows: Sequence[ScoredQuery]) -> Figure:
    """How often it was roadwork where the answer said so with this probability."""
    found = reliability([row.prediction for row in rows], [row.label or 0 for row in rows])
    figure, axes = _figure(_HALF)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, dashes=(3, 3))
    axes.plot(
        [one.mean_probability for one in found],
        [one.share_roadwork for one in found],
        color=ACCENT,
        linewidth=1.4,
        alpha=0.6,
    )
    most = max(one.count for one in found)
    axes.scatter(
        [one.mean_probability for one in found],
        [one.share_roadwork for one in found],
        s=[18 + 110 * one.count / most for one in found],
        color=ACCENT,
        linewidths=0,
        zorder=3,
    )
    for one in found:
        inward = 1 if one.share_roadwork < 0.85 else -1
        axes.annotate(
            str(one.count),
            (one.mean_probability, one.share_roadwork),
            xytext=(0, inward * 11),
            textcoords="offset points",
            ha="center",
            va="center",
            color=MUTED,
            fontsize=8,
        )
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    axes.set(xlabel="mean probability in the bin", ylabel="share that is roadwork")
    return figure


def score_plot(rows: Sequence[ScoredQuery]) -> Figure:
    """Where the probabilities of each label lie."""
    figure, axes = _figure(_HALF)
    bins = np.linspace(0, 1, 21).tolist()
    for label, name, colour in ((0, "none", NONE), (1, "roadwork", ROADWORK)):
        scores = [row.prediction for row in rows if row.label == label]
        axes.hist(scores, bins, color=colour, alpha=0.55, label=f"{name} ({len(scores)})")
        axes.hist(scores, bins, color=colour, histtype="step", linewidth=1.2)
    axes.axvline(0.5, color=MUTED, linewidth=1.0, dashes=(3, 3))
    axes.set(xlim=(0, 1), xlabel="probability of roadwork", ylabel="queries")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2, borderaxespad=0.0)
    return figure


def latency_plot(rows: Sequence[ScoredQuery], deadline_ms: float | None) -> Figure:
    """Time from arrival to verdict on a logarithmic axis, and when it would have been too late."""
    times = np.array([row.total_ms for row in rows if row.total_ms > 0])
    figure, axes = _figure(_WIDE)
    low = times.min() / 1.3
    high = max(times.max(), deadline_ms or 0.0) * 1.3
    axes.hist(times, np.geomspace(low, high, 61).tolist(), color=ACCENT, alpha=0.75)
    axes.set(xscale="log", xlim=(low, high), xlabel="ms from arrival to verdict", ylabel="queries")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    p50, p99 = np.quantile(times, [0.5, 0.99])
    marks = [(p50, "p50", INK), (p99, "p99", INK)]
    if deadline_ms is not None:
        marks.append((deadline_ms, "deadline", BAD))
    for step, (value, name, colour) in enumerate(marks):
        axes.axvline(value, color=colour, linewidth=1.2, dashes=(4, 2))
        axes.annotate(
            f"{name} {value:,.0f}" if value >= 10 else f"{name} {value:.1f}",
            (value, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if name == "deadline" else 4, 2 if step % 2 == 0 else 13),
            textcoords="offset points",
            ha="right" if name == "deadline" else "left",
            color=colour,
            fontsize=9,
        )
    return figure


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.subplots()
    axes.patch.set_alpha(0.0)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The bare <svg> element: no XML header, no metadata, no namespaces (HTML needs none)."""
    out = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r'(<svg )(.*?)width="[^"]*" ?', r"\1\2", text, count=1, flags=re.DOTALL)
    return re.sub(r'(<svg )(.*?)height="[^"]*" ?', r"\1\2", text, count=1, flags=re.DOTALL)
