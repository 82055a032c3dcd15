"""Thinking before the answer, within what time is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from natix_miner.clock import Deadline
from natix_miner.errors import ServerAnswerError, UnavailableError
from natix_miner.experts.vlm.falling import first_answer
from natix_miner.experts.vlm.port import Question, Server
from natix_miner.experts.vlm.prompt import Prompt
from natix_miner.sections import Section

#: Share of the computed tokens that is really asked for; the speed of a busy server varies.
CAUTION = 0.8


class ThinkingSettings(Section):
    """How long to think, and in which words.

    `prompt` is the question that the thoughts answer; `tokens_per_second` what the server is known
    to write for one request; `reserve_seconds` are kept free for the answer itself. With less than
    `needs_seconds` left, or for fewer than `least_tokens`, it is not worth it; more than
    `most_tokens` are not wanted. `opening` and `closing` stand around the thoughts, as the model
    was trained.
    """

    prompt: Path
    tokens_per_second: PositiveFloat
    reserve_seconds: NonNegativeFloat = 1.5
    needs_seconds: NonNegativeFloat = 0.0
    least_tokens: PositiveInt = 32
    most_tokens: PositiveInt = 512
    opening: str = "<think>\n"
    closing: Annotated[str, Field(pattern=r"\S")] = "\n</think>\n\n"

    def budget(self, seconds_left: float) -> int:
        """Tokens to think with `seconds_left`; 0 when it is not worth it.

        floor(0.8 * (left - reserve) * rate), at most `most_tokens`: a fifth of the time is kept for
        a server that is slower than it used to be.
        """
        tokens = math.floor(
            CAUTION * (seconds_left - self.reserve_seconds) * self.tokens_per_second
        )
        if seconds_left < self.needs_seconds or tokens < self.least_tokens:
            return 0
        return min(tokens, self.most_tokens)

    def seconds(self, tokens: int) -> float:
        """How long writing so many tokens may take, the caution included."""
        return tokens / self.tokens_per_second / CAUTION

    def bare(self, written: str) -> str:
        """The thoughts alone, without what stands around them or what follows."""
        begun = written.strip().removeprefix(self.opening.strip())
        return begun.partition(self.closing.strip())[0].strip()

    def wrapped(self, thoughts: str) -> str:
        """Bare thoughts as they stand before the answer."""
        return f"{self.opening}{thoughts}{self.closing}"


@dataclass(frozen=True, slots=True)
class Thoughts:
    """What was thought: `text` to put before the answer (empty: nothing), a `remark` for the
    trace, and the server that wrote it."""

    text: str = ""
    remark: str = ""
    by: str | None = None


async def think(
    settings: ThinkingSettings,
    prompt: Prompt,
    picture: bytes,
    servers: Sequence[Server],
    deadline: Deadline,
) -> Thoughts:
    """Have the first server that is up write its thoughts about a picture.

    Never fails: without time, server or text there are no thoughts, and the remark says why. The
    budget fits one server only, so one that is late has no successor.
    """
    left = deadline.remaining()
    budget = settings.budget(left)
    if not budget:
        return Thoughts(remark=f"no thinking: {left:.1f} s left")
    question = Question(
        before=prompt.before, picture=picture, system=prompt.system, after=prompt.after
    )
    try:
        written = await first_answer(
            servers,
            lambda server, until: server.write(question, budget, until),
            deadline.at_most(settings.seconds(budget)),
            share=1.0,
        )
    except (UnavailableError, ServerAnswerError, TimeoutError) as error:
        return Thoughts(remark=f"no thinking: {error}")
    thoughts = settings.bare(written.value)
    if not thoughts:
        return Thoughts(remark=f"no thinking: {written.by} wrote nothing")
    remark = f"{written.by} thought {len(thoughts)} characters"
    if written.passed_over:
        remark += f" ({written.passed_over})"
    return Thoughts(settings.wrapped(thoughts), remark, written.by)
