"""Profiles: one YAML file that says all about one way to run, parsed once at the edge."""

from __future__ import annotations

from natix_miner.profile.profile import Profile, load_profile
from natix_miner.sections import JournalSettings, NeuronLimits, PictureLimits

__all__ = ["JournalSettings", "NeuronLimits", "PictureLimits", "Profile", "load_profile"]
