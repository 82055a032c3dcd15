"""Sizes of models in folders, by their files; what experts in the miner's own process take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from natix_miner.catalogue import load_catalogue
from natix_miner.errors import PlanError
from natix_miner.experts.families.image_classifier import ImageClassifierSettings
from natix_miner.serving.cards import gpus_here
from natix_miner.serving.in_process import PROCESS_GB, UNKNOWN_GB, taken_by_experts
from natix_miner.serving.memory import ModelSize
from natix_miner.serving.settings import ServerSettings
from natix_miner.serving.sizes import Unplannable, size_of, size_of_folder

ROOT = Path(__file__).parents[2]
CATALOGUE = load_catalogue(ROOT / "models" / "catalogue.yaml")
TINY = ROOT / "models" / "tiny-vlm"

CONFIGURATION = {
    "model_type": "qwen3_vl",
    "text_config": {
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "vocab_size": 1000,
        "dtype": "bfloat16",
    },
    "vision_config": {"hidden_size": 128},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "model"
    where.mkdir()
    (where / "config.json").write_text(json.dumps(CONFIGURATION))
    first = {"model.visual.patch.weight": np.zeros((10, 10), np.float32)}
    save_file(first, where / "a.safetensors")
    second = {
        "model.layers.0.weight": np.zeros((100, 30), np.float16),
        "model.layers.0.packed": np.zeros(500, np.uint8),
    }
    save_file(second, where / "b.safetensors")
    return where


@pytest.mark.parametrize(
    ("dtype", "floats"), [("auto", 2), (None, 2), ("float32", 4), ("float16", 2)]
)
def test_floats_count_as_wide_as_they_are_served_and_packed_weights_as_they_are(
    folder, dtype, floats
):
    size = size_of_folder(folder, dtype)
    assert size.weights == (100 + 3000) * floats + 500
    assert size.vision == 100 * floats


def test_the_shape_comes_from_the_configuration(folder):
    size = size_of_folder(folder, None)
    assert size.elements_per_token == 2 * 4 * 2 * 64
    assert (size.hidden, size.intermediate, size.vocabulary) == (256, 1024, 1000)
    assert (size.kv_heads, size.vision_hidden, size.name) == (2, 128, "model")


def test_layers_with_linear_attention_cache_nothing(folder):
    text = {**CONFIGURATION["text_config"], "layer_types": ["linear_attention"] * 3 + ["full"]}
    (folder / "config.json").write_text(json.dumps({"text_config": text}))
    assert size_of_folder(folder, None).elements_per_token == 2 * 1 * 2 * 64


def test_the_shipped_tiny_model():
    """Its parameters counted by the safetensors library, four bytes each as it is served."""
    with safe_open(TINY / "model.safetensors", "numpy") as file:
        names = file.keys()
        parameters = sum(int(np.prod(file.get_slice(name).get_shape())) for name in names)
    settings = ServerSettings.model_validate(
        {"model": "../models/tiny-vlm", "arguments": {"dtype": "float32"}}
    )
    size = size_of(settings, CATALOGUE, ROOT / "configs")
    assert isinstance(size, ModelSize)
    assert size.weights == 4 * parameters
    assert size.has_shape
    assert 0 < size.vision < size.weights


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: [p.unlink() for p in f.glob("*.safetensors")], "no *.safetensors"),
        (lambda f: (f / "a.safetensors").write_bytes(b""), "is no safetensors file"),
        (lambda f: (f / "a.safetensors").write_bytes(b"\xff" * 64), "is no safetensors file"),
        (
            lambda f: (f / "a.safetensors").write_bytes(b"\x0e" + b"\0" * 7 + b'{"x": {"a":1}}'),
            "is no safetensors file",
        ),
    ],
)
def test_a_folder_that_cannot_be_measured_is_told_and_refused_in_a_plan(folder, spoil, said):
    spoil(folder)
    with pytest.raises(PlanError) as raised:
        size_of_folder(folder, None)
    assert said in str(raised.value)
    found = size_of(ServerSettings(model=str(folder)), CATALOGUE, ROOT)
    assert isinstance(found, Unplannable)
    assert said in found.reason


def test_experts_on_a_gpu_take_their_weights_and_one_process(folder):
    def expert(**settings: object) -> ImageClassifierSettings:
        return ImageClassifierSettings.model_validate(settings)

    hub = {"model": "natix-network-org/roadwork", "revision": "a" * 40}
    taken = taken_by_experts(
        {
            "known": expert(**hub, device="cuda:0"),
            "again": expert(**hub, device="cuda"),
            "mine": expert(folder=folder, device="cuda:1"),
            "nobody-s": expert(model="stranger/net", revision="b" * 40, device="cuda:1"),
            "here": expert(**hub),
        },
        CATALOGUE,
        ROOT,
    )
    assert taken == {
        # 343.2 MB of weights, held once for both experts.
        0: pytest.approx(PROCESS_GB + 0.3432, abs=0.001),
        1: pytest.approx(PROCESS_GB + UNKNOWN_GB, abs=0.001),
    }


DOUBLE = """#!/bin/sh
# A double of the driver's tool: answers as it does on a machine with two cards.
[ "$1" = --query-gpu=memory.total ] && [ "$2" = --format=csv,noheader,nounits ] || exit 9
{body}
"""


@pytest.fixture
def tool(tmp_path: Path):
    def write(body: str) -> str:
        path = tmp_path / "nvidia-smi"
        path.write_text(DOUBLE.replace("{body}", body))
        path.chmod(0o755)
        return str(path)

    return write


def test_gpus_are_what_the_driver_tells(tool):
    assert gpus_here(tool("echo 81559; echo 24564")) == (
        pytest.approx(81559 * 1.048576e6 / 1e9),
        pytest.approx(25.757, abs=0.001),
    )
    assert gpus_here("no-such-command-here") == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'driver mismatch' >&2; exit 1", "driver mismatch"),
        ("echo '[N/A]'", "for memory in MiB"),
    ],
)
def test_a_driver_that_fails_is_no_machine_without_gpus(tool, body, said):
    with pytest.raises(PlanError) as raised:
        gpus_here(tool(body))
    assert said in str(raised.value)
