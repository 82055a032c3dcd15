"""The options of `natix-miner run` for other commands: declared once, there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from natix_miner.cli.run import run


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of `run` in front of its own.

    It must take them as `**flags` (None: not given, `env_file` among them); typer reads the
    signature that is put together here.
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    told = [*inspect.signature(run, eval_str=True).parameters.values()]
    told += [each for each in own if each.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [each.replace(kind=keyword) for each in told]
    )
    return command


def env_file_of(flags: dict[str, Any]) -> Path | None:
    """Take the env file out of the flags: the one given, else ./miner.env where there is one."""
    given: Path | None = flags.pop("env_file")
    if given is None and Path("miner.env").is_file():
        return Path("miner.env")
    return given
