"""Servers of vision-language models: what runs them, and what asks them.

Light on purpose: every profile imports `settings` through here. The rest, by what it is for:

- from a profile to a command: `settings`, `flags`, `command`, `launching`; `check` asks the
  installed engine's parser
- what fits which GPU: `planner` and what it uses (`memory`, `sizes`, `rules`, `plan`, `remedies`)
- running them: `servers` (all), `supervisor` (one, over its lives), `process` and `warden` (one
  life), `canary` (whether it is alive), `leftovers` (what killed miners left)
- asking them: `guarded` (what experts get), `client`, `wire`
"""

from __future__ import annotations

from natix_miner.serving.settings import EngineArguments, ServerSettings, ServingSettings
from natix_miner.serving.state import LaunchPlan, ServerStatus, State

__all__ = [
    "EngineArguments",
    "LaunchPlan",
    "ServerSettings",
    "ServerStatus",
    "ServingSettings",
    "State",
]
