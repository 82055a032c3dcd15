"""Why an engine ended, from lines that vLLM 0.32 wrote when it was provoked."""

from __future__ import annotations

import pytest

from natix_miner.serving.causes import find_cause, with_last_lines

TRACE = [
    '  File "vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup',
    "    raise RuntimeError(",
    "RuntimeError: Engine core initialization failed. See root cause above.",
    "warden: the engine ended by itself (exit code 1)",
]
HARMLESS = [
    "W1121 03:47:58.683000 18193 torch/_library/triton.py:53] SomeError: Triton not available",
    "(APIServer pid=9) WARNING 11-21 03:47:58 [system_utils.py:255] Found ulimit of 20000. This "
    "can cause fd limit errors like `OSError: [Errno 24] Too many open files`.",
    "(APIServer pid=9) INFO 11-21 03:47:58 [x.py:1] on CUDA out of memory set this",
]


@pytest.mark.parametrize(
    ("line", "said", "lasting"),
    [
        ("vllm: error: unrecognized arguments: --speculative-model x", "serve check", True),
        (
            "vllm serve: error: argument --dtype: invalid choice: 'floot' (choose from 'auto')",
            "serve check",
            True,
        ),
        (
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached "
            "snapshot folder for the specified revision on the local disk",
            "models fetch",
            True,
        ),
        (
            "  Value error, Invalid repository ID or local directory specified: '/models/empty'.",
            "models fetch",
            True,
        ),
        (
            "(Worker pid=19395) ERROR 11-21 03:50:45 [multiproc_executor.py:953] safetensors."
            "_safetensors_rust.SafetensorError: Error while deserializing header: incomplete",
            "models fetch",
            True,
        ),
        (
            "OSError: Can't load image processor for '/models/x'. If you were trying to load it",
            "models fetch",
            True,
        ),
        ("OSError: [Errno 98] Address already in use", "choose another `port`", False),
        (
            "(Worker pid=1) ERROR 11-21 03:51:17 [multiproc_executor.py:1063] ValueError: Available"
            " memory on node 0 (7.07/9.84 GiB) on kv cache allocation is less than requested memory"
            " for kv (92200.93 GiB). Decrease --kv-cache-memory-bytes",
            "natix-miner plan",
            False,
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate",
            "natix-miner plan",
            False,
        ),
        (
            "ValueError: Free memory on device cuda:0 (3.2/79.1 GiB) on startup is less than "
            "desired GPU memory utilization (0.9, 71.2 GiB).",
            "natix-miner plan",
            False,
        ),
        ("warden: cannot run /venv/bin/vllm: Permission denied", "install the engine", True),
        ("RuntimeError: Failed to infer device type, please set", "check the driver", True),
        ("pydantic_core.ValidationError: 1 validation error for VllmConfig", "serve check", True),
    ],
)
def test_the_line_that_matters_is_found_above_the_stack_that_hides_it(line, said, lasting):
    cause = find_cause([*HARMLESS, line, *TRACE])
    assert said in cause.sentence
    assert line[:200] in cause.sentence
    assert cause.lasting is lasting


def test_of_an_unknown_cause_the_first_error_is_told():
    lines = [
        *HARMLESS,
        "(EngineCore pid=7) ERROR 11-21 03:51 [core.py:1] a.b.OddError: odd",
        *TRACE,
    ]
    cause = find_cause(lines)
    assert cause.sentence.endswith("a.b.OddError: odd")
    assert not cause.lasting


def test_harmless_lines_are_no_cause():
    assert find_cause(HARMLESS) is None


def test_a_kill_from_outside_is_named():
    cause = find_cause([*HARMLESS, "warden: the engine ended by itself (signal SIGKILL)"])
    assert "memory ran out" in cause.sentence
    assert not cause.lasting


def test_the_last_lines_are_few_and_short():
    text = with_last_lines("it ended", ["x" * 10_000] * 100, "fast.log")
    assert text.startswith("it ended; the last lines of fast.log:\n")
    assert len(text.splitlines()) == 16
    assert len(text) < 7000
    assert with_last_lines("it ended", [], "fast.log") == "it ended (nothing in its log fast.log)"
