"""The vision-language expert: one question about one kind of view, answered with one token."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from natix_miner.clock import Deadline
from natix_miner.errors import ServerAnswerError, UnavailableError
from natix_miner.experts.base import Expert
from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.vlm.falling import Answered, first_answer
from natix_miner.experts.vlm.pictures import EncodedViews, Sending, SentView, views_of
from natix_miner.experts.vlm.port import Question, Server, TokenAnswer
from natix_miner.experts.vlm.prompt import Prompt
from natix_miner.experts.vlm.thinking import ThinkingSettings
from natix_miner.experts.vlm.votes import look_of
from natix_miner.images import Frame, View

#: It gives up by itself so long before whoever asks does, and can then still say why.
MARGIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, of whom: the question's name and words, the views, the servers in the order of
    preference, how several views become one vote; `think` and `think_prompt` go together."""

    question: str
    prompt: Prompt
    sending: Sending
    servers: tuple[Server, ...]
    combine: str = "mean"
    think: ThinkingSettings | None = None
    think_prompt: Prompt | None = None

    @property
    def version(self) -> str:
        """Digest of words and pictures; which weights answer is the servers' own affair."""
        parts = (self.prompt, self.sending, self.combine, self.think, self.think_prompt)
        names = [server.name for server in self.servers]
        return hashlib.sha256(repr((parts, names)).encode()).hexdigest()[:16]


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
        sending = self._asking.sending
        return views_of(frame, sending.kind, sending.most, sending.tiles)

    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        due = deadline.earlier(MARGIN_SECONDS)
        views = await self._encoded.of(frame, self._asking.sending)
        if not views:
            raise UnavailableError(f"a frame of {frame.width} x {frame.height} has no such views")
        results = await asyncio.gather(
            *(self._ask(view, due) for view in views), return_exceptions=True
        )
        answered = [
            (view, result)
            for view, result in zip(views, results, strict=True)
            if not isinstance(result, BaseException)
        ]
        failures = [result for result in results if isinstance(result, BaseException)]
        if not answered:
            raise _gravest(failures)
        return self._look(answered, failures)

    async def _ask(self, view: SentView, due: Deadline) -> tuple[Answered[TokenAnswer], str]:
        prompt = self._asking.prompt
        thought, remark = await self._think(view, due)
        question = Question(
            before=prompt.before,
            picture=view.jpeg,
            system=prompt.system,
            after=prompt.after,
            thought=thought,
        )
        answer = await first_answer(
            self._asking.servers, lambda server, until: server.ask(question, until), due
        )
        return answer, remark

    async def _think(self, view: SentView, due: Deadline) -> tuple[str, str]:
        """The thoughts to put before the answer, and a remark for the trace; without thoughts when
        the time is too short or no server wrote any."""
        think, prompt = self._asking.think, self._asking.think_prompt
        if think is None or prompt is None:
            return "", ""
        budget = think.budget(due.remaining())
        if not budget:
            return "", f"no thinking: {due.remaining():.1f} s left"
        question = Question(
            before=prompt.before, picture=view.jpeg, system=prompt.system, after=prompt.after
        )
        try:
            written = await first_answer(
                self._asking.servers,
                lambda server, until: server.write(question, budget, until),
                due.at_most(think.seconds(budget)),
            )
        except (UnavailableError, ServerAnswerError, TimeoutError) as error:
            return "", f"no thinking: {error}"
        return think.wrapped(written.value), f"thought {len(written.value)} characters"

    def _look(
        self,
        answered: Sequence[tuple[SentView, tuple[Answered[TokenAnswer], str]]],
        failures: Sequence[BaseException],
    ) -> Look:
        remarks = [remark for _, (_, remark) in answered]
        remarks += [answer.passed_over for _, (answer, _) in answered]
        if failures:
            remarks.append(
                f"{len(failures)} of {len(failures) + len(answered)} views: {failures[0]}"
            )
        return look_of(
            [
                (answer.value, Evidence(f"{self._asking.question}? {view.name}", 0.0, view.box))
                for view, (answer, _) in answered
            ],
            invert=self._asking.prompt.invert,
            combine=self._asking.combine,
            by=" ".join(dict.fromkeys(answer.by for _, (answer, _) in answered)),
            detail="; ".join(dict.fromkeys(remark for remark in remarks if remark))[:300],
        )


def _gravest(failures: Sequence[BaseException]) -> BaseException:
    """A fault says more than a time-out, a time-out more than a server that is known to be down."""

    def order(failure: BaseException) -> int:
        return 2 if isinstance(failure, UnavailableError) else isinstance(failure, TimeoutError)

    return min(failures, key=order)
