"""What `natix-miner fit` shows to people: pools, experts, decision, remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.consensus import Calibration
    from natix_miner.fitting import Fit

POOL_HEADS = ("pool", "reward", "mcc", "auc", "log loss", "ece")
EXPERT_HEADS = ("expert", "level", "weight", "missing adds", "calibration", "missing", "mean")


def show_fit(fit: Fit) -> None:
    """Print the tables and what was decided."""
    show_table(POOL_HEADS, _pools(fit), title="Pools on held-out groups (95 % intervals)")
    show_table(EXPERT_HEADS, _experts(fit), title=f"Experts in the pool {fit.choice.name}")
    effective = "not known" if fit.effective_votes is None else f"{fit.effective_votes:.2f}"
    for name, value in (
        ("queries", str(fit.n)),
        ("labelled", str(len(fit.labelled))),
        ("groups", str(len(set(fit.labelled.groups)))),
        ("effective votes", f"{effective} of {len(fit.labelled.experts)}"),
        ("chosen", fit.choice.name),
        ("why", fit.choice.why),
        ("decision shift", f"{fit.shift.log_odds:+.2f} ({fit.shift.why})"),
        ("seconds", f"{fit.seconds:.1f}"),
        *(("remark", remark) for remark in fit.remarks),
    ):
        typer.echo(f"{name}\t{value}")


def _pools(fit: Fit) -> list[tuple[str, ...]]:
    rows = []
    for name, one in fit.figures.items():
        ends = one.intervals
        cells = [
            f"{getattr(one, figure):.3f} [{ends[figure][0]:.3f}, {ends[figure][1]:.3f}]"
            for figure in ("reward", "mcc", "auc", "log_loss", "ece")
        ]
        rows.append((f"{name} *" if name == fit.choice.name else name, *cells))
    return rows


def _experts(fit: Fit) -> list[tuple[str, ...]]:
    fitted = fit.fitted
    rows: list[tuple[str, ...]] = []
    for level, names in fit.labelled.levels:
        for name in names:
            pool = next((one for one in reversed(fitted.pools) if name in one.weights), None)
            expected = fitted.expected.get(name)
            gone = pool.missing.get(name) if pool else None
            rows.append(
                (
                    name,
                    level,
                    f"{pool.weights[name]:+.3f}" if pool else "-",
                    "-" if gone is None else f"{gone:+.3f}",
                    _calibration(fitted.calibrations.get(name)),
                    f"{expected.missing:.1%}" if expected else "never asked",
                    f"{expected.mean:+.2f} ± {expected.spread:.2f}" if expected else "-",
                )
            )
    return rows


def _calibration(calibration: Calibration | None) -> str:
    if calibration is None:
        return "none"
    if calibration.kind == "platt":
        return f"{calibration.slope:.3g} x {calibration.intercept:+.2f}"
    return f"isotonic, {len(calibration.raw)} knots"
