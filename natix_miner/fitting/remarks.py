"""What a person should know of the votes that were fitted on, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from natix_miner.consensus import Calibration, Platt
from natix_miner.fitting.calibrating import TINY_SLOPE
from natix_miner.fitting.votes import Votes


def remarks_on(
    votes: Votes,
    labelled: Votes,
    calibrations: Mapping[str, Calibration],
    unfitted_levels: Sequence[str],
    left_out: Mapping[str, int],
) -> tuple[str, ...]:
    """Remarks on all votes, the labelled ones, what the fit made of the experts, and what was left
    out."""
    found = [f"{count} queries were left out: {reason}" for reason, count in left_out.items()]
    missing = np.isnan(labelled.probability)
    if len(votes) > len(labelled):
        found.append(f"{len(votes) - len(labelled)} queries have no label: nothing is learnt there")
    if nobody := int(missing.all(axis=1).sum()):
        found.append(f"{nobody} labelled queries have not one vote; every pool is silent there")
    for column, name in enumerate(labelled.experts):
        if not labelled.asked[:, column].any():
            found.append(f"{name} was never asked: it gets no weight")
        elif missing[:, column].all():
            found.append(f"{name} never had a vote when asked: it gets no weight")
        elif name not in calibrations:
            found.append(f"{name} hardly ever voted: it is not calibrated")
        elif _silent(calibrations[name]):
            found.append(f"{name} is constant or right no more often than wrong: it says nothing")
    found += [
        f"level {name} was reached by too few labelled queries: its experts get no weight of "
        "their own there (natix-miner score --all-levels asks everybody)"
        for name in unfitted_levels
    ]
    if len(set(labelled.groups)) == len(labelled):
        found.append(
            "every query is a group of its own: pictures of one clip may stand on both sides, and "
            "the figures may be too good"
        )
    return tuple(found)


def _silent(calibration: Calibration) -> bool:
    if isinstance(calibration, Platt):
        return calibration.slope <= TINY_SLOPE
    return calibration.calibrated[0] == calibration.calibrated[-1]
