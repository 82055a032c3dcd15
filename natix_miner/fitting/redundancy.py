"""How much the experts repeat each other, and what each one adds to the others.

Votes that err together are worth less than their number. Where labels are known, correlations are
of the residuals within each label: that two experts both see the truth is no redundancy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import FittingError
from natix_miner.fitting.pools import logit
from natix_miner.fitting.votes import UNLABELLED, Floats, Votes

#: Queries on which both must have voted before a correlation is told.
LEAST_TOGETHER = 20


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Pairwise correlations (m, m) in the order of `experts`, NaN where too few queries have both
    votes; `effective_votes` of the m; `within_labels` whether the truth was taken out of them."""

    experts: tuple[str, ...]
    correlations: Floats
    effective_votes: float
    within_labels: bool

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON; what is not known is None."""
        return {
            "effective_votes": _plain(self.effective_votes),
            "within_labels": self.within_labels,
            "correlations": {
                "experts": list(self.experts),
                "matrix": [[_plain(value) for value in row] for row in self.correlations],
            },
        }


def redundancy(votes: Votes) -> Redundancy:
    """How much these experts repeat each other."""
    return Redundancy(
        experts=votes.experts,
        correlations=correlations(votes),
        effective_votes=effective_votes(votes),
        within_labels=_has_labels(votes),
    )


def correlations(votes: Votes) -> Floats:
    """Pearson correlation of the votes' log-odds for each pair of experts, (m, m), in [-1, 1].

    With labels: of the residuals after taking out each expert's mean for each label, over labelled
    queries. Without any: of the log-odds themselves, so that shared truth counts as redundancy too.
    Each pair is taken over the queries on which both voted; NaN with fewer than 20 of them, or
    where one of the two always says the same.
    """
    residuals = _residuals(votes)
    there = ~np.isnan(residuals)
    x, seen = np.where(there, residuals, 0.0), there.astype(np.float64)
    together = seen.T @ seen
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (x.T @ seen) / together  # of the row's expert, where the column's voted too
        square = (x**2).T @ seen / together - mean**2
        shared = (x.T @ x) / together - mean * mean.T
        found = shared / np.sqrt(square * square.T)
    flat = np.minimum(square, square.T) <= 1e-12
    found = np.where((together < LEAST_TOGETHER) | flat, np.nan, np.clip(found, -1.0, 1.0))
    np.fill_diagonal(found, np.where(np.isnan(np.diag(found)), np.nan, 1.0))
    return np.asarray(found, np.float64)


def effective_votes(votes: Votes) -> float:
    """How many independent votes the m experts are worth: m / (1 + (m - 1) * mean correlation).

    That many independent votes would have a mean as steady as that of these: m of them when they
    are independent, 1 when all say the same. It is kept within [1, m]. Experts that never vary or
    hardly ever vote with others are not counted; NaN where no pair can be told.
    Source: the design effect of clusters, Kish, "Survey Sampling", 1965.
    """
    return effective_number(correlations(votes))


def effective_number(correlation: Floats) -> float:
    """The same of a matrix of correlations (m, m); pairs that are NaN are taken as the mean."""
    apart = ~np.eye(len(correlation), dtype=bool)
    known = np.isfinite(correlation) & apart
    counted = known.any(axis=1)
    m = int(counted.sum())
    if m == 0:
        return 1.0 if int(np.isfinite(np.diag(correlation)).sum()) == 1 else float("nan")
    mean = float(correlation[known].mean())
    return float(np.clip(m / max(1.0 + (m - 1) * mean, 1e-9), 1.0, m))


def without(votes: Votes, names: frozenset[str]) -> Votes:
    """The votes as if these experts did not exist; raises FittingError when nobody remains."""
    kept = np.array([name not in names for name in votes.experts])
    if not kept.any():
        raise FittingError(f"without {sorted(names)} no expert remains")
    return replace(
        votes,
        levels=tuple(
            (level, tuple(name for name in experts if name not in names))
            for level, experts in votes.levels
        ),
        probability=votes.probability[:, kept],
        asked=votes.asked[:, kept],
        trust=votes.trust[:, kept],
        ms=votes.ms[:, kept],
    )


def _has_labels(votes: Votes) -> bool:
    return bool(np.any(votes.label != UNLABELLED))


def _residuals(votes: Votes) -> Floats:
    log_odds = logit(votes.probability)
    if not _has_labels(votes):
        return log_odds
    found = np.full(log_odds.shape, np.nan)
    for label in (0, 1):
        rows: NDArray[np.bool_] = votes.label == label
        there = ~np.isnan(log_odds[rows])
        mean = np.where(there, log_odds[rows], 0.0).sum(axis=0) / np.maximum(1, there.sum(axis=0))
        found[rows] = log_odds[rows] - mean
    return found


def _plain(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
