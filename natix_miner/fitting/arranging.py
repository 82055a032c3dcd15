"""Votes put into the levels of a profile, so that what is fitted fits the profile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from natix_miner.errors import FittingError
from natix_miner.fitting.votes import Votes


def arranged(
    votes: Votes,
    levels: tuple[tuple[str, tuple[str, ...]], ...],
    told: tuple[str, ...] = (),
) -> Votes:
    """The votes of the experts of `levels`, in that order; who is new there was never asked.

    Experts that `levels` do not have are left out, which is added to `remarks`, as is `told`.
    Raises FittingError when not one expert is in both.
    """
    wanted = [name for _, names in levels for name in names]
    known = votes.experts
    if not set(wanted) & set(known):
        raise FittingError(
            f"not one expert of the profile has votes: it has {sorted(wanted)}, the votes are of "
            f"{sorted(known)}"
        )
    place = {name: column for column, name in enumerate(known)}
    columns = np.array([place.get(name, -1) for name in wanted])
    there = columns >= 0
    remarks = [*votes.remarks, *told]
    if gone := sorted(set(known) - set(wanted)):
        remarks.append(f"the profile does not have these experts; their votes are left out: {gone}")
    return replace(
        votes,
        levels=levels,
        probability=np.where(there, votes.probability[:, columns], np.nan),
        asked=votes.asked[:, columns] & there,
        trust=np.where(there, votes.trust[:, columns], 1.0),
        ms=np.where(there, votes.ms[:, columns], np.nan),
        remarks=tuple(remarks),
    )
