"""Plots as inline SVG that takes its colours from the page.

matplotlib draws with marker colours that no plot would use; they are then replaced by CSS
variables, so that one drawing serves the light and the dark page. A wide plot is drawn a second
time for a narrow screen, where the first would be too small to read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#0a0b01", "#0a0b02", "#0a0b03"
ACCENT, ROADWORK, NONE, BAD = "#0a0b04", "#0a0b05", "#0a0b06", "#0a0b07"
CARD = "#0a0b08"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    ACCENT: "var(--accent)",
    ROADWORK: "var(--roadwork)",
    NONE: "var(--none)",
    BAD: "var(--bad)",
    CARD: "var(--card)",
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
    "legend.fontsize": 9.5,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
}
#: Inches; at 72 points to the inch a half plot is about as wide as a phone's screen.
WIDE, HALF = (9.2, 2.9), (4.5, 3.1)
Size = tuple[float, float]
#: Margins of the axes in inches, and the height of a line of text above them.
_LEFT, _BOTTOM, _EDGE, _LINE = 0.64, 0.48, 0.1, 0.2


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: what it shows in words (`told`, for who cannot see it), and its drawings; `narrow`
    is None where `svg` is narrow already."""

    id: str
    title: str
    note: str
    told: str
    svg: str
    narrow: str | None


def plot(
    name: str, title: str, note: str, told: str, draw: Callable[[Size], Figure], *, wide: bool
) -> Plot:
    """Draw one plot; `draw` makes it at a size in inches."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        main = _svg(draw(WIDE if wide else HALF), name)
        narrow = _svg(draw(HALF), f"{name}-narrow") if wide else None
    return Plot(name, title, note, told, main, narrow)


def axes_of(size: Size, rows: int = 1, *, above: int = 0) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes one above the other, which share their horizontal axis, and room
    for so many lines of text above them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    # Fixed margins: to have them computed takes as long as the drawing itself.
    width, height = size
    figure.subplots_adjust(
        left=_LEFT / width,
        right=1.0 - 2.0 * _EDGE / width,
        bottom=_BOTTOM / height,
        top=1.0 - (_EDGE + _LINE * above) / height,
        hspace=0.38,
    )
    figure.patch.set_alpha(0.0)
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for one in axes:
        one.patch.set_alpha(0.0)
    return figure, axes


def count_up(axes: Axes) -> None:
    """Label the vertical axis of counts, thousands as k so that they fit the margin."""
    axes.set_ylabel("queries")
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
    )


def legend_above(axes: Axes, columns: int) -> None:
    """The legend in one or more lines above the plot, where it hides nothing."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, borderaxespad=0.1)


def _svg(figure: Figure, name: str) -> str:
    """The bare <svg> element: no XML header, no metadata, no namespaces (HTML needs none), and
    identifiers that no other plot of the page has."""
    out = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: var(--font)", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r'(<svg )(.*?)width="[^"]*" ?', r"\1\2", text, count=1, flags=re.DOTALL)
    text = re.sub(r'(<svg )(.*?)height="[^"]*" ?', r"\1\2", text, count=1, flags=re.DOTALL)
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
