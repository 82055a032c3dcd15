"""Vision-language models in servers: questions about views, an opinion for each pair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from natix_miner.errors import ConfigurationError
from natix_miner.experts.family import ExpertSettings, Family, Surroundings
from natix_miner.experts.vlm.expert import Asking, VisionLanguageExpert
from natix_miner.experts.vlm.pictures import Sending
from natix_miner.experts.vlm.port import Server
from natix_miner.experts.vlm.prompt import load_prompt
from natix_miner.experts.vlm.thinking import ThinkingSettings
from natix_miner.experts.vlm.votes import DEFAULT_TRUST, TrustBounds

ViewKind = Literal["whole", "upright", "enlarged", "tiles"]


class AskingSettings(ExpertSettings):
    """Of every expert that asks servers: `servers` are asked in their order, the next one when one
    is down, full, late or wrong. A vote counts in full with up to `full_trust_elsewhere` of the
    mass on neither yes nor no, not at all from `no_trust_elsewhere` on."""

    servers: Annotated[tuple[str, ...], Field(min_length=1)]
    full_trust_elsewhere: Annotated[float, Field(ge=0.0, le=1.0)] = DEFAULT_TRUST.full
    no_trust_elsewhere: Annotated[float, Field(ge=0.0, le=1.0)] = DEFAULT_TRUST.none

    @property
    def trust(self) -> TrustBounds:
        """The bounds as the value that votes are made with."""
        return TrustBounds(self.full_trust_elsewhere, self.no_trust_elsewhere)

    @model_validator(mode="after")
    def _sound_asking(self) -> AskingSettings:
        if len(set(self.servers)) < len(self.servers):
            raise ValueError(f"servers holds the same twice: {list(self.servers)}")
        if self.full_trust_elsewhere >= self.no_trust_elsewhere:
            raise ValueError(
                f"full_trust_elsewhere {self.full_trust_elsewhere} must be less than "
                f"no_trust_elsewhere {self.no_trust_elsewhere}"
            )
        return self


class VlmSettings(AskingSettings):
    """Each of `questions` (prompt files, named by their stem) about each kind of `views` is an
    expert of its own, NAME.QUESTION.VIEW; what there is only one of is left out of the name. The
    picture sent has between `min_pixels` and `max_pixels`. `combine` makes one vote of several
    tiles (see `votes.look_of`).
    """

    type: Literal["vlm"] = "vlm"
    questions: Annotated[tuple[Path, ...], Field(min_length=1)]
    views: Annotated[tuple[ViewKind, ...], Field(min_length=1)] = ("whole",)
    tiles: PositiveInt = 6
    min_pixels: PositiveInt = 1024
    max_pixels: PositiveInt = 262_144
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 95
    combine: Literal["max", "mean"] = "mean"
    thinking: ThinkingSettings | None = None

    @model_validator(mode="after")
    def _sound(self) -> VlmSettings:
        if self.min_pixels > self.max_pixels:
            raise ValueError(
                f"min_pixels {self.min_pixels} is more than max_pixels {self.max_pixels}"
            )
        if len(set(self.views)) < len(self.views):
            raise ValueError(f"views holds the same twice: {list(self.views)}")
        stems = [path.stem for path in self.questions]
        if len(set(stems)) < len(stems):
            raise ValueError(f"questions are told apart by their files' stems: {stems}")
        return self


def split(settings: VlmSettings) -> dict[str, ExpertSettings]:
    """One part for each question about each kind of view."""
    parts: dict[str, ExpertSettings] = {}
    for question in settings.questions:
        for view in settings.views:
            words = [question.stem] if len(settings.questions) > 1 else []
            words += [view] if len(settings.views) > 1 else []
            parts[".".join(words)] = settings.model_copy(
                update={"questions": (question,), "views": (view,)}
            )
    return parts


def build(name: str, settings: VlmSettings, surroundings: Surroundings) -> VisionLanguageExpert:
    """One expert; raises ConfigurationError for a prompt or a server that is not there."""
    (question,), (view,) = settings.questions, settings.views
    thinking = settings.thinking
    asking = Asking(
        question=question.stem,
        prompt=load_prompt(surroundings.folder / question),
        sending=Sending(
            kind=view,
            least=settings.min_pixels,
            most=settings.max_pixels,
            tiles=settings.tiles,
            quality=settings.jpeg_quality,
        ),
        servers=servers_of(name, settings.servers, surroundings),
        combine=settings.combine,
        trust=settings.trust,
        thinking=thinking,
        think_prompt=load_prompt(surroundings.folder / thinking.prompt) if thinking else None,
    )
    return VisionLanguageExpert(name, asking, surroundings.encoded_views)


def servers_of(
    name: str, wanted: tuple[str, ...], surroundings: Surroundings
) -> tuple[Server, ...]:
    """The servers by their names; raises ConfigurationError naming those there are."""
    missing = [server for server in wanted if server not in surroundings.servers]
    if missing:
        known = ", ".join(sorted(surroundings.servers)) or "none"
        raise ConfigurationError(f"expert {name!r} asks servers {missing}; there are: {known}")
    return tuple(surroundings.servers[server] for server in wanted)


FAMILY = Family(type="vlm", settings=VlmSettings, build=build, split=split)
