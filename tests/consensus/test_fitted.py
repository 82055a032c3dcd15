"""The fitted file: written atomically, refused with a reason."""

from __future__ import annotations

import json

import pytest

from natix_miner.consensus import (
    FittedConsensus,
    Platt,
    Pool,
    equal_weights,
    load_fitted,
    save_fitted,
)
from natix_miner.errors import FittedFileError


@pytest.fixture
def fitted():
    return FittedConsensus(
        calibrations={"a": Platt(slope=1.3, intercept=-0.2)},
        pools=(Pool(weights={"a": 0.7, "b": 0.4}, bias=0.05),),
        fitted_on={"queries": 355},
        metrics={"mcc": 0.5},
        code_version="0.1.0",
    )


def test_what_is_saved_comes_back_the_same(tmp_path, fitted):
    path = tmp_path / "deep" / "consensus.json"
    save_fitted(fitted, path)
    assert load_fitted(path) == fitted
    assert load_fitted(path).digest() == fitted.digest()
    assert [p.name for p in path.parent.iterdir()] == ["consensus.json"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": 3}, "format"),
        ({"surprise": 1}, "surprise"),
        ({"pools": []}, "pools"),
        ({"pools": [{"weights": {"a": -101.0}}]}, "weights"),
        ({"pools": [{"weights": {"a": 1e9}}]}, "weights"),
        ({"calibrations": {"a": {"slope": 0.0}}}, "slope"),
    ],
)
def test_a_file_with_faults_is_refused_and_named(tmp_path, fitted, change, word):
    path = tmp_path / "consensus.json"
    path.write_text(json.dumps({**fitted.model_dump(), **change}))
    with pytest.raises(FittedFileError, match=word) as caught:
        load_fitted(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"pools": NaN}'])
def test_half_a_file_is_refused(tmp_path, content):
    path = tmp_path / "consensus.json"
    path.write_bytes(content)
    with pytest.raises(FittedFileError):
        load_fitted(path)


def test_no_file_says_what_to_do(tmp_path):
    with pytest.raises(FittedFileError, match="equal weights"):
        load_fitted(tmp_path / "none.json")


def test_experts_of_the_profile_must_be_those_of_the_fit(fitted):
    fitted.check_experts(frozenset({"a", "b"}), "here")
    with pytest.raises(FittedFileError, match="'c'"):
        fitted.check_experts(frozenset({"a", "b", "c"}), "here")
    with pytest.raises(FittedFileError, match="fit it anew"):
        equal_weights(frozenset({"a"})).check_experts(frozenset({"a", "b"}), "here")
