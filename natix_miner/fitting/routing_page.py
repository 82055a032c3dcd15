"""The curve of a routing as a drawing, and as one page that stands alone."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

from natix_miner.cascade.level import EntryRule
from natix_miner.fitting.routing_results import Point, Routing
from natix_miner.fitting.routing_search import NEVER
from natix_miner.fitting.routing_settings import GOAL_SHARE
from natix_miner.scoring.report.drawing import (
    ACCENT,
    BAD,
    INK,
    MUTED,
    Plot,
    Size,
    axes_of,
    legend_above,
    plot,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def routing_plot(routing: Routing) -> Plot:
    """Reward against cost, with the chosen point and its interval."""
    chosen = routing.chosen
    return plot(
        "routing",
        "Reward against cost",
        "Held-out expected reward of the best thresholds for each budget of expert time. The "
        f"shaded corner is the goal: at most {100 * GOAL_SHARE:.0f} % of the cost of all experts, "
        f"at most {routing.within:g} of reward lost.",
        f"Asking every expert: reward {routing.all.reward:.3f} for {routing.all.cost_ms:.0f} ms. "
        f"First level only: {routing.first_level_only.reward:.3f} for "
        f"{routing.first_level_only.cost_ms:.0f} ms. Chosen: {chosen.reward:.3f} for "
        f"{chosen.cost_ms:.0f} ms.",
        lambda size: _curve(size, routing),
        wide=True,
    )


def standalone_svg(drawn: Plot) -> str:
    """The wide drawing as a file of its own, light or dark as the viewer is."""
    colours = _style().split("* {", maxsplit=1)[0]
    ground = "svg { background: var(--card); }"
    head = f'xmlns="http://www.w3.org/2000/svg"><style>{colours}{ground}</style>'
    return re.sub(r"(<svg [^>]*)>", lambda found: f"{found[1]} {head}", drawn.svg, count=1) + "\n"


def routing_page(routing: Routing, patch: str, drawn: Plot) -> str:
    """The page as text. It refers to nothing outside itself and holds no script."""
    import jinja2
    from markupsafe import Markup

    template = resources.files("natix_miner.fitting").joinpath("routing.html")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["share"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["rule"] = told_rule
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        routing=routing,
        ways=ways(routing),
        goal=GOAL_SHARE,
        patch=patch,
        plot=drawn,
        svg=Markup(drawn.svg),
        narrow=Markup(drawn.narrow or drawn.svg),
        style=Markup(_style()),
    )


def ways(routing: Routing) -> list[tuple[str, Point]]:
    """Every point with what to call it, by cost; the chosen one after the curve."""
    curve = [(f"budget {place}", one) for place, one in enumerate(routing.curve, start=1)]
    return [
        ("first level only", routing.first_level_only),
        *curve,
        ("all experts", routing.all),
        ("chosen", routing.chosen),
    ]


def told_rule(rule: EntryRule) -> str:
    """A rule in words."""
    below, above = rule.unsure_below, rule.disagreement_above
    if below == NEVER and above is None:
        return "nobody has a vote"
    words = [
        *([f"unsure below {below:g}"] if below is not None else []),
        *([f"disagreement from {above:g}"] if above is not None else []),
    ]
    return " or ".join(words) or "always"


def _style() -> str:
    return (
        resources.files("natix_miner.scoring.report")
        .joinpath("style.html")
        .read_text(encoding="utf-8")
    )


def _curve(size: Size, routing: Routing) -> Figure:
    figure, (axes,) = axes_of(size)
    most, chosen = routing.all, routing.chosen
    scale = most.cost_ms or 1.0
    x = [point.cost_ms / scale for point in routing.curve]
    y = [point.reward for point in routing.curve]
    rewards = [*y, most.reward, routing.first_level_only.reward, chosen.reward]
    low = min([*rewards, routing.interval.get("reward", (1.0, 1.0))[0]])
    high = max([*rewards, routing.interval.get("reward", (0.0, 0.0))[1]])
    room = max(0.02, 0.08 * (high - low))
    axes.fill_between(
        [1e-9, GOAL_SHARE], most.reward - routing.within, 1.0, color=ACCENT, alpha=0.12, linewidth=0
    )
    axes.axhline(most.reward, color=MUTED, linewidth=1.0, dashes=(3, 3))
    axes.plot(x, y, "o-", color=ACCENT, linewidth=1.3, markersize=4, label="best for a budget")
    for point, name, mark in (
        (routing.first_level_only, "first level only", "s"),
        (most, "all experts", "D"),
    ):
        axes.plot(point.cost_ms / scale, point.reward, mark, color=INK, markersize=6, label=name)
    ends = routing.interval.get("reward")
    if ends:
        axes.vlines(chosen.cost_ms / scale, *ends, color=BAD, linewidth=1.2, alpha=0.6)
    axes.plot(
        chosen.cost_ms / scale,
        chosen.reward,
        "*",
        color=BAD,
        markersize=13,
        label="chosen",
        zorder=4,
    )
    first = max(min([*x, routing.first_level_only.cost_ms / scale, 1.0]), 1e-4)
    axes.set(
        xscale="log", xlim=(first / 1.3, 1.25), ylim=(max(0.0, low - room), min(1.01, high + room))
    )
    axes.set(xlabel="expert time a query, as a share of all experts", ylabel="expected reward")
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    legend_above(axes, 4 if size[0] > 6.0 else 2)
    return figure
