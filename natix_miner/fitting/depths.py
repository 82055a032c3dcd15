"""Depths of the cascade: each has the experts of its level and of those before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from natix_miner.fitting.votes import Votes

#: With fewer queries of either label a depth is not fitted on its own.
MIN_ROWS_PER_LABEL = 5


@dataclass(frozen=True, slots=True)
class Depth:
    """A level and all before it: their experts, their columns, and the queries for which somebody
    of this level was asked and somebody of the depth has a vote."""

    level: str
    experts: tuple[str, ...]
    columns: NDArray[np.int_]
    rows: NDArray[np.int_]


def depths_of(votes: Votes) -> tuple[Depth, ...]:
    """All depths, the shallowest first, of levels that have experts."""
    place = {name: column for column, name in enumerate(votes.experts)}
    there = ~np.isnan(votes.probability)
    found: list[Depth] = []
    seated: tuple[str, ...] = ()
    for level, names in votes.levels:
        if not names:
            continue
        seated += names
        own = np.array([place[name] for name in names])
        columns = np.array([place[name] for name in seated])
        entered = votes.asked[:, own].any(axis=1) | there[:, own].any(axis=1)
        rows = np.flatnonzero(entered & there[:, columns].any(axis=1))
        found.append(Depth(level, seated, columns, rows))
    return tuple(found)


def fittable(votes: Votes, depth: Depth) -> bool:
    """Whether enough labelled queries went that deep."""
    label = votes.label[depth.rows]
    return min(np.sum(label == 1), np.sum(label == 0)) >= MIN_ROWS_PER_LABEL


def up_to(votes: Votes, depth: int) -> Votes:
    """The votes as if the cascade had ended after `depth` levels (1 is the first): experts of later
    levels were not asked."""
    later = {name for _, names in votes.levels[depth:] for name in names}
    gone = np.array([name in later for name in votes.experts])
    return replace(
        votes,
        probability=np.where(gone, np.nan, votes.probability),
        asked=votes.asked & ~gone,
        ms=np.where(gone, np.nan, votes.ms),
    )
