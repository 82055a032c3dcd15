"""What a fit says of the experts of a scored run, for its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from natix_miner.errors import FittingError

if TYPE_CHECKING:
    from natix_miner.fitting.leaving_out import LeftOut
    from natix_miner.fitting.redundancy import Redundancy
    from natix_miner.scoring import ScoredQuery
    from natix_miner.scoring.report import ExpertPanel
    from natix_miner.stored import StoredQuery


def expert_panel(rows: Iterable[ScoredQuery], *, seed: int) -> ExpertPanel:
    """Correlations of the experts' errors and what each adds, from the traces of labelled rows.

    Pictures are not looked at: kept together are those of one group or name, or with the same
    bytes. What cannot be told is left out, and why is among the remarks. Raises QuerySourceError
    for a broken trace.
    """
    from natix_miner.fitting.leaving_out import leave_one_out
    from natix_miner.fitting.reading import votes_of
    from natix_miner.fitting.redundancy import redundancy
    from natix_miner.fitting.settings import FitSettings
    from natix_miner.scoring.report import ExpertPanel

    labelled = [row for row in rows if row.label is not None]
    if not labelled:
        return ExpertPanel()
    try:
        votes = votes_of(_stored(labelled), group_by="given", labelled_only=True)
    except FittingError as error:
        return ExpertPanel(remarks=(f"What the experts add cannot be told: {error}.",))
    if len(votes.experts) < 2:
        return ExpertPanel()
    remarks = []
    added = None
    try:
        added = leave_one_out(votes, FitSettings(seed=seed))
    except FittingError as error:
        remarks.append(f"What each expert adds cannot be told: {error}.")
    if added is not None and not any(row.group for row in labelled):
        remarks.append(
            "Nobody said which pictures belong together (drive, clip), so look-alikes may stand "
            "on both sides of a fold: natix-miner fit looks at the pictures."
        )
    return _panel(redundancy(votes), added, remarks)


def _panel(told: Redundancy, added: LeftOut | None, remarks: list[str]) -> ExpertPanel:
    from natix_miner.scoring.report import ExpertFigures, ExpertPanel

    by_name = {one.expert: one for one in added.experts} if added else {}
    figures = {}
    for place, name in enumerate(told.experts):
        others = np.delete(told.correlations[place], place)
        known = others[np.isfinite(others)]
        one = by_name.get(name)
        figures[name] = ExpertFigures(
            correlation=float(known.mean()) if known.size else None,
            adds=one.reward if one else None,
            adds_low=one.reward_interval[0] if one else None,
            adds_high=one.reward_interval[1] if one else None,
        )
    off = added.switch_off if added else {}
    remarks += [f"{name} could be switched off: {why}." for name, why in off.items()]
    effective = told.effective_votes
    return ExpertPanel(
        figures=figures,
        effective_votes=float(effective) if np.isfinite(effective) else None,
        remarks=tuple(remarks),
    )


def _stored(rows: Iterable[ScoredQuery]) -> Iterator[StoredQuery]:
    from natix_miner.scoring.report.facts import read_trace
    from natix_miner.stored import StoredQuery
    from natix_miner.stored.results import AS_IS

    for row in rows:
        trace = read_trace(row)
        if trace is None:
            continue
        yield StoredQuery(
            id=trace.query.id,
            sha256=trace.query.sha256,
            received_at=trace.query.received_at,
            prediction=row.prediction,
            label=row.label,
            trace=trace,
            group=row.group or row.name,
            generation="" if row.generation == AS_IS else row.generation,
            name=row.name,
            total_ms=row.total_ms,
        )
