"""What the probabilities are worth: their reliability, and where those of each label lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from natix_miner.scoring.metrics import ReliabilityBin, expected_calibration_error, reliability
from natix_miner.scoring.report.drawing import (
    ACCENT,
    MUTED,
    NONE,
    ROADWORK,
    Plot,
    Size,
    axes_of,
    count_up,
    legend_above,
    plot,
)
from natix_miner.scoring.report.kinds import share_interval
from natix_miner.scoring.row import ScoredQuery

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def answer_plots(rows: Sequence[ScoredQuery]) -> list[Plot]:
    """The two plots of answered rows with a label; none without rows."""
    if not rows:
        return []
    predictions, labels = [row.prediction for row in rows], [row.label or 0 for row in rows]
    bins = reliability(predictions, labels)
    error = expected_calibration_error(predictions, labels) or 0.0
    middles = [float(np.median(part)) for part in _by_label(rows) if part]
    return [
        plot(
            "reliability",
            "Reliability",
            "On the dashed line a probability means what it says. Numbers: answers in the bin; "
            "strokes: 95 % intervals.",
            f"Share of roadwork against the probability given, in {len(bins)} bins; the "
            f"calibration error is {error:.3f}.",
            lambda size: _reliability(size, bins),
            wide=False,
        ),
        plot(
            "scores",
            "Probabilities by label",
            "Right of the dashed line counts as roadwork.",
            "Probabilities by label; the medians are "
            + " and ".join(f"{middle:.3f}" for middle in middles)
            + (" for none and roadwork." if len(middles) == 2 else "."),
            lambda size: _scores(size, rows),
            wide=False,
        ),
    ]


def _reliability(size: Size, found: Sequence[ReliabilityBin]) -> Figure:
    figure, (axes,) = axes_of(size)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.0, dashes=(3, 3))
    x = [one.mean_probability for one in found]
    y = [one.share_roadwork for one in found]
    for one in found:
        ends = share_interval(round(one.share_roadwork * one.count), one.count)
        if ends is not None:
            place = [one.mean_probability] * 2
            axes.plot(place, [ends.low, ends.high], color=ACCENT, linewidth=1.1, alpha=0.55)
    axes.plot(x, y, color=ACCENT, linewidth=1.4, alpha=0.6)
    most = max(one.count for one in found)
    sizes = [16 + 90 * one.count / most for one in found]
    axes.scatter(x, y, s=sizes, color=ACCENT, linewidths=0, zorder=3)
    for one in found:
        axes.annotate(
            str(one.count),
            (one.mean_probability, one.share_roadwork),
            # Below the line where it rises, and never beyond the edge.
            xytext=(7, -7) if one.mean_probability < 0.9 else (-9, 0),
            textcoords="offset points",
            ha="left" if one.mean_probability < 0.9 else "right",
            va="center",
            color=MUTED,
            fontsize=8,
        )
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    axes.set(xlabel="mean probability in the bin", ylabel="share that is roadwork")
    return figure


def _scores(size: Size, rows: Sequence[ScoredQuery]) -> Figure:
    figure, (axes,) = axes_of(size, above=1)
    bins = np.linspace(0, 1, 21).tolist()
    named = zip(("none", "roadwork"), (NONE, ROADWORK), _by_label(rows), strict=True)
    for name, colour, scores in named:
        axes.hist(scores, bins, color=colour, alpha=0.5, label=f"{name} ({len(scores)})")
        axes.hist(scores, bins, color=colour, histtype="step", linewidth=1.2)
    axes.axvline(0.5, color=MUTED, linewidth=1.0, dashes=(3, 3))
    axes.set(xlim=(0, 1), xlabel="probability of roadwork")
    count_up(axes)
    legend_above(axes, 2)
    return figure


def _by_label(rows: Sequence[ScoredQuery]) -> tuple[list[float], list[float]]:
    none = [row.prediction for row in rows if row.label == 0]
    return none, [row.prediction for row in rows if row.label == 1]
