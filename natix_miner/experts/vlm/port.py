"""What a vision-language expert needs of a server, whoever carries the questions there.

The cascade knows no HTTP: `natix_miner.serving` brings the servers in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from natix_miner.clock import Deadline


@dataclass(frozen=True, slots=True)
class Question:
    """One yes/no question, ready to send.

    `system` and `before` are constant text, so that servers can keep it cached; the picture (an
    encoded JPEG, or None for a question about text) comes after them, then `after`. `thought` is
    what the model has written before answering, put in front of its answer.
    """

    before: str
    picture: bytes | None = None
    system: str = ""
    after: str = ""
    thought: str = ""


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """Probability masses of the first answer token: on all spellings of yes, on all of no.

    Both in [0, 1], of the full vocabulary, `yes + no > 0`; `prompt_tokens` as the server counts.
    """

    yes: float
    no: float
    prompt_tokens: int | None = None

    @property
    def probability(self) -> float:
        """P(yes), renormalised over yes and no."""
        return self.yes / (self.yes + self.no)

    @property
    def elsewhere(self) -> float:
        """The mass on neither."""
        return max(0.0, 1.0 - self.yes - self.no)


class Server(Protocol):
    """A server that answers questions.

    Raises UnavailableError at once when it is down, resting (its breaker is open) or full,
    TimeoutError when the deadline has passed, ServerAnswerError when it answered something else.
    Cancelling cancels at the server too.
    """

    name: str

    async def ask(self, question: Question, deadline: Deadline) -> TokenAnswer:
        """The masses on yes and no."""
        ...

    async def write(self, question: Question, most_tokens: int, deadline: Deadline) -> str:
        """Up to `most_tokens` tokens of free text in answer to the question."""
        ...
