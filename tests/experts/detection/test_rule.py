"""From boxes to a probability: the formula by hand, its bounds, and the file it stands in."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.errors import ModelError
from natix_miner.experts.detection.rule import (
    AreaPrior,
    BoxRule,
    Found,
    PositionPrior,
    cause,
    load_rule,
    probability_of,
    proper_of,
)
from natix_miner.images import Frame
from natix_miner.images.frame import Geometry, SizeClass

SHIPPED = Path(__file__).parents[3] / "models" / "detection" / "rule.json"
RULE = load_rule(SHIPPED)

shares = st.floats(0.0, 1.0)
objects = st.builds(
    Found,
    kind=st.sampled_from([*RULE.weights, "no such class"]),
    score=shares,
    area=shares,
    bottom=shares,
    plausible=shares,
)
rules = st.builds(
    BoxRule,
    weights=st.fixed_dictionaries(dict.fromkeys(RULE.weights, shares)),
    leak=st.floats(1e-6, 1.0 - 1e-6),
    slope=st.floats(0.01, 20.0),
    intercept=st.floats(-20.0, 20.0),
    area=st.builds(AreaPrior, small=st.floats(1e-6, 1.0), large=shares, large_factor=shares),
    position=st.builds(PositionPrior, horizon=shares, above_factor=shares),
)


class TestFormula:
    def test_a_worked_example(self):
        rule = BoxRule(
            weights={"cone": 0.8, "machine": 0.6},
            leak=0.1,
            slope=2.0,
            intercept=-0.5,
            area=AreaPrior(small=0.01, large=0.5, large_factor=0.3),
            position=PositionPrior(horizon=0.3, above_factor=0.4),
        )
        found = [
            Found("cone", score=0.7, area=0.0025, bottom=0.8),
            Found("machine", score=0.9, area=0.6, bottom=0.2, plausible=0.5),
            Found("cat", score=1.0, area=0.1, bottom=0.9),
        ]
        # By hand: logit 0.7 = 0.847298, logit 0.9 = 2.197225.
        cone = 0.8 * (1 / (1 + math.exp(-(2 * 0.847298 - 0.5)))) * 0.5 * 1.0
        machine = 0.6 * (1 / (1 + math.exp(-(2 * 2.197225 - 0.5)))) * 0.3 * 0.4 * 0.5
        assert cone == pytest.approx(0.307025, abs=1e-6)
        assert machine == pytest.approx(0.035282, abs=1e-6)
        expected = 1 - 0.9 * (1 - cone) * (1 - machine)
        assert expected == pytest.approx(0.398327, abs=1e-6)
        assert probability_of(found, rule) == pytest.approx(expected, abs=1e-6)

    def test_nothing_found_leaves_the_leak(self):
        assert probability_of([], RULE) == pytest.approx(RULE.leak)

    def test_a_sure_cone_near_by_is_as_telling_as_its_weight(self):
        said = cause(Found("cone", 1.0, area=0.05, bottom=0.8), RULE)
        assert said == pytest.approx(RULE.weights["cone"], abs=1e-5)


class TestBounds:
    @given(st.lists(objects, max_size=12), rules)
    def test_the_probability_lies_between_leak_and_one(self, found, rule):
        assert rule.leak <= probability_of(found, rule) <= 1.0

    @given(st.lists(objects, max_size=12), rules, st.randoms(use_true_random=False))
    def test_the_order_does_not_matter(self, found, rule, random):
        other = list(found)
        random.shuffle(other)
        assert probability_of(other, rule) == probability_of(found, rule)

    @given(st.lists(objects, max_size=12), objects, rules)
    def test_another_object_never_lowers_it(self, found, more, rule):
        assert probability_of([*found, more], rule) >= probability_of(found, rule)

    @given(st.lists(objects, max_size=5), objects, shares, rules)
    def test_a_higher_score_never_lowers_it(self, found, one, score, rule):
        low, high = sorted((one.score, score))
        less = Found(one.kind, low, one.area, one.bottom, one.plausible)
        more = Found(one.kind, high, one.area, one.bottom, one.plausible)
        assert probability_of([*found, more], rule) >= probability_of([*found, less], rule) - 1e-12

    @given(objects, rules)
    def test_a_cause_is_no_more_than_its_weight(self, found, rule):
        assert 0.0 <= cause(found, rule) <= rule.weights.get(found.kind, 0.0)


class TestPriors:
    @given(
        st.builds(AreaPrior, small=st.floats(1e-6, 1.0), large=shares, large_factor=shares), shares
    )
    def test_the_factor_of_area_is_a_share(self, prior, share):
        assert 0.0 <= prior.factor(share) <= 1.0

    @given(st.builds(PositionPrior, horizon=shares, above_factor=shares), shares)
    def test_the_factor_of_position_is_a_share(self, prior, share):
        assert 0.0 <= prior.factor(share) <= 1.0

    @given(shares, shares)
    def test_up_to_the_large_ones_more_area_counts_no_less(self, one, other):
        prior = AreaPrior(small=0.01, large=1.0)
        low, high = sorted((one, other))
        assert prior.factor(low) <= prior.factor(high)

    def test_what_fills_the_picture_or_hangs_in_the_sky_counts_less(self):
        assert RULE.area.factor(0.9) == RULE.area.large_factor
        assert RULE.position.factor(0.1) == RULE.position.above_factor
        assert RULE.position.factor(0.8) == 1.0


class TestPlace:
    def test_shares_are_of_the_picture_without_its_padding(self):
        geometry = Geometry(SizeClass.VALIDATOR_SQUARE, padding_top=50, padding_bottom=30)
        frame = Frame(np.zeros((200, 200, 3), np.uint8), 200, 200, "JPEG", geometry)
        assert proper_of(frame) == (0, 50, 200, 170)
        found = Found.within(proper_of(frame), (20, 80, 60, 140), "cone", 0.5)
        assert found.area == pytest.approx(40 * 60 / (200 * 120))
        assert found.bottom == pytest.approx(90 / 120)

    def test_what_lies_in_the_padding_is_cut_off(self):
        found = Found.within((0, 50, 200, 170), (-10, 0, 300, 300), "cone", 0.5)
        assert (found.area, found.bottom) == (1.0, 1.0)
        above = Found.within((0, 50, 200, 170), (10, 0, 20, 40), "cone", 0.5)
        assert (above.area, above.bottom) == (0.0, 0.0)

    @given(st.tuples(*[st.floats(-50, 400)] * 4))
    def test_shares_are_shares_for_any_box(self, corners):
        box = (*sorted(corners[:2]), *sorted(corners[2:]))
        found = Found.within((0, 50, 200, 170), (box[0], box[2], box[1], box[3]), "cone", 0.5)
        assert 0.0 <= found.area <= 1.0
        assert 0.0 <= found.bottom <= 1.0


class TestFile:
    def test_the_shipped_rule_says_that_it_was_set_by_hand(self):
        assert json.loads(SHIPPED.read_text())["fitted_on"] is None
        assert RULE.fitted_on is None

    def test_what_is_written_is_read_again(self, tmp_path):
        file = tmp_path / "rule.json"
        file.write_text(RULE.model_dump_json())
        assert load_rule(file) == RULE
        assert load_rule(file).digest() == RULE.digest()

    def test_the_digest_tells_of_other_parameters(self):
        assert RULE.model_copy(update={"leak": 0.13}).digest() != RULE.digest()

    def test_a_missing_file_names_the_shipped_one(self, tmp_path):
        with pytest.raises(ModelError, match=r"no rule .* models/detection/rule\.json"):
            load_rule(tmp_path / "none.json")

    @pytest.mark.parametrize(
        "change",
        [
            {"weights": {"cone": 1.5}},
            {"weights": {}},
            {"leak": 0.0},
            {"slope": -1.0},
            {"colour": "red"},
            {"area": {"small": 0.0}},
            {"format": 2},
        ],
    )
    def test_values_that_cannot_be_are_refused(self, tmp_path, change):
        file = tmp_path / "rule.json"
        file.write_text(json.dumps({**json.loads(SHIPPED.read_text()), **change}))
        with pytest.raises(ModelError, match=r"rule\.json is no rule"):
            load_rule(file)

    def test_a_torn_file_is_refused(self, tmp_path):
        file = tmp_path / "rule.json"
        file.write_bytes(SHIPPED.read_bytes()[:50])
        with pytest.raises(ModelError, match="no rule"):
            load_rule(file)
