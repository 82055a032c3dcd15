"""What is sent to a server and what comes back, in the shape of OpenAI's chat completions.

Pure functions: bytes out, bytes in. There are two kinds of asking for the probabilities of answer
tokens: `chosen` names the tokens (vLLM's `logprob_token_ids`), `top` takes the twenty most
probable ones, as every such server can. One server must be asked in one kind only: vLLM, where
both stand in one batch, answers the second kind short or wrong, with status 200.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from natix_miner.errors import ServerAnswerError
from natix_miner.experts.vlm.port import Question

Kind = Literal["chosen", "top"]

#: The most that the OpenAI shape allows.
TOP_LOGPROBS = 20

#: One token, the most probable one: what is asked for are the probabilities of it and the others.
_ONE_TOKEN = {"max_tokens": 1, "temperature": 0, "logprobs": True, "stream": False}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server takes questions, and where it cuts text into tokens."""

    completions: str
    tokenize: str

    @classmethod
    def of(cls, base_url: str) -> Addresses:
        """From the address of a server, with or without the version at its end.

        `http://host:8000` and `http://host:8000/v1` mean the same. vLLM has /tokenize beside the
        version, not beneath it.
        """
        base = base_url.rstrip("/")
        last = urlsplit(base).path.rpartition("/")[2]
        if last[:1] == "v" and last[1:].isdecimal():
            return cls(f"{base}/chat/completions", f"{base.removesuffix(last)}tokenize")
        return cls(f"{base}/v1/chat/completions", f"{base}/tokenize")


def asking_for_chosen(model: str, question: Question, token_ids: tuple[int, ...]) -> bytes:
    """The body that asks for the probabilities of exactly these tokens, whatever their rank.

    Tokens come back by their number (`token_id:42`): texts are not unique, several tokens may be
    written alike.
    """
    fields = {"logprob_token_ids": list(token_ids), "return_tokens_as_token_ids": True}
    return _body({"model": model, **_ONE_TOKEN, **fields}, question, thinking=False)


def asking_for_top(model: str, question: Question) -> bytes:
    """The body that asks for the probabilities of the most probable tokens."""
    fields = {"model": model, **_ONE_TOKEN, "top_logprobs": TOP_LOGPROBS}
    return _body(fields, question, thinking=False)


def asking_for_text(model: str, question: Question, most_tokens: int) -> bytes:
    """The body that asks for up to `most_tokens` tokens of text, thoughts included."""
    fields = {"model": model, "max_tokens": most_tokens, "temperature": 0, "stream": False}
    return _body(fields, question, thinking=True)


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of an answer; raises ServerAnswerError when it is none."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServerAnswerError(
            f"answered {len(body)} bytes that are no JSON ({type(error).__name__})", 200
        ) from error
    if not isinstance(read, dict):
        raise ServerAnswerError(f"answered a JSON {type(read).__name__}, not an object", 200)
    return read


def read_choice(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The one choice of an answer; raises ServerAnswerError when there is none."""
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    raise ServerAnswerError("answered without `choices`", 200)


def read_text(answer: Mapping[str, Any]) -> str:
    """All text of an answer: the thoughts, where the server tells them apart, then the content."""
    message = read_choice(answer).get("message")
    if not isinstance(message, dict):
        raise ServerAnswerError("answered without a `message`", 200)
    # `reasoning` is today's name; SGLang, LMDeploy and older vLLM say `reasoning_content`.
    thoughts = message.get("reasoning") or message.get("reasoning_content")
    texts = [text for text in (thoughts, message.get("content")) if text]
    if not all(isinstance(text, str) for text in texts):
        raise ServerAnswerError("answered a message that is no text", 200)
    return "\n".join(texts)


def read_prompt_tokens(answer: Mapping[str, Any]) -> int | None:
    """How long the prompt was in tokens, picture included; None where the server does not say."""
    usage = answer.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else None


def _body(fields: dict[str, Any], question: Question, *, thinking: bool) -> bytes:
    """JSON, put together around the picture: base64 needs no escaping, so it is copied only once.

    Constant text stands before the picture: a prefix that the server keeps serves all pictures.
    """
    # Hybrid models think unless told not to; templates that know no such switch ignore it.
    fields["chat_template_kwargs"] = {"enable_thinking": thinking}
    if question.thought:
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    parts = [json.dumps(fields)[:-1].encode(), b', "messages": [']
    if question.system:
        parts += _message("system", question.system), b", "
    if question.picture is None:
        text = "\n".join(text for text in (question.before, question.after) if text)
        parts.append(_message("user", text))
    else:
        parts += _user_with_picture(question.before, question.picture, question.after)
    if question.thought:
        parts += b", ", _message("assistant", question.thought)
    parts.append(b"]}")
    return b"".join(parts)


def _message(role: str, text: str) -> bytes:
    return json.dumps({"role": role, "content": text}).encode()


def _user_with_picture(before: str, picture: bytes, after: str) -> list[bytes]:
    parts = [b'{"role": "user", "content": [']
    if before:
        parts += _text(before), b", "
    parts += (
        b'{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,',
        b2a_base64(picture, newline=False),
        b'"}}',
    )
    if after:
        parts += b", ", _text(after)
    parts.append(b"]}")
    return parts


def _text(text: str) -> bytes:
    return json.dumps({"type": "text", "text": text}).encode()
