"""Families of experts: found in the folder `families`, chosen by the `type` key of a profile."""

from __future__ import annotations

import builtins
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import ConfigurationError
from natix_miner.experts.base import Expert
from natix_miner.experts.batching import BatchLimits
from natix_miner.experts.vlm.pictures import EncodedViews
from natix_miner.experts.vlm.port import Server
from natix_miner.experts.weights.shared import SharedModels


class ExpertSettings(BaseModel):
    """What every expert's section of a profile may say; families add their own keys.

    `timeout_seconds` is how long the cascade waits for this expert in one query; `batch` and
    `batch_window_ms` shape the micro-batches of in-process experts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    timeout_seconds: PositiveFloat = 3.0
    batch: PositiveInt = 8
    batch_window_ms: float = Field(default=0.0, ge=0.0, le=1000.0)

    @property
    def asks(self) -> tuple[str, ...]:
        """Names of the servers that an expert of this section asks."""
        return tuple(getattr(self, "servers", ()))

    def batch_limits(self) -> BatchLimits:
        """The same as the value the batcher takes."""
        return BatchLimits(
            size=self.batch,
            window_seconds=self.batch_window_ms / 1000.0,
            stuck_seconds=max(20.0, 4.0 * self.timeout_seconds),
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an expert finds around it.

    Relative paths in its settings count from `folder`, where the profile lies; `servers` are those
    of the profile by their names; `encoded_views` is shared by the experts that send pictures,
    `models` by those that load the same weights; `catalogue` is the list of models.
    """

    folder: Path
    servers: Mapping[str, Server] = field(default_factory=dict)
    clock: Clock = SYSTEM_CLOCK
    encoded_views: EncodedViews = field(default_factory=EncodedViews)
    catalogue: Path = Path("models/catalogue.yaml")
    models: SharedModels = field(default_factory=SharedModels)


@dataclass(frozen=True, slots=True)
class Family:
    """One family: the `type` key, the settings it reads, how an expert of it is made.

    `build(name, settings, surroundings)` makes an unstarted expert. `split(settings)` turns one
    section into several experts with an opinion each, by the suffix of their names; the suffix ""
    keeps the section's name. One without `votes` tells conditions of the frame only.
    """

    type: str
    settings: builtins.type[ExpertSettings]
    build: Callable[[str, Any, Surroundings], Expert]
    split: Callable[[Any], dict[str, ExpertSettings]] | None = None
    votes: bool = True

    def experts_of(self, name: str, settings: ExpertSettings) -> dict[str, ExpertSettings]:
        """The experts that the section `name` stands for, in order."""
        if self.split is None:
            return {name: settings}
        return {
            f"{name}.{suffix}" if suffix else name: part
            for suffix, part in self.split(settings).items()
        }


@cache
def families() -> dict[str, Family]:
    """All families by their `type` key."""
    from natix_miner.experts import families as folder

    found: dict[str, Family] = {}
    for module in pkgutil.iter_modules(folder.__path__):
        family: Family = importlib.import_module(f"{folder.__name__}.{module.name}").FAMILY
        found[family.type] = family
    return found


def family_of(kind: str) -> Family:
    """The family of this `type` key; raises ConfigurationError naming those there are."""
    try:
        return families()[kind]
    except KeyError:
        known = ", ".join(sorted(families()))
        raise ConfigurationError(
            f"unknown expert type {kind!r}; the types there are: {known}"
        ) from None
