"""A profile: one YAML file that says all about one way to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from natix_miner.consensus import DriftSettings, PoolKind
from natix_miner.errors import ConfigurationError, ProfileError
from natix_miner.experts.family import ExpertSettings, family_of
from natix_miner.query import DEFAULT_DEADLINE_SECONDS
from natix_miner.sections import JournalSettings, NeuronLimits, PictureLimits, Section, faults
from natix_miner.serving.settings import ServerSettings, ServingSettings


class EntrySettings(Section):
    """When a level is entered; see `natix_miner.cascade.level.EntryRule`."""

    unsure_below: PositiveFloat | None = None
    disagreement_above: PositiveFloat | None = None


class LevelSettings(Section):
    """One level: its experts, its entry rule, the time below which it is not started."""

    name: Annotated[str, Field(min_length=1)]
    experts: Annotated[tuple[str, ...], Field(min_length=1)]
    enter: EntrySettings = EntrySettings()
    needs_seconds: NonNegativeFloat = 0.0


class ConsensusSettings(Section):
    """`fitted` is the fitted file (equal weights without one); `pool` the method, the fitted file's
    own by default; `drift` how the running miner watches its experts against the fit."""

    fitted: Path | None = None
    pool: PoolKind | None = None
    drift: DriftSettings = DriftSettings()


class BreakerSettings(Section):
    """After `failures` in a row an expert rests for `rest_seconds`."""

    failures: PositiveInt = 3
    rest_seconds: PositiveFloat = 30.0


ServerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Profile(Section):
    """The whole file, checked; `folder` is where it lies and what relative paths count from.

    `accept_licences` are the names of licences that the operator has read and accepts; see
    `natix_miner.profile.licences`.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    deadline_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = DEFAULT_DEADLINE_SECONDS
    reserve_seconds: NonNegativeFloat = 0.05
    decoders: PositiveInt = 2
    pictures: PictureLimits = PictureLimits()
    experts: Annotated[dict[str, SerializeAsAny[ExpertSettings]], Field(min_length=1)]
    servers: dict[ServerName, ServerSettings] = Field(default_factory=dict)
    serving: ServingSettings = ServingSettings()
    catalogue: Path = Path("../models/catalogue.yaml")
    accept_licences: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    levels: Annotated[tuple[LevelSettings, ...], Field(min_length=1)]
    consensus: ConsensusSettings = ConsensusSettings()
    breaker: BreakerSettings = BreakerSettings()
    journal: JournalSettings = JournalSettings()
    neuron: NeuronLimits = NeuronLimits()
    folder: Path = Field(default=Path(), exclude=True)

    @field_validator("experts", mode="before")
    @classmethod
    def _by_family(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {name: _expert_settings(name, section) for name, section in value.items()}

    @model_validator(mode="after")
    def _levels_name_experts(self) -> Profile:
        seated = [name for level in self.levels for name in level.experts]
        unknown = sorted(set(seated) - set(self.experts))
        if unknown:
            raise ValueError(f"levels name experts that are not under `experts`: {unknown}")
        twice = sorted({name for name in seated if seated.count(name) > 1})
        if twice:
            raise ValueError(f"experts sit in more than one level: {twice}; give them two names")
        idle = sorted(set(self.experts) - set(seated))
        if idle:
            raise ValueError(f"experts that no level asks: {idle}; take them out")
        asked = {server for settings in self.experts.values() for server in settings.asks}
        unknown = sorted(asked - set(self.servers))
        if unknown:
            raise ValueError(f"experts ask servers that are not under `servers`: {unknown}")
        idle = sorted(set(self.servers) - asked)
        if idle:
            raise ValueError(f"servers that no expert asks: {idle}; take them out")
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise ValueError(f"level names must differ: {names}")
        return self

    @property
    def digest(self) -> str:
        """Short digest of the settings as read, for traces and for resuming scoring runs; what is
        accepted changes no verdict and is left out."""
        said = self.model_dump(mode="json", exclude={"accept_licences"})
        text = json.dumps(said, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def experts_of(self, section: str) -> dict[str, ExpertSettings]:
        """The experts that one section stands for, by their names in trace and consensus."""
        settings = self.experts[section]
        return family_of(settings.type).experts_of(section, settings)

    def seated_in(self, level: LevelSettings) -> dict[str, ExpertSettings]:
        """The experts that a level asks."""
        return {
            name: settings
            for section in level.experts
            for name, settings in self.experts_of(section).items()
        }

    def expert_names(self) -> frozenset[str]:
        """The names of all experts that vote, those that share a section one by one."""
        return frozenset(
            name
            for section, settings in self.experts.items()
            if family_of(settings.type).votes
            for name in self.experts_of(section)
        )

    def path(self, path: Path) -> Path:
        """A path of the profile, counted from where the profile lies."""
        return self.folder / path


def _expert_settings(name: object, section: object) -> ExpertSettings:
    if isinstance(section, ExpertSettings):
        return section
    if not isinstance(section, Mapping) or "type" not in section:
        raise ValueError(f"expert {name!r} needs a section with a `type`")
    try:
        family = family_of(str(section["type"]))
    except ConfigurationError as error:
        raise ValueError(f"expert {name!r}: {error}") from error
    return family.settings.model_validate(dict(section))


def load_profile(path: Path) -> Profile:
    """Read and check a profile; raises ProfileError naming every fault with its place."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"no profile at {path}; those shipped lie in configs/") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"profile {path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"profile {path} is no mapping of settings, see docs/profiles.md")
    if "folder" in content:
        raise ProfileError(f"profile {path}: `folder` is not a setting; take it out")
    try:
        return Profile.model_validate({**content, "folder": path.resolve().parent})
    except ValidationError as error:
        told = "".join(f"\n  {fault}" for fault in faults(error, "profile"))
        raise ProfileError(f"profile {path} has faults:{told}") from error
