"""What a fit says of the experts, as the report of a run shows it."""

from __future__ import annotations

import numpy as np

from natix_miner.consensus import FittedConsensus
from natix_miner.fitting.leaving_out import LeftOut
from natix_miner.fitting.redundancy import Redundancy
from natix_miner.scoring.report import ExpertFigures, ExpertPanel


def expert_panel(
    fitted: FittedConsensus, redundancy: Redundancy, left_out: LeftOut | None = None
) -> ExpertPanel:
    """Weight in the deepest pool that names it, mean correlation with the others, and what it adds
    where that was measured, of every expert."""
    added = {one.expert: one for one in left_out.experts} if left_out else {}
    figures = {}
    for place, name in enumerate(redundancy.experts):
        others = np.delete(redundancy.correlations[place], place)
        known = others[~np.isnan(others)]
        pool = next((one for one in reversed(fitted.pools) if name in one.weights), None)
        one = added.get(name)
        figures[name] = ExpertFigures(
            weight=pool.weights[name] if pool else None,
            correlation=float(known.mean()) if known.size else None,
            adds=one.reward if one else None,
            adds_low=one.reward_interval[0] if one else None,
            adds_high=one.reward_interval[1] if one else None,
        )
    remarks = [
        f"{name} could be switched off: {why}"
        for name, why in (left_out.switch_off if left_out else {}).items()
    ]
    effective = redundancy.effective_votes
    return ExpertPanel(
        figures=figures,
        effective_votes=None if np.isnan(effective) else effective,
        remarks=tuple(remarks),
    )
