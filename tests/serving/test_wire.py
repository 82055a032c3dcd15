"""What is sent to a server, and what is read from its answer: shapes by hand, numbers by numpy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.errors import ServerAnswerError
from natix_miner.experts.vlm.port import Question
from natix_miner.serving import wire
from natix_miner.serving.token_ids import (
    AnswerTokens,
    read_chosen,
    read_single_token,
    spellings,
    tokenizing,
)
from natix_miner.serving.top_logprobs import read_top
from tests.serving.misbehaving import completion

TOKENS = AnswerTokens(yes=(4, 7), no=(5, 9))
TEXT = st.text(max_size=60)


def body(answer: object) -> bytes:
    return json.dumps(answer).encode()


def numbered(logprobs: dict[int, float]) -> bytes:
    return body(completion({f"token_id:{token}": value for token, value in logprobs.items()}))


def test_the_whole_body_of_a_question_for_chosen_tokens():
    question = Question(before="Roadwork?", picture=b"\xff\xd8\xff", system="Judge.", after="Say.")
    assert json.loads(wire.asking_for_chosen("m", question, (4, 5))) == {
        "model": "m",
        "max_tokens": 1,
        "temperature": 0,
        "stream": False,
        "logprobs": True,
        "logprob_token_ids": [4, 5],
        "return_tokens_as_token_ids": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "messages": [
            {"role": "system", "content": "Judge."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Roadwork?"},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}},
                    {"type": "text", "text": "Say."},
                ],
            },
        ],
    }


def test_the_whole_body_of_a_question_for_the_most_probable_tokens():
    assert json.loads(wire.asking_for_top("m", Question("Roadwork?", b"\xff\xd8\xff"))) == {
        "model": "m",
        "max_tokens": 1,
        "temperature": 0,
        "stream": False,
        "logprobs": True,
        "top_logprobs": 20,
        "chat_template_kwargs": {"enable_thinking": False},
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Roadwork?"},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}},
                ],
            }
        ],
    }


def test_the_whole_body_of_a_request_for_text_without_a_picture():
    assert json.loads(wire.asking_for_text("m", Question("Heard: a, b.", after="Why?"), 40)) == {
        "model": "m",
        "max_tokens": 40,
        "temperature": 0,
        "stream": False,
        "chat_template_kwargs": {"enable_thinking": True},
        "messages": [{"role": "user", "content": "Heard: a, b.\nWhy?"}],
    }


def test_a_thought_is_put_in_front_of_the_answer():
    sent = json.loads(wire.asking_for_chosen("m", Question("q", thought="I see cones. So:"), (4,)))
    assert sent["messages"][-1] == {"role": "assistant", "content": "I see cones. So:"}
    assert sent["continue_final_message"] is True
    assert sent["add_generation_prompt"] is False


@given(before=TEXT, system=TEXT, after=TEXT, thought=TEXT, picture=st.binary(max_size=90))
def test_whatever_is_written_in_a_question_arrives_unchanged(
    before, system, after, thought, picture
):
    question = Question(before, picture, system, after, thought)
    messages = json.loads(wire.asking_for_top("m", question))["messages"]
    content = next(m["content"] for m in messages if m["role"] == "user")
    texts = [part["text"] for part in content if part["type"] == "text"]
    assert texts == [text for text in (before, after) if text]
    assert [m["content"] for m in messages if m["role"] == "system"] == ([system] if system else [])
    assert [m["content"] for m in messages if m["role"] == "assistant"] == (
        [thought] if thought else []
    )


@pytest.mark.parametrize(
    ("base", "completions", "tokenize"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions", "http://h:1/tokenize"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions", "http://h:1/tokenize"),
        ("https://h/a/v2", "https://h/a/v2/chat/completions", "https://h/a/tokenize"),
        ("https://v1", "https://v1/v1/chat/completions", "https://v1/tokenize"),
        ("https://h/vision", "https://h/vision/v1/chat/completions", "https://h/vision/tokenize"),
    ],
)
def test_addresses_with_and_without_the_version(base, completions, tokenize):
    assert wire.Addresses.of(base) == wire.Addresses(completions, tokenize)


def test_masses_of_all_spellings_are_summed():
    told = numbered({1: -0.1, 4: np.log(0.5), 7: np.log(0.1), 5: np.log(0.15), 9: np.log(0.05)})
    answer = read_chosen(told, TOKENS)
    assert answer.yes == pytest.approx(0.6)
    assert answer.no == pytest.approx(0.2)
    assert answer.probability == pytest.approx(0.75)
    assert answer.elsewhere == pytest.approx(0.2)
    assert answer.prompt_tokens == 73


@given(st.lists(st.floats(-30.0, 30.0), min_size=12, max_size=12))
def test_p_yes_is_that_of_an_independent_softmax(logits):
    raw = np.array(logits)
    softmax = np.exp(raw - raw.max()) / np.exp(raw - raw.max()).sum()
    logprobs = np.log(np.maximum(softmax, 1e-300))
    answer = read_chosen(numbered({i: float(logprobs[i]) for i in (4, 7, 5, 9)}), TOKENS)
    assert answer.yes == pytest.approx(softmax[4] + softmax[7], rel=1e-9)
    assert answer.no == pytest.approx(softmax[5] + softmax[9], rel=1e-9)
    four = np.exp(raw[[4, 7, 5, 9]] - raw[[4, 7, 5, 9]].max())
    assert answer.probability == pytest.approx(four[:2].sum() / four.sum(), rel=1e-6, abs=1e-12)


GOOD = {4: -2.0, 7: -3.0, 5: -2.5, 9: -4.0}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (numbered({4: -2.0, 7: -3.0, 5: -2.5}), r"left out .* \[9\] of \[4, 7, 5, 9\]"),
        (numbered({**GOOD, 7: -9999.0}), r"left out .* \[7\]"),
        (body(completion({"yes": -1.0, "no": -1.0})), "left out"),
        (numbered({**GOOD, 4: 0.5}), "is none: 0.5"),
        (numbered({**GOOD, 4: float("nan")}), "is none: nan"),
        (numbered({**GOOD, 4: float("-inf")}), "is none: -inf"),
        (numbered({**GOOD, 4: -(10**400)}), "is none: -1000"),
        (numbered({**GOOD, 4: True}), "is none: True"),
        (numbered({**GOOD, 4: None}), "is none: None"),
        (numbered({**GOOD, 4: "-1"}), "is none: -1"),
        (numbered({**GOOD, 4: -0.1, 5: -0.1}), "more than certain"),
        (numbered(dict.fromkeys(GOOD, -9000.0)), "neither yes nor no any probability"),
        (b"<html>", "6 bytes that are no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "a JSON list"),
        (b"{}", "without `choices`"),
        (body({"choices": []}), "without `choices`"),
        (body({"choices": [7]}), "without `choices`"),
        (body({"choices": [{"message": {"content": "yes"}}]}), "without log-probabilities"),
        (body({"choices": [{"logprobs": None}]}), "without log-probabilities"),
        (body({"choices": [{"logprobs": {"content": []}}]}), "without log-probabilities"),
        (body({"choices": [{"logprobs": {"content": [{}]}}]}), "without log-probabilities"),
        (body({"choices": [{"logprobs": {"content": [{"top_logprobs": [3]}]}}]}), "is none"),
    ],
)
def test_an_answer_of_another_form_is_an_error_that_says_what_came(told, says):
    with pytest.raises(ServerAnswerError, match=says) as error:
        read_chosen(told, TOKENS)
    assert error.value.status == 200


def test_a_sum_that_is_over_one_by_rounding_is_taken():
    answer = read_chosen(numbered({4: np.log(0.9005), 7: -30.0, 5: np.log(0.1), 9: -30.0}), TOKENS)
    assert answer.yes + answer.no == pytest.approx(1.0005)
    assert answer.elsewhere == 0.0


def test_top_tokens_are_matched_by_their_word():
    masses = {"yes": 0.4, " Yes": 0.1, "YES": 0.05, "no": 0.2, "▁No": 0.05, "Maybe": 0.1}
    told = completion({token: float(np.log(mass)) for token, mass in masses.items()})
    answer = read_top(body(told))
    assert (answer.yes, answer.no) == pytest.approx((0.55, 0.25))


def test_the_one_that_is_not_listed_gets_the_least_listed_probability():
    told = completion({"no": float(np.log(0.7)), "perhaps": float(np.log(0.02))})
    answer = read_top(body(told))
    assert (answer.yes, answer.no) == pytest.approx((0.02, 0.7))


def test_the_one_that_is_not_listed_gets_no_more_than_what_is_left():
    masses = {"Yes": 0.9, "yes": 0.05, "maybe": 0.045}
    told = completion({token: float(np.log(mass)) for token, mass in masses.items()})
    answer = read_top(body(told))
    assert (answer.yes, answer.no) == pytest.approx((0.95, 0.005))


@given(st.lists(st.floats(-12.0, 12.0), min_size=40, max_size=40), st.booleans())
def test_with_one_listed_p_yes_errs_towards_one_half_only(logits, swap):
    raw = np.array(logits)
    raw[0] = raw.max() + 1.0
    softmax = np.exp(raw - raw.max()) / np.exp(raw - raw.max()).sum()
    words = [f"w{index}" for index in range(40)]
    words[0], words[int(np.argmin(raw))] = ("no", "yes") if swap else ("yes", "no")
    top = np.argsort(-raw)[:20]
    told = completion({words[i]: float(np.log(softmax[i])) for i in top})
    found = read_top(body(told)).probability
    yes, no = (softmax[words.index(word)] for word in ("yes", "no"))
    true = yes / (yes + no)
    assert abs(found - 0.5) <= abs(true - 0.5) + 1e-9
    assert (found - 0.5) * (true - 0.5) >= 0.0


def test_when_neither_is_listed_the_server_is_said_to_be_of_no_use():
    with pytest.raises(ServerAnswerError, match=r"neither yes nor no .*'the'.* cannot be used"):
        read_top(body(completion({"The": -0.2, "A": -2.0})))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Yes, cones."}, "Yes, cones."),
        ({"content": None, "reasoning": "I see"}, "I see"),
        ({"content": "yes", "reasoning_content": "cones"}, "cones\nyes"),
        ({"content": "yes", "reasoning": "", "reasoning_content": None}, "yes"),
        ({"content": None}, ""),
    ],
)
def test_text_is_read_from_whichever_field_the_server_fills(message, text):
    assert wire.read_text({"choices": [{"message": message}]}) == text


@pytest.mark.parametrize("choice", [{}, {"message": "yes"}, {"message": {"content": [1]}}])
def test_an_answer_without_text_is_an_error(choice):
    with pytest.raises(ServerAnswerError):
        wire.read_text({"choices": [choice]})


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "9"}, {"prompt_tokens": -1}])
def test_a_prompt_length_that_is_not_told_is_not_known(usage):
    assert wire.read_prompt_tokens({"usage": usage}) is None


def test_six_spellings_of_a_word():
    assert set(spellings("yes")) == {"yes", "Yes", "YES", " yes", " Yes", " YES"}


def test_the_whole_body_that_asks_how_a_word_is_cut():
    assert json.loads(tokenizing("m", " Yes")) == {
        "model": "m",
        "prompt": " Yes",
        "add_special_tokens": False,
        "return_token_strs": True,
    }


@pytest.mark.parametrize(
    ("told", "token"),
    [
        ({"tokens": [266], "token_strs": ["ĠYes"]}, 266),
        ({"tokens": [266], "token_strs": ["▁yes"]}, 266),
        ({"tokens": [266], "token_strs": None}, 266),
        ({"tokens": [266]}, 266),
        ({"tokens": [0], "token_strs": ["<unk>"]}, None),
        ({"tokens": [3, 4], "token_strs": ["y", "es"]}, None),
        ({"tokens": []}, None),
    ],
)
def test_only_a_single_token_that_means_the_word_counts(told, token):
    assert read_single_token("yes", body(told)) == token


@pytest.mark.parametrize("told", [{}, {"tokens": 4}, {"tokens": ["yes"]}, {"tokens": [-1]}])
def test_an_answer_that_does_not_say_how_a_word_is_cut_is_an_error(told):
    with pytest.raises(ServerAnswerError, match="no `tokens`"):
        read_single_token("yes", body(told))


@pytest.mark.parametrize(
    ("yes", "no", "says"),
    [
        ((), (5,), "no spelling of 'yes' is a single token"),
        ((4,), (), "no spelling of 'no' is a single token"),
        ((4, 5), (5, 6), r"tokens \[5\] stand for yes and for no alike"),
    ],
)
def test_tokens_that_cannot_tell_yes_from_no_are_refused(yes, no, says):
    with pytest.raises(ServerAnswerError, match=says):
        AnswerTokens(yes, no)
