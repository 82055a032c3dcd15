"""`lmdeploy serve api_server`.

Flags as LMDeploy's own sources of late 2025 have them; the command was never run by us.
"""

from __future__ import annotations

from natix_miner.serving.engines.start import LOOPBACK, Spelling, Start, Words, translated
from natix_miner.serving.settings import ServerSettings

#: Its shares of memory are of what is free beside the weights, and its quantisation is a format of
#: the model: neither means what vLLM's setting does, so both are left to `extra`.
_SPELLINGS: dict[str, Spelling] = {
    "dtype": "--dtype",
    "tensor_parallel_size": "--tp",
    "block_size": "--cache-block-seq-len",
    "max_model_len": "--session-len",
    "max_num_seqs": "--max-batch-size",
    "max_num_batched_tokens": "--max-prefill-token-num",
    "enable_prefix_caching": "--enable-prefix-caching",
    "enforce_eager": "--eager-mode",
    "reasoning_parser": "--reasoning-parser",
}


def command(settings: ServerSettings, start: Start) -> Words:
    """The words of the command. The key is among them, readable by whoever may list processes:
    LMDeploy takes it from nowhere else. Raises ServerCommandError for settings without a flag."""
    words = [str(start.executable), "serve", "api_server", start.model]
    words += ["--server-name", LOOPBACK, "--server-port", str(start.port)]
    words += ["--model-name", start.served_name]
    # Without this it answers every request for log-probabilities with 400.
    words += ["--logprobs-mode", "raw_logprobs"]
    if start.revision is not None:
        words += ["--revision", start.revision]
    if start.api_key:
        words += ["--api-keys", start.api_key]
    return translated("lmdeploy", words, settings.arguments, _SPELLINGS)
