"""Commands through the installed vLLM's own parser; one run of it for all cases."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from natix_miner.errors import ServerCommandError
from natix_miner.profile import load_profile
from natix_miner.serving.check import NamedCommand, check_commands, interpreter_of
from natix_miner.serving.command import command_of
from natix_miner.serving.flags import GONE
from natix_miner.serving.settings import EngineArguments
from tests.scripts.deployed import chart_words, compose_words

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "models" / "tiny-vlm")
IN_FULL = "with its model's configuration"

#: Arguments that differ from the shipped profile's, and the words that vLLM has for them.
CHANGED = {
    "as shipped": ({}, "ok", IN_FULL),
    "unknown flag": ({"extra": ("--bogus", "1")}, "fault", "unrecognized arguments: --bogus 1"),
    "abbreviation": ({"extra": ("--max-cudagraph", "8")}, "fault", "unrecognized arguments"),
    "stray word": ({"extra": ("stray",)}, "fault", "unrecognized arguments: stray"),
    "bad json": ({"extra": ("--compilation-config", "{bad")}, "fault", "Invalid JSON"),
    "bad choice": ({"kv_cache_dtype": "fp9"}, "fault", "invalid choice: 'fp9'"),
    "bad parser": ({"reasoning_parser": "none"}, "fault", "Reasoning parser 'none' not found"),
    "bad quantisation": ({"quantization": "no"}, "fault", "Unknown quantization method: no."),
    "longer than the model": ({"max_model_len": 10**7}, "fault", "greater than the derived"),
    "batch below sequences": ({"max_num_batched_tokens": 8}, "fault", "max_num_seqs (16)"),
    "bad speculation": (
        {"speculative_config": {"method": "nonsense", "num_speculative_tokens": 2}},
        "fault",
        "Input should be 'ngram'",
    ),
    "lmcache": (
        {"kv_transfer_config": {"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}},
        "ok",
        IN_FULL,
    ),
}
#: What the refusals of gone flags recommend; the parser must know it.
RECOMMENDED = (
    ("--attention-backend", "FLASHINFER"),
    ("--max-cudagraph-capture-size", "32"),
    ("--kv-offloading-size", "1"),
    ("--runner", "generate", "--convert", "none"),
    ("--structured-outputs-config", "{}"),
    ("--no-enable-log-requests",),
    ("--decode-context-parallel-size", "1", "--prefill-context-parallel-size", "1"),
)
#: One value for every setting: vLLM must know all of their flags.
EVERY = {
    "dtype": "bfloat16",
    "quantization": "fp8",
    "tensor_parallel_size": 2,
    "gpu_memory_utilization": 0.5,
    "kv_cache_memory_bytes": 1 << 30,
    "kv_cache_dtype": "fp8",
    "block_size": 32,
    "max_model_len": 1024,
    "max_num_seqs": 16,
    "max_num_batched_tokens": 2048,
    "max_num_queued_reqs": 8,
    "limit_mm_per_prompt": {"image": {"count": 1, "width": 512, "height": 512}, "video": 0},
    "mm_processor_kwargs": {"max_pixels": 262144},
    "mm_encoder_tp_mode": "data",
    "enable_prefix_caching": False,
    "enable_chunked_prefill": False,
    "enforce_eager": True,
    "speculative_config": {"method": "ngram", "num_speculative_tokens": 2},
    "kv_transfer_config": {"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"},
    "reasoning_parser": "qwen3",
    "generation_config": "vllm",
    "shutdown_timeout": 5,
    "trust_remote_code": True,
}


@pytest.fixture(scope="module")
def checked(vllm_installed):
    settings = load_profile(ROOT / "configs" / "embedded-vlm.yaml").servers["tiny"]

    def command(name, arguments, **more):
        # As copies, so that what a profile could not even hold reaches the parser.
        changed = settings.model_copy(
            update={
                "arguments": settings.arguments.model_copy(update=arguments),
                "logprobs": "top",
            }
        )
        made = command_of(
            changed,
            executable=vllm_installed,
            model=TINY,
            revision=None,
            served_name="tiny",
            port=8000,
        )
        return NamedCommand(name, tuple(made), **{"model_folder": True, **more})

    sleepy = {"extra": ("--enable-sleep-mode",)}
    commands = [
        *(command(name, arguments) for name, (arguments, _, _) in CHANGED.items()),
        *(command(flag, {"extra": (flag, "1")}, model_folder=False) for flag in GONE),
        *(command(f[0], {"extra": f}, model_folder=False) for f in RECOMMENDED),
        command("every", EVERY, model_folder=False),
        command("needs a GPU", sleepy),
        command("needs a GPU elsewhere", sleepy, gpus=True),
        command("gone variable", {}, environment={"VLLM_USE_V1": "1"}),
        command("known variable", {}, environment={"VLLM_BATCH_INVARIANT": "0"}),
        command(
            "longer, and meant",
            {"max_model_len": 10**4},
            environment={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"},
        ),
        command("longer, and not", {"max_model_len": 10**4}),
        NamedCommand("compose file", tuple(compose_words()), model_folder=False, gpus=True),
        NamedCommand("helm chart", tuple(chart_words()), model_folder=False, gpus=True),
    ]
    version, results = check_commands(commands, interpreter_of(vllm_installed))
    assert version.startswith("0.")
    assert len(results) == len(commands)
    return {result.server: result for result in results}


@pytest.mark.vllm
@pytest.mark.timeout(240)
class TestOnVllm:
    """What vLLM itself says."""

    @pytest.mark.parametrize("case", CHANGED)
    def test_of_a_changed_command(self, checked, case):
        _, finding, said = CHANGED[case]
        assert checked[case].finding == finding, checked[case].said
        assert said in checked[case].said

    @pytest.mark.parametrize("flag", GONE)
    def test_of_a_flag_that_is_gone(self, checked, flag):
        assert checked[flag].finding == "fault"
        assert f"unrecognized arguments: {flag}" in checked[flag].said

    @pytest.mark.parametrize("flag", [words[0] for words in RECOMMENDED])
    def test_of_what_is_recommended_in_its_place(self, checked, flag):
        assert checked[flag].finding == "ok", checked[flag].said
        assert "its model is not on this machine" in checked[flag].said

    def test_of_every_setting_at_once(self, checked):
        assert set(EVERY) == set(EngineArguments.model_fields) - {"extra"}
        assert checked["every"].finding == "ok", checked["every"].said

    @pytest.mark.parametrize("where", ["compose file", "helm chart"])
    def test_of_the_commands_in_the_files_for_deployment(self, checked, where):
        assert checked[where].finding == "ok", checked[where].said

    def test_of_what_this_machine_cannot_have(self, checked):
        here, elsewhere = checked["needs a GPU"], checked["needs a GPU elsewhere"]
        if here.finding == "ok":
            pytest.skip("there is a GPU")
        assert here.finding == "fault"
        assert elsewhere.finding == "not-checked"
        assert "not supported on current platform" in elsewhere.said

    def test_of_variables(self, checked):
        assert checked["gone variable"].said == "vLLM has no variable VLLM_USE_V1"
        assert checked["known variable"].finding == "ok"
        assert checked["longer, and meant"].finding == "ok", checked["longer, and meant"].said
        assert checked["longer, and not"].finding == "fault"  # and the variable is gone again


def command(folder: Path) -> NamedCommand:
    return NamedCommand("x", (str(folder / "vllm"), "serve", "model"), model_folder=False)


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_an_interpreter_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ServerCommandError, match=r"cannot be run.*scripts/install_vllm\.sh"):
        check_commands([command(tmp_path)], tmp_path / "python")


def test_a_python_without_vllm_shows_its_last_lines(tmp_path):
    with pytest.raises(ServerCommandError, match=r"(?s)code 1.*No module named 'vllm'"):
        check_commands([command(tmp_path)], Path(sys.executable))


def test_a_parser_that_ends_without_a_word_is_no_success(tmp_path):
    silent = script(tmp_path / "python", "#!/bin/sh\necho 'only this'\n")
    with pytest.raises(ServerCommandError, match=r"(?s)code 0.*only this"):
        check_commands([command(tmp_path)], silent)


def test_a_parser_that_hangs_is_ended_with_its_children(tmp_path):
    pid_file = tmp_path / "pid"
    hanging = script(
        tmp_path / "python", f"#!/bin/sh\nsleep 60 &\necho $! > {pid_file}\nsleep 60\n"
    )
    with pytest.raises(ServerCommandError, match=r"had not ended after 0\.5 s"):
        check_commands([command(tmp_path)], hanging, seconds=0.5)
    patience = time.monotonic() + 5.0
    while _runs(int(pid_file.read_text())):
        assert time.monotonic() < patience, "the child of the parser lives on"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_interpreter_is_that_of_the_commands_first_line(tmp_path):
    vllm = script(tmp_path / "vllm", "#!/opt/vllm/bin/python3.12\nimport vllm\n")
    assert interpreter_of(vllm) == Path("/opt/vllm/bin/python3.12")


@pytest.mark.parametrize("first", ["#!/bin/sh", "#!/usr/bin/env python3", "no script"])
def test_else_it_is_the_one_beside_the_command(tmp_path, first):
    vllm = script(tmp_path / "vllm", f"{first}\n'''exec' ...\n")
    assert interpreter_of(vllm) == tmp_path / "python"
    assert interpreter_of(tmp_path / "gone") == tmp_path / "python"
