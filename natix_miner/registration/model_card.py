"""`model_card.json`: what upstream's documents asked for beside a published model, and versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from natix_miner.errors import PublishingError

CARD_NAME = "model_card.json"
_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
#: Before this second no card of this subnet can have been made (2024-01-01).
_EARLIEST = 1_704_067_200
#: Far enough ahead for any clock that is merely wrong; milliseconds are far beyond it (2100-01-01).
_LATEST = 4_102_444_800
_MAX_TEXT = 2000


class ModelCard(BaseModel):
    """The card. All five fields are required; unknown ones are refused.

    `submitted_by` is the SS58 address of the hotkey, `submission_time` in unix seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    model_name: str = Field(min_length=1, max_length=200)
    description: str = Field(min_length=1, max_length=_MAX_TEXT)
    version: str
    submitted_by: str
    submission_time: int = Field(ge=_EARLIEST, le=_LATEST)

    @field_validator("version")
    @classmethod
    def _is_version(cls, value: str) -> str:
        if not _VERSION.fullmatch(value):
            raise ValueError("not of the form X.Y.Z with whole numbers")
        return value

    @field_validator("submitted_by")
    @classmethod
    def _is_address(cls, value: str) -> str:
        from bittensor_wallet import Keypair

        try:
            Keypair(ss58_address=value)
        except ValueError:
            raise ValueError("not an SS58 address of a hotkey") from None
        return value

    def as_json(self) -> str:
        """The file's text."""
        return self.model_dump_json(indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Submission:
    """An earlier submission: its version and time, and where that was read."""

    version: str
    submission_time: int
    where: str


def make_card(
    *, model_name: str, description: str, version: str, submitted_by: str, submission_time: int
) -> ModelCard:
    """A checked card; raises PublishingError that names every field at fault with its value."""
    try:
        return ModelCard(
            model_name=model_name,
            description=description,
            version=version,
            submitted_by=submitted_by,
            submission_time=submission_time,
        )
    except ValidationError as error:
        raise PublishingError(f"{CARD_NAME} would not be valid: {_faults(error)}") from None


def read_card(text: bytes, where: str) -> ModelCard:
    """A card that was published earlier; raises PublishingError when it is not one."""
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise PublishingError(
            f"{where} is not a valid model card: {_faults(error)}; repair or remove it"
        ) from None


def read_local_card(folder: Path) -> ModelCard | None:
    """The card that lies in a folder, None when there is none."""
    path = folder / CARD_NAME
    if not path.is_file():
        return None
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PublishingError(f"{path} cannot be read ({error.strerror})") from error
    return read_card(text, str(path))


def refuse_old_version(version: str, last: Submission) -> None:
    """Raise PublishingError unless `version` is above the last one."""
    if _numbers(version) <= _numbers(last.version):
        raise PublishingError(
            f"version {version} is not above {last.version}, which {last.where} has; give a higher"
            " --version"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}:"
        f" {fault['msg'].removeprefix('Value error, ')} (it is {_short(fault['input'])})"
        for fault in error.errors(include_url=False)
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
