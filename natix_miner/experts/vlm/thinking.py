"""Thinking before the answer, within what time is left."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

#: Share of the computed tokens that is really asked for; the speed of a busy server varies.
CAUTION = 0.8


class ThinkingSettings(BaseModel):
    """How long to think, and in which words.

    `prompt` is the question that the thoughts answer; `tokens_per_second` what the server is known
    to write for one request; `reserve_seconds` are kept free for the answer itself. Fewer than
    `least_tokens` are not worth it, more than `most_tokens` are not wanted. `opening` and `closing`
    stand around the thoughts, as the model was trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Path
    tokens_per_second: PositiveFloat
    reserve_seconds: NonNegativeFloat = 1.5
    least_tokens: PositiveInt = 32
    most_tokens: PositiveInt = 512
    opening: str = "<think>\n"
    closing: Annotated[str, Field(min_length=1)] = "\n</think>\n\n"

    def budget(self, seconds_left: float) -> int:
        """Tokens to think with `seconds_left`; 0 when it is not worth it.

        floor(0.8 * (left - reserve) * rate), at most `most_tokens`: a fifth of the time is kept for
        a server that is slower than it used to be.
        """
        tokens = math.floor(
            CAUTION * (seconds_left - self.reserve_seconds) * self.tokens_per_second
        )
        return 0 if tokens < self.least_tokens else min(tokens, self.most_tokens)

    def seconds(self, tokens: int) -> float:
        """How long writing so many tokens may take, the caution included."""
        return tokens / self.tokens_per_second / CAUTION

    def wrapped(self, thoughts: str) -> str:
        """The thoughts as they stand before the answer."""
        bare = thoughts.removeprefix(self.opening.strip()).strip()
        bare = bare.partition(self.closing.strip())[0].strip()
        return f"{self.opening}{bare}{self.closing}"
