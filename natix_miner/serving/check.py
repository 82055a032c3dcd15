"""Checking commands with the parser of the engine that is installed, without starting a server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from natix_miner.errors import ServerCommandError

#: Importing vLLM takes about twelve seconds on a quiet machine.
SECONDS = 180.0
MARK = "natix-check:"
_SCRIPT = Path(__file__).with_name("inspection.py")
_LAST_LINES = 8

Finding = Literal["ok", "fault", "not-checked"]


@dataclass(frozen=True, slots=True)
class NamedCommand:
    """A server's command as `command_of` makes it for vLLM.

    `model_folder` is set where its model lies on the disk, so that its configuration can be read
    too; `gpus` where it is meant for GPUs, which this machine need not have; `environment` holds
    the variables that the profile names.
    """

    server: str
    words: tuple[str, ...]
    model_folder: bool
    gpus: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What vLLM said of one command: `ok`, a `fault` with its words, or `not-checked` with the
    reason (what only a machine with the GPUs can tell)."""

    server: str
    finding: Finding
    said: str


def check_commands(
    commands: Sequence[NamedCommand], interpreter: Path, seconds: float = SECONDS
) -> tuple[str, list[CheckResult]]:
    """vLLM's version, and a result for each command, in order.

    One process of the servers' own interpreter looks at them all; it may take `seconds`. Raises
    ServerCommandError when it cannot be run, does not come to an end, or crashes.
    """
    asked = [
        {
            "words": command.words[2:],  # after `vllm serve`
            "deep": command.model_folder,
            "gpus": command.gpus,
            "environment": dict(command.environment),
        }
        for command in commands
    ]
    told = _ask(interpreter, json.dumps(asked), seconds)
    results = [
        CheckResult(command.server, result["finding"], result["said"])
        for command, result in zip(commands, told["results"], strict=True)
    ]
    return str(told["version"]), results


def interpreter_of(executable: Path) -> Path:
    """The Python that runs an engine's command: that of its first line, else the one beside it."""
    with contextlib.suppress(OSError), executable.open("rb") as file:
        first = file.readline(1024)
        words = first.removeprefix(b"#!").decode(errors="replace").split()
        if first.startswith(b"#!/") and len(words) == 1 and "python" in Path(words[0]).name:
            return Path(words[0])
    return executable.parent / "python"


def _ask(interpreter: Path, asked: str, seconds: float) -> dict[str, Any]:
    try:
        # -P: beside the script lie modules of ours whose names others may want to import.
        process = subprocess.Popen(
            [str(interpreter), "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ServerCommandError(
            f"{interpreter} cannot be run ({error.strerror}): run scripts/install_vllm.sh"
        ) from error
    try:
        out, errors = process.communicate(asked, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ServerCommandError(
            f"vLLM's parser had not ended after {seconds:g} s; try again on a quieter machine"
        ) from None
    finally:
        _end(process)
    lines = [line for line in out.splitlines() if line.startswith(MARK)]
    if process.returncode != 0 or not lines:
        last = "\n".join((errors or out).splitlines()[-_LAST_LINES:])
        raise ServerCommandError(
            f"vLLM's parser ended with code {process.returncode}; is {interpreter} where vLLM is "
            f"installed? Its last lines:\n{last}"
        )
    told: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return told


def _end(process: subprocess.Popen[str]) -> None:
    """Leave nothing behind: vLLM looks into models in processes of their own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
