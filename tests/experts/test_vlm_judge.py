"""The judge that reads: what it is told, and what becomes of its answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.breaker import Breaker
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.clock import Deadline
from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.errors import ConfigurationError, UnavailableError
from natix_miner.experts import Opinion, Status
from natix_miner.experts.families.vlm_judge import FAMILY, VlmJudgeSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.opinion import Evidence
from natix_miner.experts.vlm.evidence import MOST_CHARACTERS, frame_facts, told
from natix_miner.experts.vlm.port import TokenAnswer
from natix_miner.images import Frame
from natix_miner.images.frame import Geometry, SizeClass
from tests.experts.vlm_doubles import CONFIGS, ServerDouble, expert

_GREY = np.full((224, 224, 3), 128, np.uint8)
CONE = Evidence("cone", 0.7, (0, 150, 40, 200))


def judge(*servers, folder=CONFIGS, prompt="prompts/judge.yaml"):
    names = tuple(server.name for server in servers)
    settings = VlmJudgeSettings(servers=names, prompt=Path(prompt))
    around = Surroundings(folder, {server.name: server for server in servers})
    return FAMILY.build("judge", settings, around)


def consider(virtual, made, frame, *heard):
    return virtual.run(made.consider(frame, heard, Deadline.after(3.0, virtual)))


def test_it_reads_what_the_others_saw(virtual, make_frame):
    server = ServerDouble("power", answers=(TokenAnswer(0.3, 0.6),))
    heard = (
        Opinion("network", Status.OK, 0.81, evidence=(CONE,)),
        Opinion("colour", Status.FAILED, detail="broke"),
    )
    said = consider(virtual, judge(server), make_frame(), *heard)
    assert said.probability == pytest.approx(1 / 3)
    assert said.by == "power"
    (question,) = server.asked
    assert question.picture is None
    assert "Picture: 224 x 224 pixels, light" in question.after
    assert (
        "- network: roadwork with probability 0.81 "
        "(saw cone 0.70 at the bottom left, 4% of the picture)" in question.after
    )
    assert "colour" not in question.after
    assert "{evidence}" not in question.before + question.after


def test_its_words_before_the_evidence_are_always_the_same(virtual, make_frame):
    server = ServerDouble()
    for probability in (0.2, 0.9):
        consider(virtual, judge(server), make_frame(), Opinion("a", Status.OK, probability))
    first, second = server.asked
    assert (first.system, first.before) == (second.system, second.before)
    assert first.after != second.after


def test_the_order_in_which_the_others_spoke_does_not_matter(make_frame):
    heard = [Opinion(name, Status.OK, 0.5, evidence=(CONE,)) for name in ("b", "a", "c")]
    assert told(make_frame(), heard) == told(make_frame(), reversed(heard))


def test_low_trust_is_told_and_an_opinion_without_any_is_not(make_frame):
    text = told(
        make_frame(),
        [Opinion("a", Status.OK, 0.9, trust=0.25), Opinion("b", Status.OK, 0.9, trust=0.0)],
    )
    assert text.splitlines()[1:] == ["- a: roadwork with probability 0.90, trusted 25%"]


def test_mass_on_neither_is_not_told_as_something_seen(make_frame):
    seen = (Evidence("roadwork? whole", 0.75), Evidence("mass on neither yes nor no", 0.9))
    text = told(make_frame(), [Opinion("vlm", Status.OK, 0.75, evidence=seen)])
    assert text.endswith("(saw roadwork? whole 0.75)")


def test_what_is_known_of_the_picture_is_told_in_words(make_frame):
    geometry = Geometry(SizeClass.FRAME, tilt_degrees=-12.4, dark=True, blurred=True)
    pixels = make_frame().pixels
    assert (
        frame_facts(Frame(pixels, 1920, 1080, "JPEG", geometry))
        == "1920 x 1080 pixels, dark, blurred, tilted by -12 degrees"
    )
    straight = Geometry(SizeClass.FRAME, tilt_degrees=-0.3)
    assert frame_facts(Frame(pixels, 224, 224, "JPEG", straight)) == "224 x 224 pixels, light"


boxes = st.none() | st.tuples(*[st.floats(0.0, 224.0)] * 4)
opinions = st.builds(
    Opinion,
    st.text(min_size=1, max_size=200),
    st.just(Status.OK),
    st.floats(0.0, 1.0),
    evidence=st.lists(
        st.builds(Evidence, st.text(max_size=300), st.floats(-1e3, 1e3), boxes), max_size=6
    ).map(tuple),
    trust=st.floats(0.0, 1.0),
)


@given(heard=st.lists(opinions, max_size=60))
def test_what_it_is_told_is_bounded_and_a_line_each(heard):
    geometry = Geometry(SizeClass.VALIDATOR_SQUARE)
    frame = Frame(_GREY, 224, 224, "JPEG", geometry)
    text = told(frame, heard)
    assert len(text) <= MOST_CHARACTERS
    assert len(text.splitlines()) <= 2 + len(heard)


def test_where_it_would_be_too_long_places_go_first_and_then_opinions(make_frame):
    def heard(count):
        return [
            Opinion(f"expert-{i:03}", Status.OK, 0.5, evidence=(CONE,) * 3) for i in range(count)
        ]

    few, more, many = (told(make_frame(), heard(count)) for count in (5, 20, 200))
    assert few.count("cone") == 15
    assert 0 <= more.count("cone") < 60
    assert more.count("roadwork with probability") == 20
    kept = many.count("roadwork with probability")
    assert 0 < kept < 200
    assert many.endswith(f"- {200 - kept} more")


def test_it_says_nothing_before_anybody_else_has(virtual, make_frame):
    server = ServerDouble()
    with pytest.raises(UnavailableError, match="nothing to judge"):
        virtual.run(judge(server).look(make_frame(), Deadline.after(3.0, virtual)))
    for silent in (Opinion("a", Status.FAILED), Opinion("b", Status.OK, 0.5, trust=0.0)):
        with pytest.raises(UnavailableError, match="nothing to judge"):
            consider(virtual, judge(server), make_frame(), silent)
    assert server.asked == []


def test_it_falls_over_like_the_others(virtual, make_frame):
    down = ServerDouble("precision", error=UnavailableError("rests"))
    said = consider(
        virtual, judge(down, ServerDouble("fast")), make_frame(), Opinion("a", Status.OK, 0.9)
    )
    assert (said.by, said.detail) == ("fast", "precision: rests")


def test_a_prompt_without_a_place_for_the_evidence_is_refused(tmp_path):
    (tmp_path / "bare.yaml").write_text("before: x\n")
    with pytest.raises(ConfigurationError, match=r"bare\.yaml: `after` must hold \{evidence\}"):
        judge(ServerDouble(), folder=tmp_path, prompt="bare.yaml")


def test_it_hears_the_levels_before_its_own(virtual, make_frame):
    server = ServerDouble("power", answers=(TokenAnswer(0.9, 0.1),))
    first = expert([ServerDouble("fast")], virtual)
    levels = tuple(
        Level(name, (Seat(made, 2.0, Breaker(clock=virtual)),))
        for name, made in (("look", first), ("weigh", judge(server)))
    )
    pool = LogOddsPool(equal_weights(frozenset({"vlm", "judge"})))
    outcome = virtual.run(
        Cascade(levels, pool, clock=virtual).run(make_frame(), Deadline.after(5.0, virtual))
    )
    assert outcome.levels[1].experts[0].status == "ok"
    assert "vlm: roadwork with probability 0.75" in server.asked[0].after
