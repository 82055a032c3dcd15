"""What experts of the miner's own process take: computed from settings, and measured by loading."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from natix_miner.catalogue import Catalogue, load_catalogue
from natix_miner.experts.family import family_of
from natix_miner.serving.in_process import PROCESS_GB, UNKNOWN_GB, taken_by_experts, weights_of
from natix_miner.serving.measured import load_here, measure

ROOT = Path(__file__).parents[2]


def row(**more: Any) -> dict[str, Any]:
    return {
        "name": "A detector",
        "kind": "detector",
        "checkpoints": [{"format": "fp32", "repository": "org/detector"}],
        "licence": {"name": "MIT"},
        "evidence": "verified",
        "source": "made for a test",
        **more,
    }


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    saved = [{"format": "fp32", "repository": "org/stated", "gigabytes": 2.0}]
    return Catalogue.model_validate(
        {
            "as_of": "2026-11-21",
            "models": {
                "detector": row(parameters={"total": 0.5}),
                "stated": row(checkpoints=saved),
                "passing": row(parameters={"total": 0.5}, pass_gb=3.0),
                "depth": row(kind="depth", parameters={"total": 0.1}),
                "bare": row(),
            },
        }
    )


def settings(kind: str = "open-vocabulary", **more: Any) -> Any:
    return family_of(kind).settings.model_validate({"type": kind, **more})


def saved(folder: Path, numbers: int) -> Path:
    """A saved model of so many fp32 numbers: a header and nothing behind it."""
    folder.mkdir()
    header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (numbers, 4 * numbers)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("section", "gigabytes"),
    [
        ({"model": "detector"}, 2.0),  # half a billion of four bytes
        ({"model": "detector", "device": "cuda:0", "precision": "bf16"}, 1.0),
        ({"model": "detector", "device": "cuda:0", "precision": "fp16"}, 1.0),
        ({"model": "stated"}, 2.0),
        ({"model": "stated", "precision": "bf16"}, 1.0),  # by the file's size, halved
        ({"model": "org/detector"}, 2.0),
        ({"model": "bare"}, None),
        ({"model": "stranger/detector", "revision": "0" * 40}, None),
        ({"folder": "nowhere"}, None),
    ],
)
def test_weights_are_counted_in_the_experts_precision(catalogue, tmp_path, section, gigabytes):
    (found,) = weights_of(settings(**section), catalogue, tmp_path)
    assert found.gigabytes == (None if gigabytes is None else pytest.approx(gigabytes))


@pytest.mark.parametrize(("precision", "bytes_each"), [("fp32", 4), ("bf16", 2)])
def test_a_folder_is_measured_by_its_tensors(catalogue, tmp_path, precision, bytes_each):
    saved(tmp_path / "mine", 1_000_000)
    section = settings(folder="mine", precision=precision)
    (found,) = weights_of(section, catalogue, tmp_path)
    assert found.gigabytes == pytest.approx(bytes_each * 1e6 / 1e9)


@pytest.mark.parametrize(("precision", "gigabytes"), [("fp32", 0.002), ("fp16", 0.001)])
def test_a_file_of_ultralytics_counts_by_its_size(catalogue, tmp_path, precision, gigabytes):
    """Saved in half precision, so that fp32 takes twice as much."""
    (tmp_path / "weights.pt").write_bytes(bytes(1_000_000))
    section = settings("ultralytics", file="weights.pt", device="cuda:1", precision=precision)
    assert taken_by_experts({"yolo": section}, catalogue, tmp_path) == {
        1: pytest.approx(PROCESS_GB + gigabytes)
    }


def test_the_file_of_an_embedded_expert_is_measured(catalogue):
    network = settings("embedded-network", model="../models/embedded/network.onnx")
    (found,) = weights_of(network, catalogue, ROOT / "configs")
    size = (ROOT / "models" / "embedded" / "network.onnx").stat().st_size
    assert (found.device, found.gigabytes) == ("cpu", pytest.approx(size / 1e9))


def test_nested_models_count_where_they_run(catalogue, tmp_path):
    both = {"model": "detector", "device": "cuda:0"}
    on_cpu = settings(**both, depth={"model": "depth"})
    assert taken_by_experts({"x": on_cpu}, catalogue, tmp_path) == {
        0: pytest.approx(PROCESS_GB + 2.0)
    }
    beside = settings(**both, depth={"model": "depth", "device": "cuda:1"})
    assert taken_by_experts({"x": beside}, catalogue, tmp_path) == {
        0: pytest.approx(PROCESS_GB + 2.0),
        1: pytest.approx(PROCESS_GB + 0.4),
    }


def test_what_two_experts_share_counts_once_and_its_passes_twice(catalogue, tmp_path):
    def one(**more: Any) -> Any:
        return settings(model="passing", device="cuda:0", precision="bf16", batch=2, **more)

    alone = taken_by_experts({"a": one()}, catalogue, tmp_path)
    assert alone == {0: pytest.approx(PROCESS_GB + 1.0 + 3.0)}  # 3 GB in fp32, halved, two at once
    shared = taken_by_experts({"a": one(), "b": one(threshold=0.5)}, catalogue, tmp_path)
    assert shared == {0: pytest.approx(PROCESS_GB + 1.0 + 6.0)}


def test_unknown_weights_count_three_gigabytes_and_the_cpu_nothing(catalogue, tmp_path):
    bare = settings(model="bare", device="cuda")
    assert taken_by_experts({"x": bare}, catalogue, tmp_path) == {
        0: pytest.approx(PROCESS_GB + UNKNOWN_GB)
    }
    assert taken_by_experts({"x": settings(model="bare")}, catalogue, tmp_path) == {}


def test_a_shared_process_counts_once_a_gpu(catalogue, tmp_path):
    two = {"a": settings(model="detector", device="cuda:0"),
           "b": settings(model="stated", device="cuda:0")}  # fmt: skip
    assert taken_by_experts(two, catalogue, tmp_path) == {0: pytest.approx(PROCESS_GB + 4.0)}


def test_the_shipped_gpu_profiles_count_what_the_catalogue_says():
    """24 GB: SigLIP 2 (375 M) and D-FINE-X (63 M) in two bytes each."""
    from natix_miner.profile import load_profile

    profile = load_profile(ROOT / "configs" / "gpu-24g.yaml")
    shipped = load_catalogue(ROOT / "models" / "catalogue.yaml")
    taken = taken_by_experts(profile.experts, shipped, profile.folder)
    assert taken == {0: pytest.approx(1.5 + 0.750 + 0.126, abs=0.001)}


def test_loading_in_a_fresh_process_tells_what_it_took():
    network = settings("embedded-network", model="../models/embedded/network.onnx")
    catalogue = ROOT / "models" / "catalogue.yaml"
    took = measure("network", network, ROOT / "configs", catalogue)
    assert took.error is None
    # More than the file of 0.9 MB: the runtime comes with it. torch is not imported.
    assert 1.0 < took.resident < 400.0
    assert took.peak >= took.resident
    assert took.libraries < 5.0
    assert took.on_gpu is None
    assert 0.0 < took.seconds < 60.0


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_the_memory_that_is_measured_is_the_models(tmp_path):
    folder = classifier(tmp_path / "vit", 1024)
    size = (folder / "model.safetensors").stat().st_size / 1e6
    section = settings("image-classifier", folder=str(folder))
    took = measure("vit", section, tmp_path, tmp_path / "no")
    assert took.error is None
    assert took.libraries > 50.0, "torch and transformers, told by themselves"
    assert size > 90.0
    assert 0.9 * size < took.resident < size + 300.0


def classifier(folder: Path, width: int) -> Path:
    """A genuine ViT of two layers with the labels None and Roadwork."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=4 * width,
        image_size=32,
        patch_size=16,
        id2label={0: "None", 1: "Roadwork"},
        label2id={"None": 0, "Roadwork": 1},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_what_cannot_be_loaded_says_why(tmp_path):
    missing = settings("embedded-network", model="none.onnx")
    took = measure("network", missing, tmp_path, tmp_path / "catalogue.yaml")
    assert took.error is not None
    assert "no network at" in took.error


