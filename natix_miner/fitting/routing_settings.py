"""What decides a routing, besides the votes and the fit."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from natix_miner.profile import Profile
from natix_miner.query import DEFAULT_DEADLINE_SECONDS

WITHIN = 0.005
#: Cost to reach, as a share of that of all experts.
GOAL_SHARE = 0.2
RESERVE_SECONDS = 0.05


class RoutingSettings(BaseModel):
    """`within` is the expected reward that may be lost against asking every expert; `seconds` is
    the time that a query has, less the reserve; `needs_seconds` of a level (by name) as in the
    profile. `prior` is the share of roadwork among what validators ask, `seed` and `resamples` are
    of the intervals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    within: Annotated[float, Field(ge=0.0, lt=1.0)] = WITHIN
    seconds: Annotated[float, Field(gt=0.0)] = DEFAULT_DEADLINE_SECONDS - RESERVE_SECONDS
    needs_seconds: dict[str, float] = Field(default_factory=dict)
    prior: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    seed: Annotated[int, Field(ge=0)] = 0
    resamples: Annotated[int, Field(ge=50, le=10_000)] = 400

    @classmethod
    def of(
        cls,
        profile: Profile | None,
        *,
        within: float = WITHIN,
        deadline_seconds: float | None = None,
        prior: float = 0.5,
        seed: int = 0,
    ) -> RoutingSettings:
        """Settings with the times of a profile; `deadline_seconds` goes before its own."""
        deadline, reserve = DEFAULT_DEADLINE_SECONDS, RESERVE_SECONDS
        needs: dict[str, float] = {}
        if profile is not None:
            deadline, reserve = profile.deadline_seconds, profile.reserve_seconds
            needs = {level.name: level.needs_seconds for level in profile.levels}
        return cls(
            within=within,
            seconds=max(1e-3, (deadline_seconds or deadline) - reserve),
            needs_seconds=needs,
            prior=prior,
            seed=seed,
        )
