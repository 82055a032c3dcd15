"""Pairs of phrases that an image-text model chooses between: one YAML file, read once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from natix_miner.errors import ConfigurationError
from natix_miner.sections import Section, faults

Phrase = Annotated[str, Field(pattern=r"\S")]
Template = Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")]

#: A sentence as the model reads it, when the profile gives no template.
AS_IT_IS: Template = "{}"


class PromptPair(Section):
    """Two phrases for the same place in a street: `roadwork` describes it with roadwork, `none`
    without, and everything else about them is alike."""

    roadwork: Phrase
    none: Phrase


class Prompts(Section):
    """An ensemble of pairs; each phrase is put into each of `templates` ("a photo of {}")."""

    pairs: Annotated[tuple[PromptPair, ...], Field(min_length=1)]
    templates: Annotated[tuple[Template, ...], Field(min_length=1)] = (AS_IT_IS,)

    def sentences(self, phrase: str) -> list[str]:
        """The phrase in every template."""
        return [template.replace("{}", phrase) for template in self.templates]

    def digest(self) -> str:
        """Short digest of the content, for the version of an expert."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_prompts(path: Path) -> Prompts:
    """Read a file of pairs; raises ConfigurationError naming the file and the field."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"no prompts at {path}; those shipped lie in configs/prompts/zero-shot.yaml"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"prompts {path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"prompts {path} is no mapping; it needs `pairs`, a list of phrases `roadwork` and "
            "`none`, and may have `templates`"
        )
    try:
        return Prompts.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"prompts {path}: {'; '.join(faults(error))}") from error
