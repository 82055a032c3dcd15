"""What decides a fit, besides the votes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PoolName = Literal[
    "stacking", "log_odds", "hand_weights", "geometric_mean", "majority", "best_single"
]
POOL_NAMES: tuple[PoolName, ...] = (
    "stacking",
    "log_odds",
    "hand_weights",
    "geometric_mean",
    "majority",
    "best_single",
)
#: What an operator has without a fit; a fit must clearly beat it.
DEFAULT_POOL: PoolName = "hand_weights"

#: Least labelled queries, of each label, and groups that hold each label.
LEAST_LABELLED, LEAST_PER_LABEL, LEAST_GROUPS = 50, 10, 3


class FitSettings(BaseModel):
    """`prior` is the share of roadwork among what validators ask, `folds` that of the outer
    cross-validation, `inner_folds` that within each training part; `non_negative` keeps the
    stacking's weights from turning an expert round; `force` takes a pool whatever the figures say;
    `resamples` are bootstrap draws for the intervals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prior: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    seed: Annotated[int, Field(ge=0)] = 0
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    inner_folds: Annotated[int, Field(ge=2, le=20)] = 3
    non_negative: bool = False
    force: PoolName | None = None
    resamples: Annotated[int, Field(ge=50, le=10_000)] = 400
