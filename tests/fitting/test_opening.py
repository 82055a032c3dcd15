"""Votes from wherever they lie, put into the levels of a profile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from natix_miner.consensus import FittedConsensus, Pool, save_fitted
from natix_miner.errors import FittedFileError, FittingError, QuerySourceError
from natix_miner.fitting.arranging import arranged
from natix_miner.fitting.hand import hand_of
from natix_miner.fitting.opening import open_votes, votes_of_stream
from natix_miner.profile import Profile, load_profile

DAY = 86_400.0


def lines(count: int = 6, **more: object) -> list[str]:
    return [
        json.dumps({"id": f"q{n}", "label": n % 2, "opinions": {"a": 0.5, "b": 0.1 * n}, **more})
        for n in range(count)
    ]


def test_a_file_of_lines_is_told_from_results_by_its_first_line(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(["", *lines()]))
    assert open_votes([path]).votes.experts == ("a", "b")
    path.write_text('{"format": 2, "digest": "x", "settings": {}}\n')
    with pytest.raises(FittingError, match="no stored query"):
        open_votes([path])


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(QuerySourceError, match="there is nothing at"):
        open_votes([tmp_path / "none.jsonl"])


def test_lines_can_be_grouped_by_day_but_not_by_pictures():
    rows = [
        json.dumps({"id": f"q{n}", "opinions": {"a": 0.5}, "received_at": n * DAY / 2})
        for n in range(4)
    ]
    opened = votes_of_stream(rows, "day")
    assert opened.votes.groups == ("1970-01-01", "1970-01-01", "1970-01-02", "1970-01-02")
    with pytest.raises(FittingError, match="hold no pictures"):
        votes_of_stream(rows, "hash")
    with pytest.raises(FittingError, match="received_at"):
        votes_of_stream(lines(), "day")
    with pytest.raises(FittingError, match="'week' is not known"):
        votes_of_stream(rows, "week")


def test_votes_are_put_into_the_levels_of_a_profile():
    votes = votes_of_stream(lines()).votes
    levels = (("first", ("b", "new")), ("second", ("a",)))
    found = arranged(votes, levels, ("told",))
    assert found.experts == ("b", "new", "a")
    assert np.allclose(found.probability[:, 0], 0.1 * np.arange(6))
    assert np.isnan(found.probability[:, 1]).all()
    assert found.asked.tolist() == [[True, False, True]] * 6
    assert found.remarks == ("told",)
    fewer = arranged(votes, (("only", ("b",)),))
    assert fewer.experts == ("b",)
    assert "the profile does not have these experts" in fewer.remarks[0]
    with pytest.raises(FittingError, match="not one expert of the profile has votes"):
        arranged(votes, (("only", ("c",)),))


def profile(folder: Path, consensus: str = "") -> Profile:
    path = folder / "profile.yaml"
    models = Path(__file__).parents[2] / "models" / "embedded"
    path.write_text(
        f"""
name: test
experts:
  network: {{type: embedded-network, model: {models}/network.onnx}}
  colour: {{type: colour-shape, model: {models}/colour_shape.json}}
levels:
  - {{name: glance, experts: [colour]}}
  - {{name: look, experts: [network], enter: {{unsure_below: 1.0}}}}
{consensus}
"""
    )
    return load_profile(path)


def fitted_for(*names: str) -> FittedConsensus:
    weights = {name: 0.1 * (n + 1) for n, name in enumerate(names)}
    return FittedConsensus(calibrations={}, pools=(Pool(weights=weights),))


def test_a_profile_gives_its_levels_and_the_weights_it_has(tmp_path):
    hand = hand_of(profile(tmp_path))
    assert hand.levels == (("glance", ("colour",)), ("look", ("network",)))
    assert hand.weights is None
    save_fitted(fitted_for("colour", "network"), tmp_path / "fitted.json")
    hand = hand_of(profile(tmp_path, "consensus: {fitted: fitted.json, pool: geometric-mean}"))
    assert hand.weights is not None
    assert hand.weights.kind == "geometric-mean"
    assert hand.weights.pools == fitted_for("colour", "network").pools
    assert "pool: geometric-mean" in hand.remarks[0]


def test_a_fitted_file_that_is_not_there_or_of_other_experts_gives_equal_weights(tmp_path):
    hand = hand_of(profile(tmp_path, "consensus: {fitted: fitted.json}"))
    assert hand.weights is None
    assert "is not there yet" in hand.remarks[0]
    save_fitted(fitted_for("colour", "other"), tmp_path / "fitted.json")
    hand = hand_of(profile(tmp_path, "consensus: {fitted: fitted.json}"))
    assert hand.weights is None
    assert "for other experts" in hand.remarks[0]


def test_a_fitted_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "fitted.json"
    save_fitted(fitted_for("colour", "network"), path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(FittedFileError, match="no fitted consensus"):
        hand_of(profile(tmp_path, "consensus: {fitted: fitted.json}"))


def test_lines_of_votes_are_fitted_alone(tmp_path):
    lines = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in lines:
        path.write_text(json.dumps({"id": "1", "label": 1, "opinions": {"a": 0.5}}) + "\n")
    with pytest.raises(FittingError, match="alone"):
        open_votes(lines)
