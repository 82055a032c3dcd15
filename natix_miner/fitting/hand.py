"""What a profile gives a fit: its levels, and the weights that it pools with now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from natix_miner.consensus import FittedConsensus, load_fitted
from natix_miner.profile import Profile


@dataclass(frozen=True, slots=True)
class Hand:
    """Levels with their voting experts; the hand weights (None: equal ones); what was odd."""

    levels: tuple[tuple[str, tuple[str, ...]], ...]
    weights: FittedConsensus | None
    remarks: tuple[str, ...]


def hand_of(profile: Profile) -> Hand:
    """Levels and hand weights of a profile.

    A fitted file that is not there yet, or was fitted for other experts, gives equal weights and a
    remark: a new fit is what is wanted then. Raises FittedFileError for a file that is damaged.
    """
    voting = profile.expert_names()
    levels = tuple(
        (level.name, tuple(name for name in profile.seated_in(level) if name in voting))
        for level in profile.levels
    )
    settings = profile.consensus
    remarks = []
    if settings.pool is not None:
        remarks.append(
            f"the profile says `pool: {settings.pool}`, whatever kind a fitted file is made for: "
            "take that out when you use this one"
        )
    fitted = _fitted(profile, settings.fitted, voting, remarks) if settings.fitted else None
    if fitted is not None and settings.pool is not None:
        fitted = fitted.model_copy(update={"kind": settings.pool})
    return Hand(levels, fitted, tuple(remarks))


def _fitted(
    profile: Profile, named: Path, voting: frozenset[str], remarks: list[str]
) -> FittedConsensus | None:
    path = profile.path(named)
    if not path.exists():
        remarks.append(f"{path} is not there yet: equal weights are the default")
        return None
    fitted = load_fitted(path)
    if fitted.experts() == voting:
        remarks.append(
            f"hand_weights are those of {path}; where that was fitted on these same queries, its "
            "figures are too good"
        )
        return fitted
    remarks.append(f"{path} was fitted for other experts: equal weights are the default")
    return None
