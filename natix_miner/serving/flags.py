"""Flags and variables that a profile may not write: those that vLLM does not have (any more), with
today's spelling, and those that are ours or have a key of their own. Checked against vLLM 0.32 and
0.33."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from natix_miner.errors import ServerCommandError

#: What older guides name, and what does its work today; flags, and keys of the same name.
GONE: dict[str, str] = {
    "--speculative-model": "write speculative_config: {model: ..., method: ..., "
    "num_speculative_tokens: ...} (--speculative-config)",
    "--num-speculative-tokens": "write it into speculative_config (--speculative-config)",
    "--use-v2-block-manager": "there is one block manager now; leave it out",
    "--speculators-version": "it never was a flag; serve the speculator's repository as model",
    "--enable-lmcache": "write kv_transfer_config: {kv_connector: LMCacheConnectorV1, kv_role: "
    "kv_both} (--kv-transfer-config)",
    "--override-backend": "write extra: [--attention-backend, ...]",
    "--use-flashinfer": "write extra: [--attention-backend, FLASHINFER]",
    "--max-seq-len-to-capture": "write extra: [--max-cudagraph-capture-size, ...]",
    "--swap-space": "write extra: [--kv-offloading-size, ...]",
    "--task": "write extra: [--runner, ..., --convert, ...]",
    "--guided-decoding-backend": "write extra: [--structured-outputs-config, ...]",
    "--disable-log-requests": "write extra: [--no-enable-log-requests]; it is the default",
    "--calculate-kv-scales": "scales are calibrated in the checkpoint now; leave it out",
    "--prefix-caching": "write enable_prefix_caching (--enable-prefix-caching); it is the default",
    "--context-parallel": "write extra: [--decode-context-parallel-size, ...] or "
    "[--prefill-context-parallel-size, ...]",
    "--batch-invariance": 'write environment: {VLLM_BATCH_INVARIANT: "1"}',
}
#: The miner gives these itself.
OURS = frozenset(
    {"--host", "--port", "--api-key", "--api-keys", "--served-model-name", "--model", "--revision"}
)
#: Other spellings of what has a key.
ALIASES: dict[str, str] = {
    "-tp": "tensor_parallel_size",
    "-q": "quantization",
    "-sc": "speculative_config",
    "--spec-method": "speculative_config",
    "--spec-model": "speculative_config",
    "--spec-tokens": "speculative_config",
    "--device-memory-utilization": "gpu_memory_utilization",
    "--device-ids": "gpus",
}
#: What would leave the miner without answers, or a secret in the list of processes.
HARMFUL: dict[str, str] = {
    "-h": "it prints help and starts nothing",
    "--help": "it prints help and starts nothing",
    "--config": "a file could set anything unseen; write its lines as keys and into `extra`",
    "--headless": "it serves no HTTP",
    "--grpc": "the miner asks over HTTP",
    "--uds": "the miner asks over 127.0.0.1",
    "--ssl-keyfile": "the miner asks over plain HTTP, on 127.0.0.1 only",
    "--ssl-certfile": "the miner asks over plain HTTP, on 127.0.0.1 only",
    "--logprobs-mode": "p(yes) needs raw log-probabilities, which are the default",
    "--hf-token": "everybody can list it; set HF_TOKEN where the miner is started",
}
#: Variables that older guides set.
GONE_VARIABLES: dict[str, str] = {
    "VLLM_USE_V1": "there is one engine now; leave it out",
    "VLLM_ATTENTION_BACKEND": "write extra: [--attention-backend, ...]",
}


def gone(name: str) -> str | None:
    """What to write instead of a flag or key that vLLM does not have, None for any other."""
    flag = "--" + name.lstrip("-").replace("_", "-")
    return f"{flag} does not exist in vLLM: {GONE[flag]}" if flag in GONE else None


def check_extra(words: Sequence[str], keys: Collection[str], engine: str = "vllm") -> None:
    """Raise ServerCommandError for a further flag that must not be written as such.

    `keys` are the settings with a key of their own, by vLLM's names. vLLM's parser takes any clear
    abbreviation and any repetition without a word, so both are looked for here. Of other engines'
    flags only the form is checked.
    """
    if words and not _is_flag(words[0]):
        raise ServerCommandError(f"extra: {words[0]!r} is the value of no flag; begin with a flag")
    seen: set[str] = set()
    for word in filter(_is_flag, words):
        flag, given, _ = word.partition("=")
        if flag.startswith("--"):
            flag = flag.replace("_", "-").replace("--no-", "--", 1)
        if engine == "vllm" and (said := gone(flag)):
            raise ServerCommandError(f"extra: {said}")
        if given:
            raise ServerCommandError(f"extra: write flag and value as two words, not {word!r}")
        if engine == "vllm":
            _check_vllm(flag.partition(".")[0], word, keys)
        if flag in OURS:
            raise ServerCommandError(f"extra: {word} is given by the miner; take it out")
        if flag in seen:
            raise ServerCommandError(f"extra: {word} stands there twice; the last would win")
        seen.add(flag)


def check_variables(environment: Mapping[str, str], *, gpus_named: bool) -> None:
    """Raise ServerCommandError for a variable of a profile that is ours or that vLLM has not."""
    if "VLLM_API_KEY" in environment:
        raise ServerCommandError(
            "environment: VLLM_API_KEY is drawn anew by the miner at each start; take it out"
        )
    if gpus_named and "CUDA_VISIBLE_DEVICES" in environment:
        raise ServerCommandError("environment: CUDA_VISIBLE_DEVICES is made from `gpus`; take out "
                                 "one of the two")  # fmt: skip
    for name in sorted(environment.keys() & GONE_VARIABLES.keys()):
        raise ServerCommandError(
            f"environment: {name} does not exist in vLLM: {GONE_VARIABLES[name]}"
        )


def _check_vllm(flag: str, word: str, keys: Collection[str]) -> None:
    if flag in HARMFUL:
        raise ServerCommandError(f"extra: {word} must not be given: {HARMFUL[flag]}")
    typed = {"--" + key.replace("_", "-"): key for key in keys}
    if key := typed.get(flag) or ALIASES.get(flag):
        raise ServerCommandError(f"extra: {word} has a key of its own, {key}; use that")
    for known in (*typed, *OURS):
        if flag.startswith("--") and flag not in OURS and known.startswith(flag):
            raise ServerCommandError(f"extra: {word} abbreviates {known}; write it out")


def _is_flag(word: str) -> bool:
    if not word.startswith("-"):
        return False
    try:
        float(word)
    except ValueError:
        return True
    return False
