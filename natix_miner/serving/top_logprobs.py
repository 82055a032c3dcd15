"""P(yes) from the most probable tokens, for servers that cannot be asked for chosen ones."""

from __future__ import annotations

import math

from natix_miner.errors import ServerAnswerError
from natix_miner.experts.vlm.port import TokenAnswer
from natix_miner.serving.token_ids import plain, read_logprobs, token_answer
from natix_miner.serving.wire import read_object, read_prompt_tokens


def read_top(body: bytes) -> TokenAnswer:
    """Masses of yes and no among the listed tokens, matched by their text without space and case.

    Where one of them is not listed, it gets the most that it can have: not more than the least
    probable token that is, and not more than what all listed ones leave over. P(yes) then errs
    towards one half, and never beyond it. Raises ServerAnswerError when neither is listed.
    """
    answer = read_object(body)
    listed = [(plain(token), math.exp(logprob)) for token, logprob in read_logprobs(answer)]
    yes = math.fsum(mass for word, mass in listed if word == "yes")
    no = math.fsum(mass for word, mass in listed if word == "no")
    words = {word for word, _ in listed}
    if not words & {"yes", "no"}:
        first = ", ".join(repr(word[:20]) for word, _ in listed[:5])
        raise ServerAnswerError(
            f"neither yes nor no is among its {len(listed)} most probable tokens ({first} …): "
            "this server cannot be used with `logprobs: top`; take vLLM with `chosen`, or another "
            "model or prompt",
            200,
        )
    left = max(0.0, 1.0 - math.fsum(mass for _, mass in listed))
    bound = min(left, min(mass for _, mass in listed))
    return token_answer(
        yes if "yes" in words else bound,
        no if "no" in words else bound,
        read_prompt_tokens(answer),
    )
