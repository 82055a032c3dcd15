"""The tokens that say yes and no, and their probabilities when they were chosen by number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from natix_miner.errors import ServerAnswerError
from natix_miner.experts.vlm.port import TokenAnswer
from natix_miner.serving.wire import read_choice, read_object, read_prompt_tokens

#: What vLLM writes in place of a log-probability that it did not compute.
NOT_COMPUTED = -9999.0
#: Probabilities of distinct tokens may sum to this; the rest of the way is rounding.
MOST_MASS = 1.0 + 1e-3
#: Marks of a space at the start of a token, in byte-level and in SentencePiece vocabularies.
_SPACES = " \t\r\nĠ▁"
_PREFIX = "token_id:"


def spellings(word: str) -> tuple[str, ...]:
    """All ways to write a word at the start of an answer."""
    return tuple(
        space + written for space in ("", " ") for written in (word, word.title(), word.upper())
    )


def plain(token: str) -> str:
    """The word of a token's text, without spaces and capitals."""
    return token.strip(_SPACES).lower()


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """Numbers of the tokens that are a spelling of yes, or of no; neither is empty."""

    yes: tuple[int, ...]
    no: tuple[int, ...]

    def __post_init__(self) -> None:
        for word, ids in (("yes", self.yes), ("no", self.no)):
            if not ids:
                raise ServerAnswerError(
                    f"no spelling of {word!r} is a single token of this model; it cannot answer "
                    "with one token: take another model",
                    200,
                )
        if both := set(self.yes) & set(self.no):
            raise ServerAnswerError(
                f"tokens {sorted(both)} stand for yes and for no alike: the words are not in this "
                "model's vocabulary; take another model",
                200,
            )

    @property
    def all(self) -> tuple[int, ...]:
        """What is asked for: yes first."""
        return self.yes + self.no


def tokenizing(model: str, text: str) -> bytes:
    """The body that asks how a text is cut into tokens."""
    fields = {"model": model, "prompt": text, "add_special_tokens": False}
    return json.dumps({**fields, "return_token_strs": True}).encode()


def read_single_token(word: str, body: bytes) -> int | None:
    """The token's number when the text is a single token that means `word`; None when not.

    Raises ServerAnswerError when the answer is not of that form.
    """
    answer = read_object(body)
    ids, texts = answer.get("tokens"), answer.get("token_strs")
    if not isinstance(ids, list) or not all(type(token) is int and token >= 0 for token in ids):
        raise ServerAnswerError(f"answered no `tokens` for {word!r} to /tokenize", 200)
    if len(ids) != 1:
        return None
    # A tokenizer that does not know the word gives one token too: the one for the unknown.
    known = not isinstance(texts, list) or (len(texts) == 1 and plain(str(texts[0])) == word)
    return ids[0] if known else None


def read_chosen(body: bytes, tokens: AnswerTokens) -> TokenAnswer:
    """Masses of yes and no; raises ServerAnswerError when one of the tokens is not there."""
    answer = read_object(body)
    found = dict(_numbered(answer))
    missing = [token for token in tokens.all if found.get(token, NOT_COMPUTED) <= NOT_COMPUTED]
    if missing:
        raise ServerAnswerError(
            f"left out the log-probabilities of tokens {missing} of {list(tokens.all)}: it does "
            "not do `logprob_token_ids` as asked, or somebody asks it for `top_logprobs` as well; "
            "ask in one kind only, or set `logprobs: top`",
            200,
        )
    yes = math.fsum(math.exp(found[token]) for token in tokens.yes)
    no = math.fsum(math.exp(found[token]) for token in tokens.no)
    return token_answer(yes, no, read_prompt_tokens(answer))


def token_answer(yes: float, no: float, prompt_tokens: int | None) -> TokenAnswer:
    """The answer of these masses; raises ServerAnswerError when they are no probabilities."""
    if not yes + no <= MOST_MASS:
        raise ServerAnswerError(f"gave yes {yes:.4g} and no {no:.4g}: more than certain", 200)
    if not yes + no > 0.0:
        raise ServerAnswerError("gave neither yes nor no any probability", 200)
    return TokenAnswer(yes=min(yes, 1.0), no=min(no, 1.0), prompt_tokens=prompt_tokens)


def read_logprobs(answer: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Texts and log-probabilities listed for the first token of an answer, in the order given.

    Raises ServerAnswerError when there are none, or one is no finite number of at most 0
    (rounding aside).
    """
    logprobs = read_choice(answer).get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    listed = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ServerAnswerError(
            "answered without log-probabilities; a server that cannot give them cannot be asked "
            "for yes or no: take another engine",
            200,
        )
    return [_entry(row) for row in listed]


def _entry(row: object) -> tuple[str, float]:
    token, logprob = (row.get("token"), row.get("logprob")) if isinstance(row, dict) else ("", row)
    if (
        isinstance(token, str)
        and isinstance(logprob, int | float)
        and not isinstance(logprob, bool)
        # Refuses NaN, infinities and whole numbers too large for a float as well.
        and NOT_COMPUTED <= logprob <= 1e-3
    ):
        return token, float(logprob)
    raise ServerAnswerError(
        f"answered a log-probability that is none: {str(logprob)[:40]} for {str(token)[:40]!r}", 200
    )


def _numbered(answer: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    for token, logprob in read_logprobs(answer):
        number = token.removeprefix(_PREFIX)
        if token.startswith(_PREFIX) and number.isdecimal():
            yield int(number), logprob
