"""What answers cost: reward against expert time by level, and the time to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from natix_miner.scoring.report.drawing import (
    ACCENT,
    BAD,
    CARD,
    INK,
    MUTED,
    WIDE,
    Plot,
    Size,
    axes_of,
    count_up,
    legend_above,
    plot,
)
from natix_miner.scoring.report.stopping import Stop
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.summary import NO_LEVEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cost_plot(stops: Sequence[Stop]) -> list[Plot]:
    """Reward against cost, a point a level; none without stops."""
    paid = [(stop, stop.reward) for stop in stops if stop.reward is not None]
    if not paid:
        return []
    told = "; ".join(
        f"{one.name}: {reward.mean:.3f} for {one.expert_ms:.1f} ms" for one, reward in paid
    )
    return [
        plot(
            "cost",
            "Reward against cost",
            "Had every query stopped after this level: mean reward with its 95 % interval, and the "
            "time that experts spent on a query.",
            f"Mean reward by the level stopped after. {told}.",
            lambda size: _cost(size, stops),
            wide=False,
        )
    ]


def latency_plot(
    rows: Sequence[ScoredQuery], levels: Sequence[str], deadline_ms: float | None
) -> list[Plot]:
    """Time to answer by last level (`levels` in order); none where nothing was timed."""
    timed = [row for row in rows if row.total_ms > 0.0]
    if not timed:
        return []
    p50, p99 = (float(one) for one in np.quantile([row.total_ms for row in timed], [0.5, 0.99]))
    told = f"Half of all answers took at most {p50:,.1f} ms, 99 % at most {p99:,.1f} ms"
    if deadline_ms is not None:
        told += f"; the deadline is {deadline_ms:,.0f} ms"
    return [
        plot(
            "latency",
            "Time to answer",
            "From arrival to verdict on a logarithmic axis, by the last level entered.",
            f"{told}.",
            lambda size: _latency(size, timed, levels, (p50, p99), deadline_ms),
            wide=True,
        )
    ]


def _cost(size: Size, stops: Sequence[Stop]) -> Figure:
    figure, (axes,) = axes_of(size)
    points = [(stop, stop.reward) for stop in stops if stop.reward is not None]
    x = [stop.expert_ms for stop, _ in points]
    y = [reward.mean for _, reward in points]
    ends = np.array([[reward.low, reward.high] for _, reward in points])
    errors = np.abs(np.clip([y - ends[:, 0], ends[:, 1] - y], 0.0, None))
    axes.errorbar(
        x, y, yerr=errors, fmt="none", ecolor=ACCENT, elinewidth=1.1, capsize=3, alpha=0.55
    )
    axes.plot(x, y, "o-", color=ACCENT, linewidth=1.4, markersize=6)
    most = max(x) or 1.0
    for place, (stop, reward) in enumerate(points):
        right = stop.expert_ms < 0.6 * most or len(points) == 1
        beside = place + 1 if right else place - 1
        # On the side of the point where the line is not.
        below = 0 <= beside < len(points) and y[beside] > y[place]
        axes.annotate(
            f"{stop.name}\n{reward.mean:.3f}",
            (stop.expert_ms, reward.mean),
            xytext=(8 if right else -8, -5 if below else 5),
            textcoords="offset points",
            ha="left" if right else "right",
            va="top" if below else "bottom",
            fontsize=9,
        )
    axes.set(xlim=(0.0, 1.12 * most), ylim=(-0.03, 1.03))
    axes.set(xlabel="expert time a query, ms", ylabel="mean reward")
    return figure


def _latency(
    size: Size,
    rows: Sequence[ScoredQuery],
    levels: Sequence[str],
    middle: tuple[float, float],
    deadline_ms: float | None,
) -> Figure:
    times = np.array([row.total_ms for row in rows])
    columns = 5 if size == WIDE else 2
    order = [*levels, *sorted({row.level or NO_LEVEL for row in rows} - set(levels))]
    figure, (axes,) = axes_of(size, above=-(-len(order) // columns))
    low, high = times.min() / 1.3, max(times.max(), deadline_ms or 0.0) * 1.3
    bins = np.geomspace(low, high, 61 if size == WIDE else 37).tolist()
    under = np.zeros(len(bins) - 1)
    for step, name in enumerate(order):
        part = [row.total_ms for row in rows if (row.level or NO_LEVEL) == name]
        if not part:
            continue
        heights = np.histogram(part, bins)[0]
        lit = 0.95 - 0.6 * step / max(2, len(order) - 1)
        colour, alpha = (MUTED, 0.7) if name == NO_LEVEL else (ACCENT, lit)
        axes.bar(
            bins[:-1],
            heights,
            np.diff(bins),
            under,
            align="edge",
            color=colour,
            alpha=alpha,
            linewidth=0,
            label=f"{name} ({len(part)})",
        )
        under += heights
    axes.set(xscale="log", xlim=(low, high), ylim=(0.0, 1.28 * under.max()))
    axes.set_xlabel("ms from arrival to verdict")
    count_up(axes)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    marks = [(middle[0], "p50", INK), (middle[1], "p99", INK)]
    if deadline_ms is not None:
        marks.append((deadline_ms, "deadline", BAD))
    for step, (value, name, colour) in enumerate(marks):
        axes.axvline(value, color=colour, linewidth=1.2, dashes=(4, 2))
        left = name == "deadline" or value > np.sqrt(low * high)
        axes.annotate(
            f"{name} {value:,.0f}" if value >= 10 else f"{name} {value:.1f}",
            (value, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if left else 4, -4 - 12 * (step % 2)),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            color=colour,
            fontsize=9,
            bbox={"facecolor": CARD, "edgecolor": "none", "pad": 1.0},
        )
    legend_above(axes, columns)
    return figure
