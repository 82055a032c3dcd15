"""Putting a judge together from a profile."""

from __future__ import annotations

from natix_miner import __version__
from natix_miner.cascade.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.consensus import POOLS, Consensus, equal_weights, load_fitted
from natix_miner.experts import Expert
from natix_miner.experts.family import family_of
from natix_miner.judge import Judge
from natix_miner.profile import Profile


def build_judge(profile: Profile, clock: Clock = SYSTEM_CLOCK) -> Judge:
    """The judge of a profile, its experts not yet started.

    Raises FittedFileError when the fitted consensus does not belong to the profile.
    """
    experts = {
        name: family_of(settings.type).build(name, settings, profile.folder)
        for name, settings in profile.experts.items()
    }
    cascade = Cascade(
        tuple(_levels(profile, experts, clock)),
        build_consensus(profile),
        reserve_seconds=profile.reserve_seconds,
        clock=clock,
    )
    return Judge(
        cascade,
        tuple(experts.values()),
        profile.pictures,
        {"miner": __version__, "profile": f"{profile.name}:{profile.digest}"},
        decoders=profile.decoders,
        clock=clock,
    )


def build_consensus(profile: Profile) -> Consensus:
    """The pool of a profile with its fitted weights, or equal ones where it names no file."""
    names = frozenset(profile.experts)
    settings = profile.consensus
    if settings.fitted is None:
        fitted = equal_weights(names)
    else:
        path = profile.path(settings.fitted)
        fitted = load_fitted(path)
        fitted.check_experts(names, str(path))
    return POOLS[settings.pool](fitted)


def _levels(profile: Profile, experts: dict[str, Expert], clock: Clock) -> list[Level]:
    limits = BreakerLimits(
        failures=profile.breaker.failures, rest_seconds=profile.breaker.rest_seconds
    )
    return [
        Level(
            name=level.name,
            seats=tuple(
                Seat(
                    expert=experts[name],
                    timeout_seconds=profile.experts[name].timeout_seconds,
                    breaker=Breaker(limits, clock),
                )
                for name in level.experts
            ),
            rule=EntryRule(
                unsure_below=level.enter.unsure_below,
                disagreement_above=level.enter.disagreement_above,
            ),
            needs_seconds=level.needs_seconds,
        )
        for level in profile.levels
    ]
