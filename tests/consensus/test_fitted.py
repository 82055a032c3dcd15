"""The fitted file: written atomically, refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.consensus import (
    Expected,
    FittedConsensus,
    Isotonic,
    LogOddsPool,
    Platt,
    Pool,
    equal_weights,
    load_fitted,
    save_fitted,
)
from natix_miner.errors import FittedFileError
from natix_miner.experts import Opinion, Status

EMBEDDED = Path(__file__).parents[2] / "models" / "embedded" / "consensus.json"


@pytest.fixture
def fitted():
    return FittedConsensus(
        calibrations={"a": Platt(slope=1.3, intercept=-0.2)},
        pools=(Pool(weights={"a": 0.7, "b": 0.4}, bias=0.05),),
        fitted_on={"queries": 355},
        metrics={"mcc": 0.5},
        code_version="0.1.0",
    )


@pytest.fixture
def full(fitted):
    """Every kind of part that format 2 knows."""
    pool = Pool(
        weights={"a": 0.7, "b": -0.4},
        bias=0.05,
        size_bias={"frame": -0.5},
        condition_bias={"night": -0.3},
        missing={"b": 0.2},
        after=Platt(slope=0.9),
    )
    return fitted.model_copy(
        update={
            "calibrations": {
                **fitted.calibrations,
                "b": Isotonic(raw=(-1.0, 0.5), calibrated=(-2.0, 2.25)),
            },
            "pools": (pool,),
            "kind": "geometric-mean",
            "expected": {"a": Expected(n=300, mean=0.5, spread=2.0, agreement=0.9, missing=0.125)},
        }
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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_file_of_ours_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "consensus.json"
    path.write_bytes(content)
    with pytest.raises(FittedFileError, match="fit it anew") as caught:
        load_fitted(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_off_in_the_middle_is_refused(tmp_path, full, share):
    path = tmp_path / "consensus.json"
    save_fitted(full, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole.rstrip()) * share)])
    with pytest.raises(FittedFileError, match="Invalid JSON: EOF"):
        load_fitted(path)


@pytest.mark.parametrize(
    ("number", "place"),
    [
        ('"slope": 1.3', "calibrations.a.platt.slope"),
        ('"bias": 0.05', "pools.0.bias"),
        ('"night": -0.3', "pools.0.condition_bias.night"),
        ('"b": 0.2', "pools.0.missing.b"),
        ('"mean": 0.5', "expected.a.mean"),
    ],
)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_finite_number_is_refused_with_its_place(tmp_path, full, number, place, value):
    path = tmp_path / "consensus.json"
    text = full.model_dump_json(indent=2)
    assert text.count(number) == 1
    path.write_text(text.replace(number, f"{number.split(':')[0]}: {value}"))
    with pytest.raises(FittedFileError, match=place):
        load_fitted(path)


def test_a_newer_format_is_refused_with_those_that_are_read(tmp_path, fitted):
    path = tmp_path / "consensus.json"
    path.write_text(json.dumps({**fitted.model_dump(), "format": 3}))
    with pytest.raises(FittedFileError, match=r"formats 1 and 2.*format: Input should be 1 or 2"):
        load_fitted(path)


def test_format_1_is_read_and_pools_as_it_always_did(tmp_path):
    shipped = load_fitted(EMBEDDED)
    assert (shipped.format, shipped.kind, shipped.expected) == (1, "log-odds", {})
    assert all(not pool.missing and pool.after is None for pool in shipped.pools)
    # As the first release wrote them, without the kind of a calibration.
    path = tmp_path / "consensus.json"
    path.write_text(
        '{"format": 1, "calibrations": {"a": {"slope": 2.0, "intercept": -1.0}},'
        ' "pools": [{"weights": {"a": 0.5}, "bias": 0.25}]}'
    )
    pooled = LogOddsPool(load_fitted(path)).pool([Opinion("a", Status.OK, 0.5)])
    assert pooled.log_odds == pytest.approx(0.25 - 0.5)


def test_every_part_of_format_2_comes_back_the_same(tmp_path, full):
    path = tmp_path / "consensus.json"
    save_fitted(full, path)
    assert load_fitted(path) == full
    assert load_fitted(path).digest() == full.digest()


numbers = st.floats(-50.0, 50.0)


@given(weight=numbers, bias=numbers, missing=numbers, knot=numbers)
def test_numbers_come_back_to_the_last_bit(tmp_path_factory, weight, bias, missing, knot):
    path = tmp_path_factory.getbasetemp() / "exact.json"
    fitted = FittedConsensus(
        calibrations={"a": Isotonic(raw=(knot,), calibrated=(bias,))},
        pools=(Pool(weights={"a": weight}, bias=bias, missing={"a": missing}),),
    )
    save_fitted(fitted, path)
    assert load_fitted(path) == fitted


def test_the_digest_tells_files_apart_and_leaves_out_what_they_do_not_have(fitted):
    others = [
        fitted.model_copy(update={"calibrations": {"a": Platt(slope=1.3, intercept=-0.25)}}),
        fitted.model_copy(update={"kind": "majority"}),
        fitted.model_copy(update={"pools": (fitted.pools[0].model_copy(update={"bias": 0.0}),)}),
    ]
    assert len({one.digest() for one in [fitted, *others]}) == 4
    # A field that is at its default is as good as not there: later releases may add some.
    explicit = FittedConsensus.model_validate(fitted.model_dump())
    assert explicit.digest() == fitted.digest()


def test_what_cannot_be_written_is_told_and_leaves_nothing_behind(tmp_path, fitted):
    (tmp_path / "file").write_text("a file, no folder")
    with pytest.raises(FittedFileError, match="untouched"):
        save_fitted(fitted, tmp_path / "file" / "consensus.json")
    (tmp_path / "consensus.json").mkdir()
    with pytest.raises(FittedFileError, match="cannot be written"):
        save_fitted(fitted, tmp_path / "consensus.json")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["consensus.json", "file"]
    with pytest.raises(FittedFileError, match="cannot be read"):
        load_fitted(tmp_path / "consensus.json")


def test_no_file_says_what_to_do(tmp_path):
    with pytest.raises(FittedFileError, match="equal weights"):
        load_fitted(tmp_path / "none.json")


def test_experts_of_the_profile_must_be_those_of_the_fit(fitted):
    fitted.check_experts(frozenset({"a", "b"}), "here")
    with pytest.raises(FittedFileError, match="'c'"):
        fitted.check_experts(frozenset({"a", "b", "c"}), "here")
    with pytest.raises(FittedFileError, match="fit it anew"):
        equal_weights(frozenset({"a"})).check_experts(frozenset({"a", "b"}), "here")
