"""The ablation of the front-end: figures against scikit-learn and by hand, on bundled pictures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "natix_miner" / "demo" / "queries"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "ablate_front_end.py"
    spec = importlib.util.spec_from_file_location("ablate_front_end", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.DRAWS = 200  # of the bootstrap; enough for what is claimed here
    return module


def test_the_interval_of_no_difference_is_zero(script):
    rng = np.random.default_rng(5)
    truth = rng.random(60) < 0.4
    scores = rng.random(60)
    assert script.interval(truth, scores, scores, np.arange(60)) == (0.0, 0.0)


def test_an_expert_that_knows_the_truth_is_better_beyond_its_interval(script):
    rng = np.random.default_rng(5)
    truth = rng.random(60) < 0.4
    guess = rng.random(60)
    low, high = script.interval(truth, truth.astype(float), guess, np.arange(60))
    assert 0.0 < low < 1.0 - script.auc(truth, guess) < high


def test_remakes_of_a_picture_stay_together(script):
    """Ten copies of six pictures tell no more than the six."""
    rng = np.random.default_rng(2)
    truth, scores, plain = np.array([1, 1, 1, 0, 0, 0], bool), rng.random(6), rng.random(6)
    once = script.interval(truth, scores, plain, np.arange(6))
    copies = np.repeat(np.arange(6), 10)
    assert script.interval(truth[copies], scores[copies], plain[copies], copies) == once


def test_every_variant_of_both_experts_has_a_row(script, monkeypatch):
    monkeypatch.setattr(script, "DRAWS", 5)
    frames = script.remade(QUERIES, None, "full-frame", 1)[:12]
    assert {labelled.roadwork for labelled in frames} == {True, False}
    rows = script.ablation("full-frame", frames)
    assert {row["expert"] for row in rows} == {"network", "colour"}
    assert all(0.0 <= row["auc"] <= 1.0 for row in rows)
    plain = [row for row in rows if row["looks at"] == script.PLAIN]
    assert [row["difference"] for row in plain] == [0.0, 0.0]
    assert any(row["difference"] != 0.0 for row in rows)
