"""The script that makes the tiny vision-language model: its folder, a training of a few steps."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "train_tiny_vlm.py"
    spec = importlib.util.spec_from_file_location("train_tiny_vlm", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def few_queries(tmp_path: Path) -> Path:
    folder = tmp_path / "queries"
    folder.mkdir()
    with (QUERIES / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["file"].startswith("cropped")][:4]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        shutil.copy(QUERIES / row["file"], folder)
    return folder


def test_an_untrained_folder_is_complete_and_follows_from_its_seed(
    script: ModuleType, tmp_path: Path
) -> None:
    from natix_miner.training.tiny_vlm.reference import Reference

    made = [tmp_path / name for name in ("one", "two", "three")]
    for folder, seed in zip(made, ("5", "5", "6"), strict=True):
        assert script.main(["--untrained", "--seed", seed, "--out", str(folder)]) == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in made]
    assert weights[0] == weights[1] != weights[2]
    yes, no = Reference(made[0]).masses(np.zeros((224, 224, 3), np.uint8), "Is it?")
    assert 0 < yes + no < 0.5  # it knows nothing yet
    shipped = ROOT / "models" / "tiny-vlm"
    for path in made[0].iterdir():
        if path.suffix in (".json", ".jinja") and path.name != "config.json":
            assert path.read_text() == (shipped / path.name).read_text(), path.name


def test_a_training_of_a_few_steps_writes_model_and_figures(
    script: ModuleType, tmp_path: Path, few_queries: Path
) -> None:
    out = tmp_path / "out"
    options = ["--trial", "--steps", "4", "--minutes", "5", "--looking", "0.5"]
    assert script.main([*options, "--queries", str(few_queries), "--out", str(out)]) == 0
    figures = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert set(figures) == {"drawn", "demo_queries", "narrower_questions"}
    assert figures["demo_queries"]["cropped"]["n"] == 4
    assert set(figures["narrower_questions"]["full-frame"]) == {"cones", "workers", "sign"}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_folder_without_manifest_is_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--trial", "--street", str(tmp_path), "--out", str(tmp_path / "out")]
    assert script.main(options) == 2
    assert "no manifest.csv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
