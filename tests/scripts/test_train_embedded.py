"""A training of a few seconds through the real script, on drawn scenes alone."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("safetensors")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "train_embedded.py"
    spec = importlib.util.spec_from_file_location("train_embedded", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folders(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    for out in made:
        options = ["--trial", "--steps", "6", "--seed", "5", "--out", str(out)]
        assert script.main(options) == 0
    return made[0], made[1]


def test_two_runs_with_one_seed_agree(folders: tuple[Path, Path]) -> None:
    for name in ("network.onnx", "network.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_onnx_and_torch_agree_on_pictures_of_any_size(folders: tuple[Path, Path]) -> None:
    from natix_miner.training.export import load_weights

    network = load_weights(folders[0] / "network.safetensors")
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folders[0] / "network.onnx"), providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 224, 224), (2, 3, 252, 448), (3, 3, 33, 70)):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        logit, patches = session.run(["logit", "patch_logits"], {"pixels": pixels})
        with torch.inference_mode():
            expected, expected_patches = network(torch.from_numpy(pixels))
        assert logit.shape == (shape[0],)
        assert patches.shape == (shape[0], -(-shape[2] // 8), -(-shape[3] // 8))
        assert np.abs(logit - expected.numpy()).max() < 1e-4
        assert np.abs(patches - expected_patches.numpy()).max() < 1e-4


def test_the_description_matches_the_files(folders: tuple[Path, Path]) -> None:
    told = json.loads((folders[0] / "network.json").read_text(encoding="utf-8"))
    onnx = (folders[0] / "network.onnx").read_bytes()
    assert told["version"] == hashlib.sha256(onnx).hexdigest()
    assert told["training"]["steps"] == 6
    assert told["training"]["real_pictures"] == 0
    assert told["parameters"] < 2_000_000
    assert set(told["figures"]) == {"drawn"}
    assert told["calibration"]["slope"] > 0
    sizes = [path.stat().st_size for path in folders[0].iterdir()]
    assert sum(sizes) < 4 * 1024 * 1024


def test_a_folder_without_manifest_is_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--trial", "--street", str(tmp_path), "--out", str(tmp_path / "out")]
    assert script.main(options) == 2
    assert "no manifest.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
