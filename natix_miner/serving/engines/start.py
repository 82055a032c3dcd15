"""What every engine's command is made of, and vLLM's names said in another engine's flags."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natix_miner.errors import ServerCommandError
from natix_miner.serving.settings import EngineArguments

LOOPBACK = "127.0.0.1"
#: The words of a command, for `exec` and never for a shell.
Words = list[str]
#: How an engine says a setting: its flag, or what makes the words from the value.
Spelling = str | Callable[[Any], Words]
#: Off unless switched on, so that `false` needs no word.
_OFF_ANYWAY = frozenset({"enforce_eager", "trust_remote_code"})


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a server: `model` is a folder or a repository's name, `served_name` what the
    server calls it; an empty `api_key` leaves the key out."""

    executable: Path
    model: str
    revision: str | None
    served_name: str
    port: int
    api_key: str = ""


def spelled(flag: str, value: Any) -> Words:
    """A flag and its value: `true` is the flag alone, `false` nothing, a mapping compact JSON."""
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, compact(value) if isinstance(value, dict) else str(value)]


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def translated(
    engine: str, begun: Words, arguments: EngineArguments, spellings: Mapping[str, Spelling]
) -> Words:
    """The words that a command begins with, the settings that a profile names by an engine's own
    flags, then its `extra`.

    Raises ServerCommandError for a setting that the engine has no flag for, and for a flag in
    `extra` that a setting stands for or that is given already.
    """
    words = list(begun)
    for name in EngineArguments.model_fields:
        value = getattr(arguments, name)
        if name == "extra" or name not in arguments.model_fields_set or value is None:
            continue
        if value is False and name in _OFF_ANYWAY:
            continue
        if name not in spellings:
            raise ServerCommandError(
                f"{engine} has no setting {name}; take it out, or write {engine}'s own flags into "
                "`extra`"
            )
        spelling = spellings[name]
        words += spelled(spelling, value) if isinstance(spelling, str) else spelling(value)
    keys = {flag: name for name, flag in spellings.items() if isinstance(flag, str)}
    for word in arguments.extra:
        if word in keys:
            raise ServerCommandError(f"extra: {word} has a key of its own, {keys[word]}; use that")
        if word.startswith("--") and word in words:
            raise ServerCommandError(f"extra: {engine} is given {word} already; take it out")
    return [*words, *arguments.extra]
