"""Thinking before the answer: as long as there is time, and the plain answer otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from natix_miner.errors import ServerAnswerError, UnavailableError
from natix_miner.experts.vlm.thinking import ThinkingSettings
from tests.experts.vlm_doubles import ServerDouble, expert, look

THINK = {"prompt": "prompts/think.yaml", "tokens_per_second": 100.0, "reserve_seconds": 1.0}


def test_thoughts_stand_before_the_answer(virtual, make_frame):
    server = ServerDouble("power", writes="\n<think>\nan orange cone\n</think>\n\nyes")
    made = expert([server], virtual, thinking=THINK)
    said = look(virtual, made, make_frame(), seconds=3.02)
    assert server.budgets == [160]  # floor(0.8 * (3.0 - 1.0) * 100)
    assert server.asked[0].thought == "<think>\nan orange cone\n</think>\n\n"
    assert said.probability == pytest.approx(0.75)
    assert said.detail == "power thought 14 characters"


def test_other_models_have_other_brackets(virtual, make_frame):
    server = ServerDouble(writes="a cone")
    brackets = {**THINK, "opening": "", "closing": "\nSo the answer is: "}
    look(virtual, expert([server], virtual, thinking=brackets), make_frame(), seconds=3.0)
    assert server.asked[0].thought == "a cone\nSo the answer is: "


def test_without_time_to_think_it_answers_plainly(virtual, make_frame):
    server = ServerDouble()
    said = look(virtual, expert([server], virtual, thinking=THINK), make_frame(), seconds=1.22)
    assert server.budgets == []
    assert server.asked[0].thought == ""
    assert said.detail == "no thinking: 1.2 s left"


def test_below_the_time_it_needs_it_does_not_think(virtual, make_frame):
    server = ServerDouble()
    made = expert([server], virtual, thinking={**THINK, "needs_seconds": 4.0})
    assert look(virtual, made, make_frame(), 3.52).detail == "no thinking: 3.5 s left"
    assert look(virtual, made, make_frame(), 4.52).detail.startswith("fast thought")


def test_thoughts_that_take_too_long_are_done_without(virtual, make_frame):
    server = ServerDouble("power", tokens_per_second=10.0)  # a tenth of what was promised
    said = look(virtual, expert([server], virtual, thinking=THINK), make_frame(), seconds=3.02)
    assert said.probability == pytest.approx(0.75)
    assert server.asked[0].thought == ""
    assert said.detail == "no thinking: power: no answer within 2.00 s"


@pytest.mark.parametrize(
    ("error", "remark"),
    [
        (UnavailableError("full"), "no thinking: power: full"),
        (ServerAnswerError("garbage", 200), "no thinking: power: garbage"),
    ],
)
def test_a_server_that_cannot_think_still_answers(virtual, make_frame, error, remark):
    class Answering(ServerDouble):
        async def write(self, question, most_tokens, deadline):
            raise error

    said = look(virtual, expert([Answering("power")], virtual, thinking=THINK), make_frame())
    assert said.probability == pytest.approx(0.75)
    assert said.detail == remark


def test_empty_thoughts_are_none(virtual, make_frame):
    server = ServerDouble(writes="<think>\n\n</think>\n\nyes")
    said = look(virtual, expert([server], virtual, thinking=THINK), make_frame())
    assert server.asked[0].thought == ""
    assert said.detail == "no thinking: fast wrote nothing"


def test_a_server_at_its_promised_speed_may_finish_though_others_stand_by(virtual, make_frame):
    power = ServerDouble("power", tokens_per_second=100.0)
    spare = ServerDouble("fast", tokens_per_second=100.0)
    made = expert([power, spare], virtual, thinking=THINK)
    said = look(virtual, made, make_frame(), seconds=5.02)
    assert power.budgets == [320]  # takes 3.2 of the 4 s that thinking has
    assert said.detail == "power thought 6 characters"
    assert (spare.budgets, spare.asked) == ([], [])


def test_whoever_thought_is_asked_for_the_answer(virtual, make_frame):
    class Full(ServerDouble):
        async def write(self, question, most_tokens, deadline):
            raise UnavailableError("full")

    power, fast = Full("power"), ServerDouble("fast")
    said = look(virtual, expert([power, fast], virtual, thinking=THINK), make_frame())
    assert said.by == "fast"
    assert said.detail == "fast thought 6 characters (power: full)"
    assert power.asked == []


def test_after_thinking_in_vain_there_is_time_for_the_answer(virtual, make_frame):
    power = ServerDouble("power", seconds=0.9, tokens_per_second=1.0)
    begun = virtual.monotonic()
    said = look(virtual, expert([power], virtual, thinking=THINK), make_frame(), seconds=3.02)
    assert said.probability == pytest.approx(0.75)
    assert virtual.monotonic() - begun == pytest.approx(2.9)


@given(
    left=st.floats(0.0, 60.0),
    rate=st.floats(0.1, 5000.0),
    reserve=st.floats(0.0, 5.0),
    needs=st.floats(0.0, 10.0),
)
def test_the_budget_of_thinking_fits_into_the_time_left(left, rate, reserve, needs):
    think = ThinkingSettings(
        prompt=Path("x"),
        tokens_per_second=rate,
        reserve_seconds=reserve,
        needs_seconds=needs,
        most_tokens=512,
    )
    budget = think.budget(left)
    assert budget == 0 or (32 <= budget <= 512 and left >= needs)
    # At the promised speed a fifth of the time is to spare.
    assert budget / rate <= max(0.0, 0.8 * (left - reserve)) + 1e-9
    assert budget == 0 or think.seconds(budget) <= left - reserve + 1e-6


def test_a_blank_end_of_thoughts_is_refused():
    with pytest.raises(ValidationError, match="closing"):
        ThinkingSettings(prompt=Path("x"), tokens_per_second=1.0, closing="\n\n")
