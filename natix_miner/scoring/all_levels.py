"""A profile whose every level is entered: how opinions for a fit are collected."""

from __future__ import annotations

from natix_miner.profile.profile import EntrySettings, Profile


def with_all_levels(profile: Profile) -> Profile:
    """The same profile with the entry rules of its levels opened.

    Each level is entered whatever the consensus says; the deadline and `needs_seconds` still hold.
    Its digest differs from that of the profile, so its answers are never taken for the profile's.
    """
    levels = tuple(level.model_copy(update={"enter": EntrySettings()}) for level in profile.levels)
    return profile.model_copy(update={"levels": levels})
