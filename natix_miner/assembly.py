"""Putting a judge together from a profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from natix_miner import __version__
from natix_miner.breaker import Breaker, BreakerLimits
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import EntryRule, Level, Seat
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.consensus import (
    POOLS,
    Consensus,
    DriftWatch,
    Standing,
    equal_weights,
    load_fitted,
)
from natix_miner.experts import Expert
from natix_miner.experts.family import Surroundings, family_of
from natix_miner.judge import Judge
from natix_miner.profile import Profile
from natix_miner.profile.licences import refuse_unaccepted

if TYPE_CHECKING:
    from natix_miner.serving.servers import Servers


def build_judge(
    profile: Profile,
    clock: Clock = SYSTEM_CLOCK,
    *,
    wait_for_servers: float | None = None,
    on_drift: Callable[[Standing], None] | None = None,
) -> Judge:
    """The judge of a profile, its experts and servers not yet started.

    Starting it waits `wait_for_servers` seconds at most until every server is up or given up (the
    profile's `wait_seconds` by default). With `on_drift` the experts are watched for drift and it
    is told when one begins or ends to drift; without it every query is judged by itself, so that
    scoring and replay come out the same in any order.

    Raises LicenceError when the profile uses models whose terms it does not accept, FittedFileError
    when the fitted consensus does not belong to the profile, ServingError when its servers cannot
    be spawned, CatalogueError when a model is not known.
    """
    refuse_unaccepted(profile)
    servers = build_servers(profile, clock) if profile.servers else None
    surroundings = Surroundings(
        profile.folder,
        servers.by_name() if servers else {},
        clock,
        catalogue=profile.path(profile.catalogue),
    )
    experts = {
        name: family_of(settings.type).build(name, settings, surroundings)
        for section in profile.experts
        for name, settings in profile.experts_of(section).items()
    }
    consensus = build_consensus(profile)
    cascade = Cascade(
        tuple(_levels(profile, experts, clock)),
        consensus,
        drift=build_drift(profile, consensus, on_drift) if on_drift else None,
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
        servers=servers,
        wait_for_servers=(
            profile.serving.wait_seconds if wait_for_servers is None else wait_for_servers
        ),
    )


def build_servers(profile: Profile, clock: Clock = SYSTEM_CLOCK) -> Servers:
    """The servers of a profile, not yet spawned.

    Raises PlanError when they cannot run on the GPUs of this machine, ServerCommandError when the
    engine of one is not installed. A model that is missing switches its server off when it is
    started, and the miner goes on.
    """
    from natix_miner.serving.command import find_executable
    from natix_miner.serving.feasible import refuse_infeasible
    from natix_miner.serving.launching import Launching
    from natix_miner.serving.servers import Servers

    catalogue = profile.path(profile.catalogue)
    if any(settings.gpus for settings in profile.servers.values()):
        refuse_infeasible(
            profile.servers, profile.experts, catalogue=catalogue, folder=profile.folder
        )
    for settings in profile.servers.values():
        if not settings.remote:
            find_executable(settings, profile.folder)
    launching = Launching.here(profile.folder, catalogue)
    return Servers(profile.servers, profile.serving, prepare=launching.prepare, clock=clock)


def build_consensus(profile: Profile) -> Consensus:
    """The pool of a profile with its fitted weights, or equal ones where it names no file."""
    names = profile.expert_names()
    settings = profile.consensus
    if settings.fitted is None:
        fitted = equal_weights(names)
    else:
        path = profile.path(settings.fitted)
        fitted = load_fitted(path)
        fitted.check_experts(names, str(path))
    return POOLS[settings.pool or fitted.kind](fitted)


def build_drift(
    profile: Profile, consensus: Consensus, on_drift: Callable[[Standing], None]
) -> DriftWatch | None:
    """The watch for experts that drift from the fit of this consensus; None where the profile does
    not want one, or the fitted file does not tell how its experts behaved."""
    settings, expected = profile.consensus.drift, consensus.fitted.expected
    if not settings.enabled or not expected:
        return None
    levels = [tuple(profile.seated_in(level)) for level in profile.levels]
    return DriftWatch(expected, levels, settings, on_drift)


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
                    timeout_seconds=settings.timeout_seconds,
                    breaker=Breaker(limits, clock),
                )
                for name, settings in profile.seated_in(level).items()
            ),
            rule=EntryRule(
                unsure_below=level.enter.unsure_below,
                disagreement_above=level.enter.disagreement_above,
            ),
            needs_seconds=level.needs_seconds,
        )
        for level in profile.levels
    ]
