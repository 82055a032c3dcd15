"""What may not be written as a flag or key, and what the refusal says."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from natix_miner.serving.settings import ServerSettings

#: Flags that guides of earlier years give, and what does their work today.
TODAY = {
    "--speculative-model": "--speculative-config",
    "--num-speculative-tokens": "--speculative-config",
    "--use-v2-block-manager": "leave it out",
    "--speculators-version": "serve the speculator's repository",
    "--enable-lmcache": "--kv-transfer-config",
    "--override-backend": "--attention-backend",
    "--use-flashinfer": "--attention-backend",
    "--max-seq-len-to-capture": "--max-cudagraph-capture-size",
    "--swap-space": "--kv-offloading-size",
    "--task": "--runner",
    "--guided-decoding-backend": "--structured-outputs-config",
    "--disable-log-requests": "--no-enable-log-requests",
    "--calculate-kv-scales": "calibrated in the checkpoint",
    "--prefix-caching": "--enable-prefix-caching",
    "--context-parallel": "--decode-context-parallel-size",
    "--batch-invariance": "VLLM_BATCH_INVARIANT",
}


def server(engine="vllm", **arguments):
    return ServerSettings(model="x", engine=engine, arguments=arguments)


@pytest.mark.parametrize(("flag", "today"), TODAY.items())
def test_a_flag_that_is_gone_is_refused_with_what_to_write_today(flag, today):
    with pytest.raises(ValidationError) as refused:
        server(extra=(flag, "x"))
    assert f"{flag} does not exist in vLLM: " in str(refused.value)
    assert today in str(refused.value).partition("does not exist")[2]


@pytest.mark.parametrize(("flag", "today"), TODAY.items())
def test_and_so_it_is_as_a_key(flag, today):
    with pytest.raises(ValidationError) as refused:
        server(**{flag.removeprefix("--").replace("-", "_"): "x"})
    assert today in str(refused.value).partition("does not exist")[2]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--port", "1"), "--port is given by the miner"),
        (("--host", "0.0.0.0"), "--host is given by the miner"),
        (("--served-model-name", "x"), "--served-model-name is given by the miner"),
        (("--api-key", "x"), "--api-key is given by the miner"),
        (("--api_key", "x"), "--api_key is given by the miner"),
        (("--dtype", "auto"), "has a key of its own, dtype"),
        (("--quantization", "bitsandbytes"), "has a key of its own, quantization"),
        (("--max_model_len", "9"), "has a key of its own, max_model_len"),
        (("--no-enable-prefix-caching",), "has a key of its own, enable_prefix_caching"),
        (("--speculative-config.method", "ngram"), "has a key of its own, speculative_config"),
        (("--spec-method", "ngram"), "has a key of its own, speculative_config"),
        (("-sc", "{}"), "has a key of its own, speculative_config"),
        (("-tp", "2"), "has a key of its own, tensor_parallel_size"),
        (("--device-memory-utilization", "1"), "a key of its own, gpu_memory_utilization"),
        (("--max-model", "9"), "--max-model abbreviates --max-model-len"),
        (("--no-enable-pref",), "--no-enable-pref abbreviates --enable-prefix-caching"),
        (("--seed=3",), "two words"),
        (("--seed", "3", "--seed", "4"), "--seed stands there twice"),
        (("--async-scheduling", "--no-async-scheduling"), "stands there twice"),
        (("--speculative_model", "x"), "does not exist in vLLM"),
        (("--speculative-model=x",), r"--speculative-model does not exist in vLLM"),
        (("--no-calculate-kv-scales",), "--calculate-kv-scales does not exist in vLLM"),
        (("stray",), "is the value of no flag"),
        (("--config", "more.yaml"), "could set anything unseen"),
        (("--ssl-keyfile", "key"), "plain HTTP"),
        (("--logprobs-mode", "processed_logits"), "needs raw log-probabilities"),
        (("--hf-token", "hf_x"), "everybody can list it"),
        (("--help",), "starts nothing"),
    ],
)
def test_traps_among_further_flags_are_refused(extra, said):
    with pytest.raises(ValidationError, match=said):
        server(extra=extra)


@pytest.mark.parametrize(
    "extra",
    [
        ("--seed", "-1"),
        ("--max-cudagraph-capture-size", "32"),
        ("--no-enable-log-requests",),
        ("--compilation-config", '{"cudagraph_capture_sizes":[1,2]}'),
        ("--hf-overrides.a", "1", "--hf-overrides.b", "2"),
        ("--kv-cache-dtype-skip-layers", "0", "1"),
        ("-O3",),
    ],
)
def test_other_flags_are_let_through(extra):
    assert server(extra=extra).arguments.extra == extra


def test_of_another_engines_flags_only_the_form_is_checked():
    assert server("sglang", extra=("--enable-lmcache",)).arguments.extra == ("--enable-lmcache",)
    with pytest.raises(ValidationError, match="--port is given by the miner"):
        server("sglang", extra=("--port", "1"))
    with pytest.raises(ValidationError, match="--api-keys is given by the miner"):
        server("lmdeploy", extra=("--api-keys", "x"))
    with pytest.raises(ValidationError, match="stands there twice"):
        server("lmdeploy", extra=("--ep", "1", "--ep", "2"))
