"""The commands of SGLang and LMDeploy. Neither engine is installed here: the expectations are
worked by hand from their documentation, and nothing was run."""

from __future__ import annotations

import pytest

from natix_miner.errors import ServerCommandError
from natix_miner.serving.command import command_of, environment_of
from natix_miner.serving.settings import ServerSettings


def words(engine, api_key="secret", **arguments):
    return command_of(
        ServerSettings(model="x", engine=engine, arguments=arguments),
        executable=f"/venv/bin/{engine}",
        model="/models/fast",
        revision="abc",
        served_name="fast",
        port=8101,
        api_key=api_key,
    )


def test_the_command_of_sglang():
    made = words(
        "sglang",
        quantization="fp8",
        tensor_parallel_size=2,
        gpu_memory_utilization=0.4,
        max_model_len=1024,
        max_num_seqs=16,
        max_num_queued_reqs=8,
        limit_mm_per_prompt={"image": 1, "video": 0},
        mm_processor_kwargs={"max_pixels": 262144},
        mm_encoder_tp_mode="data",
        enable_prefix_caching=False,
        enable_chunked_prefill=False,
        generation_config="vllm",
        trust_remote_code=True,
        extra=("--random-seed", "3"),
    )
    assert made == [
        *("/venv/bin/sglang", "-m", "sglang.launch_server", "--model-path", "/models/fast"),
        *("--host", "127.0.0.1", "--port", "8101", "--served-model-name", "fast"),
        *("--api-key", "secret", "--revision", "abc"),
        *("--quantization", "fp8", "--tp-size", "2", "--mem-fraction-static", "0.4"),
        *("--context-length", "1024", "--max-running-requests", "16"),
        *("--max-queued-requests", "8"),
        *("--limit-mm-data-per-request", '{"image":1,"video":0}'),
        *("--mm-process-config", '{"image":{"max_pixels":262144}}', "--mm-enable-dp-encoder"),
        *("--disable-radix-cache", "--chunked-prefill-size", "-1"),
        *("--sampling-defaults", "openai", "--trust-remote-code", "--random-seed", "3"),
    ]


def test_the_command_of_lmdeploy_switches_log_probabilities_on():
    made = words(
        "lmdeploy",
        dtype="bfloat16",
        max_model_len=1024,
        max_num_seqs=8,
        enable_prefix_caching=True,
        enforce_eager=True,
        extra=("--cache-max-entry-count", "0.5"),
    )
    assert made == [
        *("/venv/bin/lmdeploy", "serve", "api_server", "/models/fast"),
        *("--server-name", "127.0.0.1", "--server-port", "8101", "--model-name", "fast"),
        *("--logprobs-mode", "raw_logprobs", "--revision", "abc", "--api-keys", "secret"),
        *("--dtype", "bfloat16", "--session-len", "1024", "--max-batch-size", "8"),
        *("--enable-prefix-caching", "--eager-mode", "--cache-max-entry-count", "0.5"),
    ]


@pytest.mark.parametrize("engine", ["sglang", "lmdeploy"])
def test_without_a_key_there_is_no_flag_for_one(engine):
    assert not [word for word in words(engine, api_key="") if word.startswith("--api-key")]


@pytest.mark.parametrize("engine", ["sglang", "lmdeploy"])
def test_vllms_defaults_say_nothing_to_other_engines(engine):
    bare, spelled_out = words(engine), words(engine, enforce_eager=False, trust_remote_code=False)
    assert bare == spelled_out
    assert not [word for word in bare if "shutdown" in word]


@pytest.mark.parametrize(
    ("engine", "arguments", "said"),
    [
        ("sglang", {"kv_cache_memory_bytes": 1}, "sglang has no setting kv_cache_memory_bytes"),
        ("sglang", {"shutdown_timeout": 5}, "sglang has no setting shutdown_timeout"),
        ("sglang", {"enforce_eager": True}, "sglang has no setting enforce_eager"),
        ("sglang", {"limit_mm_per_prompt": {"image": {"count": 1}}}, "takes counts only"),
        ("sglang", {"generation_config": "elsewhere"}, "sglang has no 'elsewhere'"),
        ("lmdeploy", {"mm_encoder_tp_mode": "data"}, "lmdeploy has no setting mm_encoder_tp_mode"),
        ("lmdeploy", {"quantization": "awq"}, "lmdeploy has no setting quantization"),
        ("lmdeploy", {"enable_chunked_prefill": False}, "no setting enable_chunked_prefill"),
        ("sglang", {"extra": ("--tp-size", "2")}, "a key of its own, tensor_parallel_size"),
        ("lmdeploy", {"extra": ("--session-len", "9")}, "a key of its own, max_model_len"),
    ],
)
def test_what_an_engine_has_no_flag_for_is_refused_by_name(engine, arguments, said):
    with pytest.raises(ServerCommandError, match=said):
        words(engine, **arguments)


@pytest.mark.parametrize(
    ("engine", "extra"),
    [
        ("lmdeploy", ("--logprobs-mode", "raw_logits")),
        ("lmdeploy", ("--server-port", "1")),
        ("sglang", ("--model-path", "y")),
    ],
)
def test_what_the_miner_gives_an_engine_is_not_given_twice(engine, extra):
    with pytest.raises(ServerCommandError, match=f"{extra[0]}.* already; take it out"):
        words(engine, extra=extra)


def test_the_variable_of_vllm_is_not_set_for_others():
    settings = ServerSettings(model="x", engine="sglang")
    assert "VLLM_API_KEY" not in environment_of(settings, api_key="secret", local=True)
