"""The vision-language expert: from answers of one token to an opinion."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.errors import ConfigurationError, ServerAnswerError, UnavailableError
from natix_miner.experts import Opinion, Status
from natix_miner.experts.families.vlm import FAMILY, VlmSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.opinion import Evidence
from natix_miner.experts.vlm.port import TokenAnswer
from natix_miner.experts.vlm.votes import DEFAULT_TRUST, TrustBounds, look_of
from tests.experts.vlm_doubles import CONFIGS, ServerDouble, expert, look

TILES = {"views": ("tiles",), "max_pixels": 128 * 128}


def test_the_probability_is_the_share_of_yes_among_yes_and_no(virtual, make_frame):
    server = ServerDouble(answers=(TokenAnswer(0.6, 0.2),))
    said = look(virtual, expert([server], virtual), make_frame())
    assert said.probability == pytest.approx(0.75)  # 0.6 / 0.8
    assert said.by == "fast"
    assert said.detail == ""
    assert not said.calibrated
    assert said.trust == pytest.approx(1.0)  # 0.2 on neither is still full trust
    assert [seen.what for seen in said.evidence] == [
        "roadwork? whole",
        "mass on neither yes nor no",
    ]
    assert said.evidence[0].score == pytest.approx(0.75)
    assert said.evidence[0].box == (0, 0, 224, 224)
    assert said.evidence[1].score == pytest.approx(0.2)


@pytest.mark.parametrize(("yes", "kept"), [(1.0, 1.0 - 1e-6), (0.0, 1e-6)])
def test_a_certain_answer_is_kept_off_the_ends(virtual, make_frame, yes, kept):
    server = ServerDouble(answers=(TokenAnswer(yes, 1.0 - yes),))
    said = look(virtual, expert([server], virtual), make_frame())
    assert said.probability == pytest.approx(kept, rel=1e-9)


def test_yes_to_an_inverted_question_speaks_against_roadwork(virtual, make_frame, tmp_path):
    (tmp_path / "clear.yaml").write_text("before: Is the road clear?\ninvert: true\n")
    server = ServerDouble(answers=(TokenAnswer(0.6, 0.2),))
    made = expert([server], virtual, question="clear.yaml", folder=tmp_path)
    said = look(virtual, made, make_frame())
    assert said.probability == pytest.approx(0.25)
    assert said.evidence[0].what == "clear? whole"
    assert said.evidence[0].score == pytest.approx(0.75)  # P(yes), as it was answered


def test_the_question_has_its_constant_words_before_the_picture(virtual, make_frame):
    server = ServerDouble()
    look(virtual, expert([server], virtual), make_frame())
    (question,) = server.asked
    assert question.before == "Is there roadwork in this street picture? Answer yes or no."
    assert (question.system, question.after, question.thought) == ("", "", "")
    decoded = cv2.imdecode(np.frombuffer(question.picture, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("elsewhere", "factor"), [(0.0, 1.0), (0.2, 1.0), (0.575, 0.5), (0.95, 0.0), (1.0, 0.0)]
)
def test_mass_elsewhere_lowers_the_trust_in_a_straight_line(elsewhere, factor):
    assert DEFAULT_TRUST.factor(elsewhere) == pytest.approx(factor)


def test_the_bounds_of_trust_are_settings(virtual, make_frame):
    server = ServerDouble(answers=(TokenAnswer(0.3, 0.1),))  # 0.6 elsewhere
    made = expert([server], virtual, full_trust_elsewhere=0.4, no_trust_elsewhere=0.8)
    assert look(virtual, made, make_frame()).trust == pytest.approx(0.5)


def test_a_vote_of_low_trust_weighs_less_in_the_pool():
    pool = LogOddsPool(equal_weights(frozenset({"a", "b"})))
    sure = Opinion("a", Status.OK, 0.9)

    def pooled(trusted):
        return pool.pool([sure, Opinion("b", Status.OK, 0.1, trust=trusted)]).log_odds

    assert pooled(1.0) == pytest.approx(0.0)
    # Weights 0.5 and 0.25, scaled up to sum 1: (2/3 - 1/3) * ln 9.
    assert pooled(0.5) == pytest.approx(math.log(9) / 3)
    assert pooled(0.0) == pytest.approx(math.log(9))


def combined(combine, *answers):
    seen = [(TokenAnswer(yes, no), Evidence("view", 0.0)) for yes, no in answers]
    return look_of(seen, invert=False, combine=combine, trust=DEFAULT_TRUST, by="fast", detail="")


def test_the_mean_is_of_log_odds():
    said = combined("mean", (0.9, 0.1), (0.5, 0.5))
    assert said.probability == pytest.approx(0.75)  # odds 9 and 1: the geometric mean is 3
    assert said.trust == pytest.approx(1.0)


def test_the_mean_weighs_each_view_by_its_trust():
    # The second has 0.575 elsewhere, so it is trusted by half: odds 9 ** (2 / 3).
    said = combined("mean", (0.9, 0.1), (0.2125, 0.2125))
    assert said.probability == pytest.approx(9 ** (2 / 3) / (1 + 9 ** (2 / 3)))
    assert said.trust == pytest.approx(0.75)
    assert said.evidence[-1].score == pytest.approx(0.575 / 2)


def test_a_view_that_the_model_did_not_answer_about_raises_no_alarm():
    said = combined("max", (0.0099, 0.0001), (0.2, 0.8))
    assert said.probability == pytest.approx(0.2)
    assert said.trust == pytest.approx(1.0)
    assert [seen.score for seen in said.evidence] == pytest.approx([0.99, 0.2, 0.0])


def test_views_without_any_trust_make_a_vote_without_any():
    for combine in ("mean", "max"):
        said = combined(combine, (0.03, 0.01), (0.03, 0.01))
        assert said.probability == pytest.approx(0.75)
        assert said.trust == 0.0


@given(
    answers=st.lists(st.tuples(st.floats(1e-9, 0.5), st.floats(1e-9, 0.5)), min_size=1, max_size=8),
    combine=st.sampled_from(("mean", "max")),
    invert=st.booleans(),
)
def test_the_vote_lies_among_those_of_the_views(answers, combine, invert):
    seen = [(TokenAnswer(yes, no), Evidence("view", 0.0)) for yes, no in answers]
    said = look_of(seen, invert=invert, combine=combine, trust=TrustBounds(), by="x", detail="")
    single = [no / (yes + no) if invert else yes / (yes + no) for yes, no in answers]
    assert min(single) - 2e-6 <= said.probability <= max(single) + 2e-6
    assert 0.0 <= said.trust <= 1.0


def test_questions_and_views_give_an_expert_each():
    settings = VlmSettings(
        servers=("fast",),
        questions=(Path("prompts/roadwork.yaml"), Path("prompts/cones.yaml")),
        views=("whole", "tiles"),
    )
    assert list(FAMILY.experts_of("vlm", settings)) == [
        "vlm.roadwork.whole",
        "vlm.roadwork.tiles",
        "vlm.cones.whole",
        "vlm.cones.tiles",
    ]
    one_view = settings.model_copy(update={"views": ("whole",)})
    assert list(FAMILY.experts_of("vlm", one_view)) == ["vlm.roadwork", "vlm.cones"]
    one = one_view.model_copy(update={"questions": (Path("prompts/cones.yaml"),)})
    assert list(FAMILY.experts_of("vlm", one)) == ["vlm"]


def test_tiles_are_asked_side_by_side_and_combined(virtual, make_frame):
    server = ServerDouble(answers=(TokenAnswer(0.8, 0.2),), seconds=1.0)
    made = expert([server], virtual, tiles=4, **TILES)
    begun = virtual.monotonic()
    said = look(virtual, made, make_frame(width=512, height=256))
    assert len(server.asked) == 4
    assert virtual.monotonic() - begun == pytest.approx(1.0)
    assert said.probability == pytest.approx(0.8)
    assert len(said.evidence) == 5
    assert len({seen.box for seen in said.evidence[:4]}) == 4


def test_the_most_alarming_tile_counts_with_max(virtual, make_frame):
    answers = tuple(TokenAnswer(yes, 1.0 - yes) for yes in (0.2, 0.9, 0.4))
    made = expert([ServerDouble(answers=answers)], virtual, tiles=3, combine="max", **TILES)
    said = look(virtual, made, make_frame(width=512, height=256))
    assert said.probability == pytest.approx(0.9)


def test_views_that_fail_are_left_out_and_told(virtual, make_frame):
    answers = (ServerAnswerError("garbage", 200), TokenAnswer(0.6, 0.2))
    made = expert([ServerDouble(answers=answers)], virtual, tiles=4, **TILES)
    said = look(virtual, made, make_frame(width=512, height=256))
    assert said.probability == pytest.approx(0.75)
    assert said.detail == "2 of 4 views without an answer: fast: garbage"
    assert len(said.evidence) == 3


def test_an_error_that_nobody_foresaw_is_named_in_the_remark(virtual, make_frame):
    answers = (KeyError("ids"), TokenAnswer(0.6, 0.2))
    made = expert([ServerDouble(answers=answers)], virtual, tiles=4, **TILES)
    said = look(virtual, made, make_frame(width=512, height=256))
    assert said.detail == "2 of 4 views without an answer: KeyError: 'ids'"


def test_when_all_views_fail_the_gravest_error_is_raised(virtual, make_frame):
    frame = make_frame(width=512, height=256)
    full, garbage = UnavailableError("full"), ServerAnswerError("garbage", 200)
    late = TimeoutError("late")
    for answers, raised in (
        ((full, late, garbage), ServerAnswerError),
        ((full, late), TimeoutError),
        ((full,), UnavailableError),
    ):
        made = expert([ServerDouble(answers=answers)], virtual, tiles=4, **TILES)
        with pytest.raises(raised):
            look(virtual, made, frame)


def test_a_frame_without_such_views_is_not_asked_about(virtual, make_frame):
    server = ServerDouble()
    made = expert([server], virtual, views=("tiles",))
    with pytest.raises(UnavailableError, match="224 x 224 has no such views"):
        look(virtual, made, make_frame())
    assert server.asked == []


def test_the_version_tells_whatever_decides_the_answer(virtual):
    server, other = ServerDouble(), ServerDouble("power")
    plain = expert([server], virtual).version
    assert plain == expert([server], virtual).version
    changed = [
        expert([other], virtual),
        expert([server, other], virtual),
        expert([server], virtual, question="prompts/cones.yaml"),
        expert([server], virtual, views=("upright",)),
        expert([server], virtual, max_pixels=65_536),
        expert([server], virtual, jpeg_quality=90),
        expert([server], virtual, combine="max"),
        expert([server], virtual, no_trust_elsewhere=0.9),
        expert(
            [server],
            virtual,
            thinking={"prompt": "prompts/think.yaml", "tokens_per_second": 50.0},
        ),
    ]
    assert len({plain, *(made.version for made in changed)}) == 1 + len(changed)


def test_a_server_that_is_not_there_is_named():
    settings = VlmSettings(servers=("fats",), questions=(Path("prompts/roadwork.yaml"),))
    with pytest.raises(ConfigurationError, match=r"\['fats'\]; there are: fast"):
        FAMILY.build("vlm", settings, Surroundings(CONFIGS, {"fast": ServerDouble("fast")}))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_pixels": 2048, "max_pixels": 1024}, "min_pixels 2048 is more than max_pixels 1024"),
        ({"servers": ("a", "a")}, "servers holds the same twice"),
        ({"views": ("whole", "whole")}, "views holds the same twice"),
        ({"questions": ("a/q.yaml", "b/q.yaml")}, "told apart by their files' stems"),
        ({"full_trust_elsewhere": 0.5, "no_trust_elsewhere": 0.5}, "must be less than"),
        ({"servers": ()}, "at least 1 item"),
        ({"temperature": 1.0}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    sound = {"servers": ("a",), "questions": ("q.yaml",)}
    VlmSettings(**sound)
    with pytest.raises(ValidationError, match=message):
        VlmSettings(**{**sound, **wrong})
