"""The sections of a profile that belong to no expert: pictures, journal, limits of the neuron.

A leaf: imports nothing of the package, so that every room may be built from its section.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)


class Section(BaseModel):
    """A frozen part of a profile; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def faults(error: ValidationError, whole: str = "") -> list[str]:
    """Every fault with its place, `levels.0.name: Field required`; `whole` stands for the place of
    what is wrong with all of it."""
    told = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"]) or whole
        told.append(f"{place}: {fault['msg']}" if place else str(fault["msg"]))
    return told


class PictureLimits(Section):
    """Which pictures are judged, and at which scale they are decoded."""

    formats: tuple[Literal["JPEG", "PNG", "WEBP"], ...] = ("JPEG",)
    max_megapixels: PositiveFloat = 40.0
    #: Large JPEGs are decoded at the smallest of 1/1, 1/2, 1/4, 1/8 whose longer side is not below.
    decode_longer_side: PositiveInt = Field(default=1280, ge=224)


class JournalSettings(Section):
    """Where queries, verdicts and traces are kept, and for how long."""

    path: Path = Path("out/journal/journal.sqlite3")
    enabled: bool = True
    queue: PositiveInt = 2000
    keep_days: PositiveFloat = 30.0
    keep_gigabytes: PositiveFloat = 20.0
    keep_pictures: bool = True


class NeuronLimits(Section):
    """How the axon guards itself."""

    max_body_megabytes: PositiveFloat = 24.0
    #: What the SDK grants a dendrite with the validators' timeout: 4 s + 9 s.
    nonce_window_seconds: PositiveFloat = 13.0
    max_nonces: PositiveInt = 200_000
    keep_alive_seconds: PositiveFloat = 75.0
    drain_seconds: PositiveFloat = 10.0
    max_in_flight: PositiveInt = 2000
    max_in_flight_per_hotkey: PositiveInt = 1024
    #: Queries of one hotkey that are let in, over any longer time; 0 for as many as come. A
    #: validator sends a few a minute, and one that tests its miners a few a second.
    max_per_minute_per_hotkey: NonNegativeFloat = 600.0
    #: So many may come at once before that pace binds.
    burst_per_hotkey: PositiveInt = 300
    #: Bodies held in memory at the same time, all senders together.
    max_in_flight_megabytes: PositiveFloat = 256.0
    #: A request's headers, and every pause between requests on a connection that sends something.
    head_seconds: PositiveFloat = 10.0
    chain_refresh_seconds: PositiveFloat = 300.0
    chain_timeout_seconds: PositiveFloat = 30.0