def test_a_process_that_is_killed_is_told(tmp_path, monkeypatch):
    """A pickle that ends the fresh process stands for the kernel's killer."""
    monkeypatch.setattr("natix_miner.serving.measured.load_here", _die)
    network = settings("embedded-network", model="none.onnx")
    took = measure("network", network, tmp_path, tmp_path / "catalogue.yaml")
    assert took.error == "the process ended while loading: killed for want of memory?"


def _die(*_: object) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_library_raises_is_told_too(tmp_path, monkeypatch):
    async def broken(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr("natix_miner.serving.measured._start", broken)
    network = settings("embedded-network", model="none.onnx")
    took = load_here("network", network, tmp_path, tmp_path / "catalogue.yaml")
    assert took.error == "AttributeError: no such thing"


def test_a_gpu_that_is_not_there_is_told(tmp_path):
    section = settings(folder=str(tmp_path), device="cuda:0")
    saved(tmp_path / "mine", 10)
    took = load_here(
        "x", section.model_copy(update={"folder": tmp_path / "mine"}), tmp_path, tmp_path
    )
    assert took.error is not None


def test_shipped_rows_and_yaml_agree():
    """The catalogue's own bytes a pass are those the planner multiplies."""
    content = yaml.safe_load((ROOT / "models" / "catalogue.yaml").read_text())["models"]
    assert content["llmdet-large"]["pass_gb"] == pytest.approx(
        7.5 * 2**30 / 1e9 - 4 * 0.342, abs=0.05
    )
