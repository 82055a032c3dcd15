"""Runs in the servers' virtual environment: parses commands as `vllm serve` would.

Reads a JSON list of {words, deep, gpus, environment} on stdin, writes one marked JSON line. Imports
nothing of this package: it is not installed there. `deep` also builds the engine's configuration,
which reads the model's. What that refuses because of the machine it runs on says nothing about a
command for other GPUs, and is told apart from a fault.
"""

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

MARK = "natix-check:"
#: Words at the beginning of refusals that are about the machine.
MACHINE = re.compile(
    r"current platform|current gpu|your gpu|your device|compute capability|available gpus"
    r"|world size|currently not supported in|on cpu\b|cpu backend|no gpu|cuda|nvidia",
    re.IGNORECASE,
)
_BEGINNING = 160
_MOST_CHARACTERS = 400
_IN_FULL = "as vLLM builds it with its model's configuration"


class Inspector:
    """vLLM's parser, made once: importing it is what takes long."""

    def __init__(self) -> None:
        from vllm import __version__, envs
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.entrypoints.launchers import cli_args
        from vllm.platforms import current_platform
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        self.version = __version__
        self._variables = envs.environment_variables
        self._arguments = AsyncEngineArgs
        self._validate = cli_args.validate_parsed_serve_args
        self._on_cpu = current_platform.is_cpu()
        # `vllm serve` itself allows abbreviations: the next version may have two that match.
        parser = FlexibleArgumentParser(prog="vllm serve", exit_on_error=False, allow_abbrev=False)
        self._parser = cli_args.make_arg_parser(parser)

    def look(self, command: Mapping[str, Any]) -> dict[str, str]:
        """The finding about one command, and what vLLM says."""
        for name in command["environment"]:
            if name.startswith("VLLM_") and name not in self._variables:
                return _found("fault", f"vLLM has no variable {name}")
        with _environment(command["environment"]):
            try:
                namespace = self._parsed(command["words"])
            except Exception as error:  # noqa: BLE001 - whatever vLLM raises is the finding
                return _found("fault", _told(error))
            if not command["deep"]:
                return _found("ok", "its flags; its model is not on this machine")
            return self._deep(namespace, for_gpus=command["gpus"])

    def _parsed(self, words: list[str]) -> Any:
        errors = io.StringIO()
        try:
            with contextlib.redirect_stderr(errors):
                namespace = self._parser.parse_args(words)
        except SystemExit:
            raise ValueError(errors.getvalue().rpartition("error: ")[2]) from None
        namespace.model = namespace.model_tag
        self._validate(namespace)
        return namespace

    def _deep(self, namespace: Any, *, for_gpus: bool) -> dict[str, str]:
        try:
            self._arguments.from_cli_args(namespace).create_engine_config()
        except Exception as error:  # noqa: BLE001 - whatever vLLM raises is the finding
            said = _told(error)
            # Only how it begins: further on vLLM likes to tell what might happen on a GPU.
            if for_gpus and MACHINE.search(said[:_BEGINNING]):
                return _found("not-checked", f"this machine is not the one it is for: {said}")
            return _found("fault", said)
        elsewhere = for_gpus and self._on_cpu
        return _found("ok", f"{_IN_FULL}, here on a CPU" if elsewhere else _IN_FULL)


def main() -> None:
    """Check everything that stands on stdin."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    asked = json.load(sys.stdin)
    inspector = Inspector()
    results = [inspector.look(command) for command in asked]
    # Begun on a line of its own, whatever vLLM has printed before.
    print(f"\n{MARK}{json.dumps({'version': inspector.version, 'results': results})}")


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """A server's variables, and afterwards none of them nor of those that vLLM itself has set."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _found(finding: str, said: str) -> dict[str, str]:
    return {"finding": finding, "said": said}


def _told(error: Exception) -> str:
    """What an error says, in one line, without what validation libraries add."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("For further information")]
    text = " ".join(re.sub(r" \[type=.*\]$", "", line) for line in kept)
    text = re.sub(r"\d+ validation errors? for \w+ ?|Value error, ", "", text) or repr(error)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


if __name__ == "__main__":
    main()
