"""The simulator of votes: what it says it draws, is drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from natix_miner.fitting import votes_from_lines
from natix_miner.fitting.candidates import fit_candidates
from natix_miner.fitting.figures import weighted_mcc
from natix_miner.fitting.pools import pool_votes
from natix_miner.fitting.redundancy import effective_votes
from natix_miner.fitting.settings import FitSettings

SCRIPT = Path(__file__).parents[2] / "scripts" / "simulate_votes.py"


def simulate(*arguments: object) -> list[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_the_seed_decides_every_byte():
    assert simulate("--seed", 7, "--queries", 50) == simulate("--seed", 7, "--queries", 50)
    assert simulate("--seed", 7, "--queries", 50) != simulate("--seed", 8, "--queries", 50)


def test_votes_are_missing_correlated_and_dearer_with_each_level():
    votes = votes_from_lines(simulate("--seed", 3))
    assert votes.probability.shape == (2000, 10)
    assert [len(names) for _, names in votes.levels] == [4, 3, 3]
    assert np.isnan(votes.probability).mean() == pytest.approx(0.2, abs=0.05)
    assert votes.label.mean() == pytest.approx(0.5, abs=0.1)
    assert 2.0 < effective_votes(votes) < 8.0
    place = {name: column for column, name in enumerate(votes.experts)}
    cost = [votes.ms[:, [place[name] for name in names]].mean() for _, names in votes.levels]
    assert cost[0] * 3 < cost[1] < cost[2] / 3
    clips = set(zip(votes.groups, votes.label.tolist(), strict=True))
    assert len(clips) == len(set(votes.groups)), "a clip has one label"


def test_options_change_what_is_drawn():
    options = ("--queries", 400, "--experts", 3, "--missing", 0.5)
    votes = votes_from_lines(simulate(*options, "--positive", 0.8, "--unlabelled", 0.4))
    assert votes.probability.shape == (400, 3)
    assert np.isnan(votes.probability).mean() == pytest.approx(0.5, abs=0.15)
    assert (votes.label < 0).mean() == pytest.approx(0.4, abs=0.08)
    assert votes.labelled().label.mean() > 0.6


@pytest.mark.parametrize("seed", [1, 2])
def test_stacking_wins_by_what_the_docstring_promises(seed):
    votes = votes_from_lines(simulate("--seed", seed))
    held_out = np.array([int(group[4:]) % 3 == 0 for group in votes.groups])
    fitted = fit_candidates(votes.take(~held_out), FitSettings()).fitted
    test = votes.take(held_out)
    mcc = {
        name: weighted_mcc(pool_votes(one, test) > 0.0, test.label, np.ones(len(test)))
        for name, one in fitted.items()
    }
    assert mcc["stacking"] > mcc["hand_weights"] + 0.05
    assert mcc["stacking"] > mcc["best_single"] + 0.05
    assert mcc["stacking"] > 0.85


def test_wrong_options_are_refused():
    for wrong in (("--missing", 1.5), ("--queries", 0), ("--unlabelled", -1)):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *map(str, wrong)], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_reader_that_stops_early_is_no_accident():
    command = f"{sys.executable} {SCRIPT} --queries 3000 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert list(json.loads(done.stdout)) == ["levels"]
    assert done.stderr == ""
