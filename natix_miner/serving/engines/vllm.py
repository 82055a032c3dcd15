"""`vllm serve`, the default engine; flags checked against 0.32 and 0.33."""

from __future__ import annotations

from typing import Any

from natix_miner.errors import ServerCommandError
from natix_miner.serving.engines.start import LOOPBACK, Start, Words, spelled
from natix_miner.serving.settings import EngineArguments, ServerSettings

#: vLLM's own defaults, which need no word.
_DEFAULTS: dict[str, object] = {
    "tensor_parallel_size": 1,
    "enforce_eager": False,
    "trust_remote_code": False,
}


def command(settings: ServerSettings, start: Start) -> Words:
    """The words of `vllm serve`. The key is not among them: vLLM reads VLLM_API_KEY.

    Raises ServerCommandError for settings that vLLM takes at start and fails on later.
    """
    _check(settings)
    words = [str(start.executable), "serve", start.model]
    words += ["--host", LOOPBACK, "--port", str(start.port)]
    words += ["--served-model-name", start.served_name]
    if start.revision is not None:
        words += ["--revision", start.revision]
    for name in EngineArguments.model_fields:
        if name != "extra":
            words += _flag(name, getattr(settings.arguments, name))
    return [*words, *settings.arguments.extra]


def _flag(name: str, value: Any) -> Words:
    if value is None or (name in _DEFAULTS and value == _DEFAULTS[name]):
        return []
    flag = name.replace("_", "-")
    return ["--no-" + flag] if value is False else spelled("--" + flag, value)


def _check(settings: ServerSettings) -> None:
    if settings.arguments.speculative_config and settings.token_logprobs == "chosen":
        raise ServerCommandError(
            "speculative_config: an answer is one token, there is nothing to speculate on, and with"
            " it log-probabilities of chosen tokens are answered with 500; take it out, or set"
            " `logprobs: top` for a server that thinks"
        )
    if settings.arguments.quantization == "bitsandbytes":
        raise ServerCommandError(
            "quantization bitsandbytes was taken out of vLLM in 0.28; use an FP8 or AWQ checkpoint"
        )
