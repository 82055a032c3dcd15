"""`python -m sglang.launch_server`; its `executable` is the Python of its virtual environment.

Flags as SGLang 0.5 documents them; the command was never run by us.
"""

from __future__ import annotations

from typing import Any

from natix_miner.errors import ServerCommandError
from natix_miner.serving.engines.start import (
    LOOPBACK,
    Spelling,
    Start,
    Words,
    compact,
    translated,
)
from natix_miner.serving.settings import ServerSettings


def command(settings: ServerSettings, start: Start) -> Words:
    """The words of the command. The key is among them, readable by whoever may list processes:
    SGLang takes it from nowhere else.

    `gpu_memory_utilization` becomes the share for weights and cache; activations and graphs come on
    top of it, so it has to be lower than vLLM's. Raises ServerCommandError for settings without a
    flag.
    """
    words = [str(start.executable), "-m", "sglang.launch_server", "--model-path", start.model]
    words += ["--host", LOOPBACK, "--port", str(start.port)]
    words += ["--served-model-name", start.served_name]
    if start.api_key:
        words += ["--api-key", start.api_key]
    if start.revision is not None:
        words += ["--revision", start.revision]
    return translated("sglang", words, settings.arguments, _SPELLINGS)


def _limits(value: dict[str, Any]) -> Words:
    if not all(isinstance(count, int) for count in value.values()):
        raise ServerCommandError(
            f"limit_mm_per_prompt: sglang takes counts only, like {{image: 1}}; this is {value}"
        )
    return ["--limit-mm-data-per-request", compact(value)]


def _sampling(value: str) -> Words:
    sources = {"vllm": "openai", "auto": "model"}
    if value not in sources:
        raise ServerCommandError(
            f"generation_config: sglang has no {value!r}; write vllm (the engine's own) or auto "
            "(the model's)"
        )
    return ["--sampling-defaults", sources[value]]


_SPELLINGS: dict[str, Spelling] = {
    "dtype": "--dtype",
    "quantization": "--quantization",
    "tensor_parallel_size": "--tp-size",
    "gpu_memory_utilization": "--mem-fraction-static",
    "kv_cache_dtype": "--kv-cache-dtype",
    "block_size": "--page-size",
    "max_model_len": "--context-length",
    "max_num_seqs": "--max-running-requests",
    "max_num_queued_reqs": "--max-queued-requests",
    "limit_mm_per_prompt": _limits,
    "mm_processor_kwargs": lambda value: ["--mm-process-config", compact({"image": value})],
    "mm_encoder_tp_mode": lambda value: ["--mm-enable-dp-encoder"] if value == "data" else [],
    "enable_prefix_caching": lambda value: [] if value else ["--disable-radix-cache"],
    "enable_chunked_prefill": lambda value: [] if value else ["--chunked-prefill-size", "-1"],
    "reasoning_parser": "--reasoning-parser",
    "generation_config": _sampling,
    "trust_remote_code": "--trust-remote-code",
}
