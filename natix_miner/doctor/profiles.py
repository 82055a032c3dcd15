"""The profile: its licences, the GPUs that it names, and whether its servers fit."""

from __future__ import annotations

import os
import re

from natix_miner.catalogue import Catalogue, load_catalogue
from natix_miner.doctor.row import Finding, fail, ok, skipped, warn
from natix_miner.profile import Profile
from natix_miner.profile.licences import refuse_unaccepted
from natix_miner.serving.cards import gpus_here
from natix_miner.serving.in_process import taken_by_experts, weights_of
from natix_miner.serving.remedies import plan_servers


def check_profile(profile: Profile) -> Finding:
    """A profile that could be read: are the terms of its models accepted? Raises LicenceError."""
    refuse_unaccepted(profile)
    levels = ", ".join(level.name for level in profile.levels)
    experts = len(profile.expert_names())
    return ok(
        f"{profile.name} (digest {profile.digest}): levels {levels}; {experts} experts vote,"
        f" {len(profile.servers)} servers; deadline {profile.deadline_seconds:g} s"
    )


def check_planner(profile: Profile) -> Finding:
    """Do the servers fit the GPUs and the memory of this machine?"""
    if not profile.servers:
        return skipped("the profile has no servers")
    known = _catalogue(profile)
    found = plan_servers(
        profile.servers,
        gpus_here(),
        known,
        profile.folder,
        others_gb=taken_by_experts(profile.experts, known, profile.folder),
        ram_gb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
    )
    if found.fits:
        left = [f"GPU {card.index} {card.left / 1e9:.1f} GB left" for card in found.cards]
        memory = [f"{share.server} about {share.bytes / 1e9:.1f} GB" for share in found.in_memory]
        elsewhere = [f"{name} served elsewhere" for name in found.elsewhere]
        return ok(f"fits: {', '.join([*left, *memory, *elsewhere])}")
    detail = "; ".join(f"{fault.server}: {fault.message}" for fault in found.faults)
    remedies = [remedy for fault in found.faults for remedy in fault.remedies]
    advice = f"would fit: {'; '.join(remedies)}" if remedies else "take another --profile"
    if any(fault.certain for fault in found.faults):
        return fail(detail, advice)
    return warn(f"{detail} (by estimates)", advice)


def gpus_of_servers(profile: Profile) -> frozenset[int]:
    """The indices that the profile's servers name."""
    return frozenset(index for server in profile.servers.values() for index in server.gpus)


def gpus_of_experts(profile: Profile) -> frozenset[int]:
    """The indices on which experts of the miner's own process run."""
    known = _catalogue(profile)
    devices = (
        weights.device
        for settings in profile.experts.values()
        for weights in weights_of(settings, known, profile.folder)
    )
    found = (re.fullmatch(r"cuda(?::(\d+))?", device) for device in devices)
    return frozenset(int(match[1] or 0) for match in found if match)


def _catalogue(profile: Profile) -> Catalogue:
    """A catalogue that is not there is an empty one: models may all be folders."""
    path = profile.path(profile.catalogue)
    return load_catalogue(path) if path.is_file() else Catalogue(as_of="never", models={})
