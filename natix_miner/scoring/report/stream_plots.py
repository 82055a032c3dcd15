"""The stream as the validator sees it: the reward of each answer, and the windows behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from natix_miner.scoring.report.drawing import (
    ACCENT,
    BAD,
    HALF,
    INK,
    MUTED,
    WIDE,
    Plot,
    Size,
    axes_of,
    legend_above,
    plot,
)
from natix_miner.scoring.reward import (
    ACCURACY_WINDOW,
    MCC_WINDOW,
    Floats,
    RewardInterval,
    Windows,
    rewards,
    windows_of,
)
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.windows import Band, bands_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Places along a stream that are drawn; of a longer one only some, so that the page stays small.
MOST_PLACES = 3000


def stream_plots(
    rows: Sequence[ScoredQuery], interval: RewardInterval | None, *, seed: int
) -> list[Plot]:
    """The two plots of labelled rows in the order of the stream; none without rows."""
    if not rows:
        return []
    predictions, labels = [row.prediction for row in rows], [row.label or 0 for row in rows]
    paid = rewards(predictions, labels)
    seen = windows_of(np.array(predictions), np.array(labels))
    bands = bands_of(predictions, labels, seed=seed)
    told = f"The mean is {paid.mean():.3f}"
    if interval is not None:
        told += f", in 95 % of resampled streams {interval.low:.3f} to {interval.high:.3f}"
    band = "The shaded band holds 95 % of streams of the same answers in drawn order"
    return [
        plot(
            "reward",
            "Reward over the stream",
            f"{told}. {band}; early rewards swing because the windows are still short.",
            f"Reward of each of {len(rows)} labelled answers in turn. {told}.",
            lambda size: _reward(size, rows, paid, bands["reward"], interval),
            wide=True,
        ),
        plot(
            "windows",
            "The validator's windows",
            f"Correlation over its last {MCC_WINDOW} answers, accuracy over its last "
            f"{ACCURACY_WINDOW}; the reward is the cube of their mean. {band}.",
            f"At the end of the stream the correlation of the last {MCC_WINDOW} answers is "
            f"{seen.mcc[-1]:.3f}, the accuracy of the last {ACCURACY_WINDOW} "
            f"{seen.accuracy[-1]:.2f}.",
            lambda size: _windows(size, seen, bands),
            wide=True,
        ),
    ]


def places_of(n: int, most: int = MOST_PLACES) -> np.ndarray:
    """Indices of the places that are drawn: all, or evenly spread ones with both ends."""
    return np.arange(n) if n <= most else np.unique(np.linspace(0, n - 1, most).round().astype(int))


def _reward(
    size: Size,
    rows: Sequence[ScoredQuery],
    paid: Floats,
    band: Band,
    interval: RewardInterval | None,
) -> Figure:
    figure, (axes,) = axes_of(size, above=1 if size == WIDE else 3)
    n, at = len(paid), places_of(len(paid))
    axes.fill_between(at + 1, band.low[at], band.high[at], color=ACCENT, alpha=0.13, linewidth=0)
    axes.plot(at + 1, paid[at], color=ACCENT, linewidth=1.2, label="reward of this answer")
    mean = np.cumsum(paid) / np.arange(1, n + 1)
    axes.plot(at + 1, mean[at], color=INK, linewidth=1.5, dashes=(4, 2), label="mean so far")
    _marks(axes, np.array([row.wrong for row in rows]), BAD, "wrong")
    _marks(axes, np.array([not row.answered for row in rows]), MUTED, "no answer")
    end = max(2, n) + 0.5
    if interval is not None:
        place, ends = (
            end + 0.018 * end,
            [[paid.mean() - interval.low], [interval.high - paid.mean()]],
        )
        axes.errorbar(
            [place],
            [paid.mean()],
            yerr=np.maximum(0.0, ends),
            fmt="o",
            color=INK,
            markersize=4,
            capsize=3,
            elinewidth=1.4,
            label="mean, 95 %",
        )
        end += 0.036 * end
    axes.set(xlim=(0.5, end), ylim=(-0.1, 1.03), ylabel="reward")
    axes.set_xlabel("labelled queries, in the order of the stream")
    legend_above(axes, 5 if size == WIDE else 2)
    return figure


def _marks(axes: Axes, hits: np.ndarray, colour: str, name: str) -> None:
    """Short strokes under the curve, as one path, so that thousands take little room."""
    where = np.flatnonzero(hits)
    where = where[places_of(len(where))] + 1.0 if len(where) else where
    if len(where):
        x = np.column_stack([where, where, np.full(len(where), np.nan)]).ravel()
        y = np.tile([-0.08, -0.03, np.nan], len(where))
        axes.plot(x, y, color=colour, linewidth=1.2, label=name)


def _windows(size: Size, seen: Windows, bands: dict[str, Band]) -> Figure:
    taller = (size[0], size[1] * (1.25 if size != HALF else 1.15))
    figure, panels = axes_of(taller, 2, above=1)
    n, at = len(seen.mcc), places_of(len(seen.mcc))
    shown = (
        (f"MCC, last {MCC_WINDOW}", seen.mcc, bands["mcc"], MCC_WINDOW),
        (f"accuracy, last {ACCURACY_WINDOW}", seen.accuracy, bands["accuracy"], ACCURACY_WINDOW),
    )
    for axes, (name, values, band, full) in zip(panels, shown, strict=True):
        axes.fill_between(
            at + 1, band.low[at], band.high[at], color=ACCENT, alpha=0.13, linewidth=0
        )
        axes.plot(at + 1, values[at], color=ACCENT, linewidth=1.3)
        if n > full:
            axes.axvline(full, color=MUTED, linewidth=1.0, dashes=(3, 3))
        axes.set_title(name, loc="left", color=INK, fontsize=10, pad=5)
        axes.set(xlim=(0.5, max(2, n) + 0.5), ylim=(-0.03, 1.05))
    panels[-1].set_xlabel("labelled queries, in the order of the stream")
    return figure
