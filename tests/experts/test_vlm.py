"""The vision-language expert on servers that are doubles, in virtual time."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from natix_miner.breaker import Breaker
from natix_miner.cascade.cascade import Cascade
from natix_miner.cascade.level import Level, Seat
from natix_miner.clock import Deadline
from natix_miner.consensus import LogOddsPool, equal_weights
from natix_miner.errors import ConfigurationError, ServerAnswerError, UnavailableError
from natix_miner.experts import Opinion, Status
from natix_miner.experts.families.vlm import FAMILY, VlmSettings
from natix_miner.experts.families.vlm_judge import FAMILY as JUDGE_FAMILY
from natix_miner.experts.families.vlm_judge import VlmJudgeSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.opinion import Evidence
from natix_miner.experts.vlm.pictures import EncodedViews, Sending, sized
from natix_miner.experts.vlm.port import Question, TokenAnswer
from natix_miner.experts.vlm.prompt import load_prompt
from natix_miner.experts.vlm.thinking import ThinkingSettings
from natix_miner.experts.vlm.votes import trust

CONFIGS = Path(__file__).parents[2] / "configs"


class ServerDouble:
    """Stands for a server: answers after `seconds`, or raises `error`."""

    def __init__(self, name, yes=0.6, no=0.2, seconds=0.01, error=None, writes="a cone"):
        self.name = name
        self.answer = TokenAnswer(yes, no, 80)
        self.seconds, self.error, self.writes = seconds, error, writes
        self.asked: list[Question] = []
        self.budgets: list[int] = []

    async def ask(self, question, deadline):
        self.asked.append(question)
        if self.error:
            raise self.error
        await asyncio.sleep(self.seconds)
        return self.answer

    async def write(self, question, most_tokens, deadline):
        self.budgets.append(most_tokens)
        if self.error:
            raise self.error
        await asyncio.sleep(self.seconds)
        return self.writes


def expert(servers, virtual, **more):
    settings = VlmSettings(
        servers=tuple(server.name for server in servers),
        questions=(Path("prompts/roadwork.yaml"),),
        **more,
    )
    around = Surroundings(CONFIGS, {server.name: server for server in servers}, virtual)
    ((name, part),) = FAMILY.experts_of("vlm", settings).items()
    return FAMILY.build(name, part, around)


def look(virtual, made, frame, seconds=3.0):
    return virtual.run(made.look(frame, Deadline.after(seconds, virtual)))


def test_the_probability_is_the_share_of_yes_among_yes_and_no(virtual, make_frame):
    server = ServerDouble("fast", yes=0.6, no=0.2)
    said = look(virtual, expert([server], virtual), make_frame())
    assert said.probability == pytest.approx(0.75)  # 0.6 / 0.8
    assert said.by == "fast"
    assert said.detail == ""
    assert said.trust == pytest.approx(1.0)  # 0.2 on neither is still full trust
    assert [seen.what for seen in said.evidence] == [
        "roadwork? whole",
        "mass on neither yes nor no",
    ]
    assert said.evidence[0].box == (0, 0, 224, 224)
    assert said.evidence[1].score == pytest.approx(0.2)


def test_the_question_has_its_constant_words_before_the_picture(virtual, make_frame):
    server = ServerDouble("fast")
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
    assert trust(elsewhere) == pytest.approx(factor)


def test_a_vote_of_low_trust_weighs_less_in_the_pool():
    pool = LogOddsPool(equal_weights(frozenset({"a", "b"})))
    sure = Opinion("a", Status.OK, 0.9)

    def pooled(trusted):
        return pool.pool([sure, Opinion("b", Status.OK, 0.1, trust=trusted)]).log_odds

    assert pooled(1.0) == pytest.approx(0.0)
    # Weights 0.5 and 0.25, scaled up to sum 1: (2/3 - 1/3) * ln 9.
    assert pooled(0.5) == pytest.approx(math.log(9) / 3)
    assert pooled(0.0) == pytest.approx(math.log(9))


def test_questions_and_views_give_an_expert_each(virtual):
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
    one = settings.model_copy(update={"views": ("whole",)})
    assert list(FAMILY.experts_of("vlm", one)) == ["vlm.roadwork", "vlm.cones"]


def test_tiles_are_asked_side_by_side_and_combined(virtual, make_frame):
    server = ServerDouble("fast", yes=0.8, no=0.2, seconds=1.0)
    made = expert([server], virtual, views=("tiles",), max_pixels=128 * 128, tiles=4)
    begun = virtual.monotonic()
    said = look(virtual, made, make_frame(width=512, height=256))
    assert len(server.asked) == 4
    assert virtual.monotonic() - begun == pytest.approx(1.0)
    assert said.probability == pytest.approx(0.8)
    assert len(said.evidence) == 5


def test_the_most_alarming_tile_counts_with_max(virtual, make_frame):
    class Changing(ServerDouble):
        async def ask(self, question, deadline):
            self.asked.append(question)
            return TokenAnswer((0.1, 0.9, 0.4)[len(self.asked) % 3], 0.1)

    made = expert(
        [Changing("fast")], virtual, views=("tiles",), max_pixels=128 * 128, tiles=3, combine="max"
    )
    said = look(virtual, made, make_frame(width=512, height=256))
    assert said.probability == pytest.approx(0.9)


def test_views_that_fail_are_left_out_and_told(virtual, make_frame):
    class Half(ServerDouble):
        async def ask(self, question, deadline):
            self.asked.append(question)
            if len(self.asked) % 2:
                raise ServerAnswerError("garbage", 200)
            return self.answer

    made = expert([Half("fast")], virtual, views=("tiles",), max_pixels=128 * 128, tiles=4)
    said = look(virtual, made, make_frame(width=512, height=256))
    assert said.probability == pytest.approx(0.75)
    assert said.detail.startswith("2 of 4 views: fast: garbage")


def test_a_frame_without_such_views_is_not_asked_about(virtual, make_frame):
    made = expert([ServerDouble("fast")], virtual, views=("tiles",))
    with pytest.raises(UnavailableError, match="224 x 224 has no such views"):
        look(virtual, made, make_frame())


def test_a_server_that_is_down_gives_way_at_once(virtual, make_frame):
    down = ServerDouble("precision", error=UnavailableError("breaker open, next try in 12 s"))
    said = look(virtual, expert([down, ServerDouble("fast")], virtual), make_frame())
    assert said.by == "fast"
    assert said.detail == "precision: breaker open, next try in 12 s"


def test_a_slow_server_gets_its_share_of_the_time_and_no_more(virtual, make_frame):
    slow, fast = ServerDouble("power", seconds=60.0), ServerDouble("fast", seconds=0.2)
    begun = virtual.monotonic()
    said = look(virtual, expert([slow, fast], virtual), make_frame(), seconds=3.0)
    assert said.by == "fast"
    assert "power: no answer" in said.detail
    # 60 % of 3 s less the margin, then the second server's own time.
    assert virtual.monotonic() - begun == pytest.approx(0.6 * 2.98 + 0.2, abs=0.01)


def test_without_any_server_the_expert_was_not_asked(virtual, make_frame):
    servers = [ServerDouble(name, error=UnavailableError("starting")) for name in ("a", "b")]
    with pytest.raises(UnavailableError, match="a: starting; b: starting"):
        look(virtual, expert(servers, virtual), make_frame())


def test_it_gives_up_by_itself_before_the_deadline(virtual, make_frame):
    begun = virtual.monotonic()
    with pytest.raises(TimeoutError, match="fast: no answer"):
        look(virtual, expert([ServerDouble("fast", seconds=60.0)], virtual), make_frame(), 2.0)
    assert virtual.monotonic() - begun < 2.0


def test_the_trace_names_the_server_that_answered_and_why_not_the_first(virtual, make_frame):
    down = ServerDouble("precision", error=UnavailableError("down: it was killed"))
    made = expert([down, ServerDouble("fast")], virtual)
    seat = Seat(made, 2.0, Breaker(clock=virtual))
    cascade = Cascade(
        (Level("language", (seat,)),), LogOddsPool(equal_weights(frozenset({"vlm"}))), clock=virtual
    )
    outcome = virtual.run(cascade.run(make_frame(), Deadline.after(5.0, virtual)))
    told = outcome.levels[0].experts[0]
    assert (told.status, told.by) == ("ok", "fast")
    assert told.detail == "precision: down: it was killed"


def test_a_level_whose_servers_are_all_down_is_skipped_and_not_held_against_the_expert(
    virtual, make_frame
):
    made = expert([ServerDouble("fast", error=UnavailableError("off"))], virtual)
    breaker = Breaker(clock=virtual)
    cascade = Cascade(
        (Level("language", (Seat(made, 2.0, breaker),)),),
        LogOddsPool(equal_weights(frozenset({"vlm"}))),
        clock=virtual,
    )
    for _ in range(5):
        outcome = virtual.run(cascade.run(make_frame(), Deadline.after(5.0, virtual)))
        told = outcome.levels[0].experts[0]
        assert (told.status, told.detail) == ("skipped", "not asked: fast: off")


THINK = {"prompt": "prompts/think.yaml", "tokens_per_second": 100.0, "reserve_seconds": 1.0}


def test_thoughts_stand_before_the_answer(virtual, make_frame):
    server = ServerDouble("power", writes="<think>\nan orange cone\n</think>\n\nyes")
    made = expert([server], virtual, thinking=THINK)
    said = look(virtual, made, make_frame(), seconds=3.02)
    assert server.budgets == [160]  # floor(0.8 * (3.0 - 1.0) * 100)
    assert server.asked[0].thought == "<think>\nan orange cone\n</think>\n\n"
    assert said.detail.startswith("thought ")


def test_without_time_to_think_it_answers_plainly(virtual, make_frame):
    server = ServerDouble("power")
    said = look(virtual, expert([server], virtual, thinking=THINK), make_frame(), seconds=1.2)
    assert server.budgets == []
    assert server.asked[0].thought == ""
    assert said.detail == "no thinking: 1.2 s left"


def test_thoughts_that_take_too_long_are_done_without(virtual, make_frame):
    class SlowWriter(ServerDouble):
        async def write(self, question, most_tokens, deadline):
            self.budgets.append(most_tokens)
            await asyncio.sleep(60.0)

    server = SlowWriter("power")
    said = look(virtual, expert([server], virtual, thinking=THINK), make_frame(), seconds=3.02)
    assert said.probability == pytest.approx(0.75)
    assert said.detail.startswith("no thinking: power: no answer")


@given(left=st.floats(0.0, 60.0), rate=st.floats(0.1, 5000.0), reserve=st.floats(0.0, 5.0))
def test_the_budget_of_thinking_fits_into_the_time_left(left, rate, reserve):
    think = ThinkingSettings(
        prompt=Path("x"), tokens_per_second=rate, reserve_seconds=reserve, most_tokens=512
    )
    budget = think.budget(left)
    assert budget == 0 or 32 <= budget <= 512
    assert budget == 0 or think.seconds(budget) <= left - reserve + 1e-6


@given(
    width=st.integers(32, 5000),
    height=st.integers(32, 5000),
    budget=st.tuples(st.integers(1024, 600_000), st.integers(0, 600_000)),
)
def test_the_size_sent_keeps_to_its_budget_and_to_the_aspect(width, height, budget):
    least, most = budget[0], budget[0] + budget[1]
    w, h = sized(width, height, least, most)
    assert w * h <= most
    if width * height >= least:
        assert w <= width
        assert h <= height
    if min(w, h) >= 64:
        assert abs(math.log((w / h) / (width / height))) < 0.08


def test_small_pictures_are_brought_up_to_the_least_area():
    assert sized(224, 224, 512 * 512, 512 * 512) == (512, 512)
    assert sized(224, 224, 1024, 262_144) == (224, 224)
    assert sized(1920, 1080, 1024, 262_144)[0] * sized(1920, 1080, 1024, 262_144)[1] <= 262_144


def test_one_view_is_encoded_once_for_all_questions(virtual, make_frame, monkeypatch):
    calls = []
    real = Sending.make

    def counted(self, frame):
        calls.append(frame)
        return real(self, frame)

    monkeypatch.setattr(Sending, "make", counted)
    views, frame = EncodedViews(), make_frame()
    sending = Sending("whole", 1024, 65_536, 1, 95)

    async def both():
        return await asyncio.gather(views.of(frame, sending), views.of(frame, sending))

    first, second = virtual.run(both())
    assert first is second
    assert len(calls) == 1


def test_an_encoded_view_is_never_taken_for_that_of_another_frame(virtual, make_frame):
    views, sending = EncodedViews(), Sending("whole", 1024, 65_536, 1, 95)

    async def brightness(value):
        frame = make_frame(np.full((64, 64, 3), value, np.uint8))
        (view,) = await views.of(frame, sending)
        return cv2.imdecode(np.frombuffer(view.jpeg, np.uint8), 0).mean()

    for value in (10, 200, 90, 250):  # freed frames leave their addresses to later ones
        assert virtual.run(brightness(value)) == pytest.approx(value, abs=3)


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "prompts").rglob("*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_prompt_is_sound(path):
    assert load_prompt(path).before.strip()


def test_a_prompt_with_an_unknown_field_is_refused_by_name(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("before: x\nbefor: y\n")
    with pytest.raises(ConfigurationError, match=r"bad\.yaml: befor: Extra inputs"):
        load_prompt(path)


def test_a_server_that_is_not_there_is_named(virtual):
    settings = VlmSettings(servers=("fats",), questions=(Path("prompts/roadwork.yaml"),))
    with pytest.raises(ConfigurationError, match=r"\['fats'\]; there are: fast"):
        FAMILY.build("vlm", settings, Surroundings(CONFIGS, {"fast": ServerDouble("fast")}))


def test_more_least_than_most_pixels_is_refused():
    with pytest.raises(ValidationError, match="min_pixels 2048 is more than max_pixels 1024"):
        VlmSettings(servers=("a",), questions=(Path("q"),), min_pixels=2048, max_pixels=1024)


def judge(server):
    settings = VlmJudgeSettings(servers=(server.name,), prompt=Path("prompts/judge.yaml"))
    return JUDGE_FAMILY.build("judge", settings, Surroundings(CONFIGS, {server.name: server}))


def test_the_judge_reads_what_the_others_saw(virtual, make_frame):
    server = ServerDouble("power", yes=0.3, no=0.6)
    heard = (
        Opinion("network", Status.OK, 0.81, evidence=(Evidence("cone", 0.7, (0, 150, 40, 200)),)),
        Opinion("colour", Status.FAILED, detail="broke"),
    )
    said = virtual.run(judge(server).consider(make_frame(), heard, Deadline.after(3.0, virtual)))
    assert said.probability == pytest.approx(1 / 3)
    (question,) = server.asked
    assert question.picture is None
    assert "network: roadwork with probability 0.81" in question.after
    assert "cone 0.70 at the bottom left, 4% of the picture" in question.after
    assert "colour" not in question.after
    assert "{evidence}" not in question.before + question.after


def test_the_judge_says_nothing_before_anybody_else_has(virtual, make_frame):
    with pytest.raises(UnavailableError, match="nobody has said anything"):
        virtual.run(judge(ServerDouble("power")).look(make_frame(), Deadline.after(3.0, virtual)))


def test_the_judge_hears_the_levels_before_its_own(virtual, make_frame):
    server = ServerDouble("power", yes=0.9, no=0.1)
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
