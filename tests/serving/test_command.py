"""From settings to the words of `vllm serve`, its environment, and where it is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from natix_miner.errors import ServerCommandError
from natix_miner.serving.command import command_of, environment_of, find_executable
from natix_miner.serving.settings import EngineArguments, ServerSettings


def words(settings, **more):
    start = {
        "executable": Path("/venv/bin/vllm"),
        "model": "/models/fast",
        "revision": None,
        "served_name": "fast",
        "port": 8101,
        "api_key": "secret",
    }
    return command_of(settings, **{**start, **more})


def server(**arguments):
    return ServerSettings(model="../models/fast", arguments=EngineArguments(**arguments))


def test_the_command_of_the_published_recipe():
    settings = server(
        gpu_memory_utilization=0.18,
        kv_cache_memory_bytes=1 << 30,
        max_model_len=1024,
        max_num_seqs=16,
        max_num_batched_tokens=2048,
        limit_mm_per_prompt={"image": {"count": 1, "width": 512, "height": 512}, "video": 0},
        mm_processor_kwargs={"min_pixels": 262144, "max_pixels": 262144},
        extra=("--max-cudagraph-capture-size", "32"),
    )
    assert words(settings) == [
        "/venv/bin/vllm",
        "serve",
        "/models/fast",
        *("--host", "127.0.0.1", "--port", "8101", "--served-model-name", "fast"),
        *("--gpu-memory-utilization", "0.18", "--kv-cache-memory-bytes", "1073741824"),
        *("--max-model-len", "1024", "--max-num-seqs", "16", "--max-num-batched-tokens", "2048"),
        "--limit-mm-per-prompt",
        '{"image":{"count":1,"width":512,"height":512},"video":0}',
        "--mm-processor-kwargs",
        '{"min_pixels":262144,"max_pixels":262144}',
        *("--generation-config", "vllm", "--shutdown-timeout", "5"),
        *("--max-cudagraph-capture-size", "32"),
    ]


def test_a_revision_and_switches():
    made = words(
        server(enable_prefix_caching=False, enforce_eager=True, tensor_parallel_size=2),
        revision="abc",
    )
    assert made[made.index("--revision") + 1] == "abc"
    assert made[made.index("--tensor-parallel-size") + 1] == "2"
    assert "--no-enable-prefix-caching" in made
    assert "--enforce-eager" in made


MAPPINGS = st.none() | st.dictionaries(
    st.text(max_size=8), st.integers() | st.text(max_size=8) | st.booleans(), max_size=3
)
COUNTS = st.none() | st.integers(1, 2**40)
SWITCHES = st.none() | st.booleans()
ANY_VALUE = {
    "dtype": st.sampled_from([None, "auto", "float32"]),
    "quantization": st.sampled_from([None, "fp8", "awq"]),
    "tensor_parallel_size": st.integers(1, 8),
    "gpu_memory_utilization": st.none() | st.floats(0.01, 1.0),
    "kv_cache_memory_bytes": COUNTS,
    "kv_cache_dtype": st.sampled_from([None, "fp8"]),
    "block_size": COUNTS,
    "max_model_len": COUNTS,
    "max_num_seqs": COUNTS,
    "max_num_batched_tokens": COUNTS,
    "max_num_queued_reqs": st.none() | st.integers(0, 9),
    "limit_mm_per_prompt": MAPPINGS,
    "mm_processor_kwargs": MAPPINGS,
    "mm_encoder_tp_mode": st.sampled_from([None, "weights", "data"]),
    "enable_prefix_caching": SWITCHES,
    "enable_chunked_prefill": SWITCHES,
    "enforce_eager": st.booleans(),
    "speculative_config": MAPPINGS,
    "kv_transfer_config": MAPPINGS,
    "reasoning_parser": st.sampled_from([None, "qwen3"]),
    "generation_config": st.sampled_from([None, "vllm", "auto"]),
    "shutdown_timeout": st.none() | st.integers(0, 60),
    "trust_remote_code": st.booleans(),
}
#: vLLM's own defaults, said by no word.
VLLM_DEFAULTS = {"tensor_parallel_size": 1, "enforce_eager": False, "trust_remote_code": False}


def read_back(rest):
    """What the words after the fixed ones say, by key: the other way round than the code."""
    said = {}
    remaining = list(rest)
    while remaining:
        flag = remaining.pop(0)
        assert flag.startswith("--")
        takes_value = bool(remaining) and not remaining[0].startswith("--")
        key = flag.removeprefix("--no-").removeprefix("--").replace("-", "_")
        assert key not in said
        said[key] = remaining.pop(0) if takes_value else not flag.startswith("--no-")
    return said


def test_every_setting_is_tried_below():
    assert set(ANY_VALUE) == set(EngineArguments.model_fields) - {"extra"}


@given(arguments=st.fixed_dictionaries(ANY_VALUE))
def test_any_settings_can_be_read_back_from_the_words(arguments):
    settings = ServerSettings(model="x", arguments=arguments, logprobs="top")
    made = words(settings)
    assert made[:3] == ["/venv/bin/vllm", "serve", "/models/fast"]
    assert made[3:9] == ["--host", "127.0.0.1", "--port", "8101", "--served-model-name", "fast"]
    said = read_back(made[9:])
    for key, value in arguments.items():
        if value is None or VLLM_DEFAULTS.get(key, ...) == value:
            assert key not in said
        elif isinstance(value, bool):
            assert said[key] is value
        elif isinstance(value, dict):
            assert json.loads(said[key]) == value
        else:
            assert type(value)(said[key]) == value
    assert len(said) <= len(arguments)


def test_the_key_stands_in_the_environment_and_not_in_the_command():
    settings = server()
    assert "secret" not in words(settings)
    assert environment_of(settings, api_key="secret", local=True)["VLLM_API_KEY"] == "secret"


def test_the_environment_shows_the_gpus_as_nvidia_smi_counts_them_and_keeps_silent_about_us():
    settings = ServerSettings(
        model="x",
        gpus=(0, 2),
        arguments={"tensor_parallel_size": 2},
        environment={"DO_NOT_TRACK": "yes", "MINE": "1"},
    )
    made = environment_of(settings, api_key="k", local=False)
    assert made["CUDA_VISIBLE_DEVICES"] == "0,2"
    assert made["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert made["VLLM_NO_USAGE_STATS"] == "1"
    assert (made["DO_NOT_TRACK"], made["MINE"]) == ("yes", "1")  # the profile has the last word
    assert "HF_HUB_OFFLINE" not in made
    local = environment_of(settings, api_key="k", local=True)
    assert (local["HF_HUB_OFFLINE"], local["TRANSFORMERS_OFFLINE"]) == ("1", "1")


def test_without_gpus_nothing_is_hidden():
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(server(), api_key="k", local=True)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("VLLM_API_KEY", "drawn anew by the miner"),
        ("CUDA_VISIBLE_DEVICES", "made from `gpus`"),
        ("VLLM_ATTENTION_BACKEND", r"does not exist in vLLM: .*--attention-backend"),
        ("VLLM_USE_V1", "does not exist in vLLM: there is one engine now"),
    ],
)
def test_variables_that_are_ours_or_gone_are_refused(variable, said):
    settings = ServerSettings(model="x", gpus=(1,), environment={variable: "1"})
    with pytest.raises(ServerCommandError, match=said):
        environment_of(settings, api_key="k", local=True)


def test_speculation_and_one_token_answers_do_not_go_together():
    speculating = server(speculative_config={"method": "ngram", "num_speculative_tokens": 4})
    with pytest.raises(ServerCommandError, match="an answer is one token"):
        words(speculating)
    assert "--speculative-config" in words(speculating.model_copy(update={"logprobs": "top"}))


def test_quantisation_that_was_taken_out_is_refused():
    with pytest.raises(ServerCommandError, match=r"taken out of vLLM in 0\.28"):
        words(server(quantization="bitsandbytes"))


def test_a_remote_server_has_no_command():
    with pytest.raises(ServerCommandError, match="somebody else's"):
        words(ServerSettings(model="x", base_url="http://10.0.0.5:8000"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "http://x", "gpus": [0]}, "is not spawned"),
        ({"gpus": [0, 1]}, "needs as many gpus"),
        ({"api_key_file": "key"}, "is for a `base_url`"),
        ({"modle": "y"}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        ServerSettings(**{"model": "x", **settings})


def test_the_executable_beside_the_profiles_is_found_without_following_links(tmp_path):
    (tmp_path / ".venv-vllm" / "bin").mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("")
    command = tmp_path / ".venv-vllm" / "bin" / "vllm"
    command.symlink_to(tmp_path / "elsewhere")
    assert find_executable(ServerSettings(model="x"), tmp_path / "configs") == command


@pytest.mark.parametrize("engine", ["vllm", "lmdeploy"])
def test_an_engine_on_the_search_path_is_found(tmp_path, monkeypatch, engine):
    command = tmp_path / engine
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_executable(ServerSettings(model="x", engine=engine), tmp_path / "configs")
    assert found == command


def test_the_profiles_own_executable_comes_first_and_counts_from_its_folder(tmp_path):
    own = tmp_path / "own" / "vllm"
    own.parent.mkdir()
    own.write_text("")
    settings = ServerSettings(model="x", executable="own/vllm")
    assert find_executable(settings, tmp_path) == own


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"scripts/install_vllm\.sh"),
        ({"engine": "sglang"}, "name that one's Python in `executable`"),
        ({"engine": "lmdeploy"}, "lmdeploy is not installed"),
        ({"executable": "nowhere/vllm"}, "no executable at .*nowhere/vllm"),
    ],
)
def test_a_missing_engine_says_what_to_do(tmp_path, monkeypatch, settings, said):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerCommandError, match=said):
        find_executable(ServerSettings(model="x", **settings), tmp_path)
