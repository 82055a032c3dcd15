"""Seeded street scenes with and without roadwork, drawn from nothing."""

from __future__ import annotations

from natix_miner.scenes.scene import ROADWORK_KINDS, Scene, draw_scene

__all__ = ["ROADWORK_KINDS", "Scene", "draw_scene"]
