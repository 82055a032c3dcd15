"""What a fit can say of experts beyond their own answers; the report shows it where it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ExpertFigures:
    """One expert among the others; None where nobody can tell.

    `weight` is its mean weight in the pool; `correlation` the mean correlation of its errors with
    those of the others, in [-1, 1]; `adds` the reward that the pool loses without it, with its
    interval `adds_low` to `adds_high`.
    """

    weight: float | None = None
    correlation: float | None = None
    adds: float | None = None
    adds_low: float | None = None
    adds_high: float | None = None


@dataclass(frozen=True, slots=True)
class ExpertPanel:
    """All experts together: `figures` by name, the `effective_votes` (how many independent experts
    they are worth), and `remarks`, sentences on what should be known."""

    figures: Mapping[str, ExpertFigures] = field(default_factory=dict)
    effective_votes: float | None = None
    remarks: tuple[str, ...] = ()
