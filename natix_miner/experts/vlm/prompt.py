"""Prompts: one YAML file a question, read once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from natix_miner.errors import ConfigurationError
from natix_miner.sections import Section, faults


class Prompt(Section):
    """The words of one yes/no question.

    `system` and `before` stand in front of the picture and never change, so that servers keep them
    cached; `after` follows it. `invert` says that "yes" speaks against roadwork.
    """

    before: Annotated[str, Field(pattern=r"\S")]
    system: str = ""
    after: str = ""
    invert: bool = False


def load_prompt(path: Path) -> Prompt:
    """Read a prompt file; raises ConfigurationError naming the file and the field."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"no prompt at {path}; those shipped lie in configs/prompts/"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"prompt {path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"prompt {path} is no mapping; it needs `before`, and may have `system`, `after` and "
            "`invert`"
        )
    try:
        return Prompt.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"prompt {path}: {'; '.join(faults(error))}") from error
