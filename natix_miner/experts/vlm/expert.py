"""The vision-language expert: one question about one kind of view, answered with one token."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from natix_miner.clock import Deadline
from natix_miner.errors import NatixMinerError, UnavailableError
from natix_miner.experts.base import Expert
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.vlm.falling import Answered, first_answer
from natix_miner.experts.vlm.pictures import EncodedViews, Sending, SentView
from natix_miner.experts.vlm.port import Question, Server, TokenAnswer
from natix_miner.experts.vlm.prompt import Prompt
from natix_miner.experts.vlm.thinking import ThinkingSettings, Thoughts, think
from natix_miner.experts.vlm.votes import DEFAULT_TRUST, TrustBounds, look_of
from natix_miner.images import Frame, View

#: It gives up by itself so long before whoever asks does, and can then still say why.
MARGIN_SECONDS = 0.02
#: Characters of a remark that go into the trace.
MOST_DETAIL = 300


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, of whom: the question's name and words, the views, the servers in the order of
    preference, how several views become one vote; `thinking` and `think_prompt` go together."""

    question: str
    prompt: Prompt
    sending: Sending
    servers: tuple[Server, ...]
    combine: str = "mean"
    trust: TrustBounds = DEFAULT_TRUST
    thinking: ThinkingSettings | None = None
    think_prompt: Prompt | None = None

    @property
    def version(self) -> str:
        """Digest of words, pictures, rules and names of servers.

        Which weights a server holds is not known here: its name stands for them.
        """
        parts = (
            self.prompt,
            self.sending,
            self.combine,
            self.trust,
            self.thinking,
            self.think_prompt,
        )
        names = [server.name for server in self.servers]
        return hashlib.sha256(repr((parts, names)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer about one view, and what was thought before it."""

    view: SentView
    answered: Answered[TokenAnswer]
    thoughts: Thoughts


class VisionLanguageExpert(Expert):
    """Asks its question of every view of its kind at once, falling over from server to server.

    Views that were not answered are left out as long as one was. Raises UnavailableError when no
    server could be asked, TimeoutError or ServerAnswerError when none answered as it should.
    """

    def __init__(self, name: str, asking: Asking, encoded: EncodedViews) -> None:
        self.name = name
        self.version = asking.version
        self._asking = asking
        self._encoded = encoded

    def views(self, frame: Frame) -> list[View]:
        return self._asking.sending.views(frame)

    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        due = deadline.earlier(MARGIN_SECONDS)
        views = await self._views(frame, due)
        results = await asyncio.gather(
            *(self._ask(view, due) for view in views), return_exceptions=True
        )
        answers = [result for result in results if isinstance(result, _Answer)]
        failures = [result for result in results if isinstance(result, BaseException)]
        if not answers:
            raise _gravest(failures)
        return self._look(answers, failures)

    async def _views(self, frame: Frame, due: Deadline) -> list[SentView]:
        try:
            async with asyncio.timeout(max(0.0, due.remaining())):
                views = await self._encoded.of(frame, self._asking.sending)
        except TimeoutError:
            raise TimeoutError("its views were not cut and encoded in time") from None
        if not views:
            raise UnavailableError(f"a frame of {frame.width} x {frame.height} has no such views")
        return views

    async def _ask(self, view: SentView, due: Deadline) -> _Answer:
        asking, prompt = self._asking, self._asking.prompt
        thoughts = Thoughts()
        if asking.thinking and asking.think_prompt:
            thoughts = await think(
                asking.thinking, asking.think_prompt, view.jpeg, asking.servers, due
            )
        question = Question(
            before=prompt.before,
            picture=view.jpeg,
            system=prompt.system,
            after=prompt.after,
            thought=thoughts.text,
        )
        # Thoughts are worth most to the model that had them.
        servers = sorted(asking.servers, key=lambda server: server.name != thoughts.by)
        answered = await first_answer(
            servers if thoughts.by else asking.servers,
            lambda server, until: server.ask(question, until),
            due,
        )
        return _Answer(view, answered, thoughts)

    def _look(self, answers: Sequence[_Answer], failures: Sequence[BaseException]) -> Look:
        remarks = [answer.answered.passed_over for answer in answers]
        if failures:
            remarks.append(
                f"{len(failures)} of {len(failures) + len(answers)} views without an answer: "
                f"{_said(_gravest(failures))}"
            )
        remarks += [answer.thoughts.remark for answer in answers]
        name = self._asking.question
        return look_of(
            [
                (
                    answer.answered.value,
                    Evidence(f"{name}? {answer.view.name}", 0.0, answer.view.box),
                )
                for answer in answers
            ],
            invert=self._asking.prompt.invert,
            combine=self._asking.combine,
            trust=self._asking.trust,
            by=" ".join(dict.fromkeys(answer.answered.by for answer in answers)),
            detail="; ".join(dict.fromkeys(filter(None, remarks)))[:MOST_DETAIL],
        )


def _gravest(failures: Sequence[BaseException]) -> BaseException:
    """A fault says more than a time-out, a time-out more than a server that is known to be down."""

    def order(failure: BaseException) -> int:
        if isinstance(failure, UnavailableError):
            return 2
        return 1 if isinstance(failure, TimeoutError) else 0

    return min(failures, key=order)


def _said(failure: BaseException) -> str:
    """The message of an error; one that was not foreseen is named too."""
    if isinstance(failure, NatixMinerError | TimeoutError):
        return str(failure)
    return f"{type(failure).__name__}: {failure}"
