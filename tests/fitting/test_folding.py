"""Folds keep groups whole; weights give roadwork the share that validators ask for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natix_miner.errors import FittingError
from natix_miner.fitting.folding import check_enough, class_weights, folds_of, row_weights


@settings(max_examples=60, deadline=None)
@given(
    label=st.lists(st.integers(0, 1), min_size=8, max_size=60),
    spread=st.integers(1, 20),
    folds=st.integers(2, 6),
)
def test_a_group_is_never_on_both_sides_and_both_labels_remain(label, spread, folds):
    groups = [f"g{number % spread}" for number in range(len(label))]
    said = np.array(label, np.int8)
    fold = folds_of(said, groups, folds, seed=0)
    if fold is None:
        return
    assert 2 <= fold.max() + 1 <= folds
    for group in set(groups):
        assert len({int(f) for f, g in zip(fold, groups, strict=True) if g == group}) == 1
    for number in range(fold.max() + 1):
        assert set(said[fold != number]) == {0, 1}


def test_folds_hold_about_the_same_share_of_roadwork():
    rng = np.random.default_rng(0)
    label = (rng.random(600) < 0.3).astype(np.int8)
    fold = folds_of(label, [f"g{n // 4}" for n in range(600)], 5, seed=1)
    assert fold is not None
    shares = [label[fold == number].mean() for number in range(5)]
    assert max(shares) - min(shares) < 0.06


def test_few_groups_give_fewer_folds_and_one_group_none():
    label = np.array([0, 1] * 6, np.int8)
    three = folds_of(label, ["a"] * 4 + ["b"] * 4 + ["c"] * 4, 5, seed=0)
    assert three is not None
    assert three.max() == 2
    assert folds_of(label, ["a"] * 12, 5, seed=0) is None


@pytest.mark.parametrize("prior", [0.5, 0.2])
def test_weights_give_roadwork_the_wanted_share(prior):
    label = np.array([1] * 90 + [0] * 10, np.int8)
    weights = class_weights(label, prior)
    assert weights[label == 1].sum() / weights.sum() == pytest.approx(prior)
    assert weights.mean() == pytest.approx(1.0)


def test_each_size_class_gets_the_wanted_share_where_it_has_enough(votes_by_hand):
    label = [1] * 80 + [0] * 20 + [1] * 20 + [0] * 80 + [1] * 5
    size = ["frame"] * 100 + ["validator-square"] * 100 + ["large-frame"] * 5
    votes = votes_by_hand({"a": [0.5] * 205}, label, size_class=size)
    weights = row_weights(votes, 0.5)
    for name in ("frame", "validator-square"):
        here = np.array(size) == name
        assert weights[here & (votes.label == 1)].sum() == pytest.approx(weights[here].sum() / 2)


@pytest.mark.parametrize(
    ("label", "groups", "message"),
    [
        ([-1] * 60, 60, "none of the 60 queries has a label"),
        ([1] * 60, 60, r"60 labelled queries \(60 roadwork, 0 none\): both labels are needed"),
        ([1, 0, 1, 0, 1], 5, "5 labelled queries .* at least 50"),
        ([1] * 55 + [0] * 5, 60, "with 10 of each label"),
        ([1, 0] * 30, 2, r"too few groups \(roadwork in 1, none in 1\): at least 3"),
    ],
)
def test_too_few_votes_are_refused_with_what_is_needed(votes_by_hand, label, groups, message):
    names = [f"g{number % groups}" for number in range(len(label))]
    votes = votes_by_hand({"a": [0.5] * len(label)}, label, groups=names)
    with pytest.raises(FittingError, match=message):
        check_enough(votes, least=50, per_class=10, groups=3)
