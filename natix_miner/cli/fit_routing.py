"""What `natix-miner fit` learns besides the pool: entry rules (--routing), and what each expert
adds (--redundancy)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from natix_miner.atomic import write_whole
from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.fitting.fit import Fit
    from natix_miner.fitting.leaving_out import LeftOut
    from natix_miner.fitting.redundancy import Redundancy
    from natix_miner.fitting.routing_results import Point, Routing
    from natix_miner.fitting.settings import FitSettings
    from natix_miner.profile import Profile

PAGE, DRAWING, FIGURES, PATCH = "routing.html", "routing.svg", "routing.json", "levels.yaml"
REDUNDANCY = "redundancy.json"
EXPERT_HEADS = ("expert", "level", "adds reward", "takes off log loss", "ms", "of level", "of all")


@dataclass(frozen=True, slots=True)
class Beyond:
    """What was asked for beyond the fit; None or empty where it was not."""

    routing: Routing | None = None
    patch: str = ""
    redundancy: Redundancy | None = None
    left_out: LeftOut | None = None

    def as_dict(self) -> dict[str, Any]:
        """Its part of the document of `natix-miner fit --json`."""
        found: dict[str, Any] = {}
        if self.redundancy is not None and self.left_out is not None:
            found["redundancy"] = {**self.redundancy.as_dict(), **self.left_out.as_dict()}
        if self.routing is not None:
            found["routing"] = {**self.routing.as_dict(), "patch": self.patch}
        return found


def learn_beyond(
    done: Fit,
    settings: FitSettings,
    *,
    routing: bool,
    redundancy: bool,
    profile: Profile | None = None,
    within: float | None = None,
    deadline: float | None = None,
) -> Beyond:
    """Learn what was asked for from a fit; `deadline` in seconds goes before the profile's.

    Raises FittingError when the votes do not tell it.
    """
    from natix_miner.fitting import leaving_out
    from natix_miner.fitting import redundancy as redundant
    from natix_miner.fitting.routing import learn_routing
    from natix_miner.fitting.routing_patch import profile_patch
    from natix_miner.fitting.routing_settings import WITHIN, RoutingSettings

    found, patch = None, ""
    if routing:
        wanted = RoutingSettings.of(
            profile,
            within=WITHIN if within is None else within,
            deadline_seconds=deadline,
            prior=settings.prior,
            seed=settings.seed,
        )
        found = learn_routing(done, wanted)
        patch = profile_patch(found, done.labelled, profile)
    return Beyond(
        routing=found,
        patch=patch,
        redundancy=redundant.redundancy(done.labelled) if redundancy else None,
        left_out=leaving_out.leave_one_out(done.labelled, settings) if redundancy else None,
    )


def show_beyond(found: Beyond) -> None:
    """Print it for people."""
    if found.redundancy is not None and found.left_out is not None:
        _show_redundancy(found.redundancy, found.left_out)
    if found.routing is not None:
        _show_routing(found.routing, found.patch)


def write_beyond(found: Beyond, folder: Path) -> None:
    """Write page, drawing, figures and patch; raises FittingError where the folder takes none."""
    from natix_miner.errors import FittingError

    parts: dict[str, str] = {}
    document = found.as_dict()
    if found.routing is not None:
        from natix_miner.fitting.routing_page import routing_page, routing_plot, standalone_svg

        drawn = routing_plot(found.routing)
        parts[PAGE] = routing_page(found.routing, found.patch, drawn)
        parts[DRAWING] = standalone_svg(drawn)
        parts[FIGURES] = json.dumps(document["routing"], indent=2) + "\n"
        parts[PATCH] = found.patch
    if "redundancy" in document:
        parts[REDUNDANCY] = json.dumps(document["redundancy"], indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in parts.items():
            write_whole(folder / name, text)
    except OSError as error:
        raise FittingError(
            f"the report cannot be written to {folder}: {error}; name another folder"
        ) from error
    for name in parts:
        typer.echo(f"wrote {folder / name}", err=True)


def _show_redundancy(redundancy: Redundancy, left_out: LeftOut) -> None:
    import numpy as np

    rows = []
    for one in left_out.experts:
        times = [
            "-" if value is None else form.format(value)
            for value, form in (
                (one.ms, "{:.1f}"),
                (one.level_share, "{:.1%}"),
                (one.cost_share, "{:.1%}"),
            )
        ]
        rows.append(
            (
                one.expert,
                one.level,
                _with_ends(one.reward, one.reward_interval),
                _with_ends(one.log_loss, one.log_loss_interval),
                *times,
            )
        )
    show_table(EXPERT_HEADS, rows, title="What each expert adds to the others (95 % intervals)")
    heads = ("correlation", *redundancy.experts)
    cells = [
        (name, *("-" if np.isnan(value) else f"{value:+.2f}" for value in row))
        for name, row in zip(redundancy.experts, redundancy.correlations, strict=True)
    ]
    of_what = "errors" if redundancy.within_labels else "votes (no labels: shared truth counts)"
    show_table(heads, cells, title=f"Correlation of the {of_what}")
    for name, why in left_out.switch_off.items():
        typer.echo(f"switch off\t{name}: {why}")
    if not left_out.switch_off:
        typer.echo("switch off\tnobody")
    typer.echo(f"rule\t{left_out.rule}")


def _show_routing(routing: Routing, patch: str) -> None:
    from natix_miner.fitting.routing_page import ways

    later = tuple(routing.chosen.rules)
    heads = ("way", "reward", "lost", "cost ms", "of all", *(f"enters {name}" for name in later))
    show_table(
        heads,
        [_cells(name, point) for name, point in ways(routing)],
        title="Held-out reward against cost",
    )
    chosen = routing.chosen
    for name, value in (
        ("reward", _with_ends(chosen.reward, routing.interval.get("reward"), sign="")),
        ("reward lost", _with_ends(chosen.reward_loss, routing.interval.get("reward_loss"))),
        ("by the pool's probabilities", f"{routing.believed_loss:+.4f}"),
        ("cost share", _with_ends(chosen.cost_share, routing.interval.get("cost_share"), sign="")),
        ("ms until done", f"p50 {routing.time_ms['p50']:.0f}, p99 {routing.time_ms['p99']:.0f}"),
        ("goal", "reached" if routing.reached else "not reached"),
        *(("remark", remark) for remark in routing.remarks),
    ):
        typer.echo(f"{name}\t{value}")
    typer.echo(patch, nl=False)


def _cells(name: str, point: Point) -> tuple[str, ...]:
    return (
        name,
        f"{point.reward:.4f}",
        f"{point.reward_loss:+.4f}",
        f"{point.cost_ms:.1f}",
        f"{point.cost_share:.1%}",
        *(f"{share:.1%}" for share in point.entered.values()),
    )


def _with_ends(value: float, ends: tuple[float, float] | None, sign: str = "+") -> str:
    told = f"{value:{sign}.4f}"
    return told if ends is None else f"{told} [{ends[0]:{sign}.4f}, {ends[1]:{sign}.4f}]"
