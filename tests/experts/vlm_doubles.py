"""A double of a server, and the vision-language expert that asks it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from natix_miner.clock import Deadline
from natix_miner.experts.families.vlm import FAMILY, VlmSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.vlm.pictures import EncodedViews
from natix_miner.experts.vlm.port import Question, TokenAnswer

CONFIGS = Path(__file__).parents[2] / "configs"
MOSTLY_YES = (TokenAnswer(0.6, 0.2, 80),)


class ServerDouble:
    """Stands for a server: answers after `seconds`, or raises `error`.

    `answers` are given one after another, over and over; an exception among them is raised. With
    `tokens_per_second` writing takes as long as the tokens asked for.
    """

    def __init__(
        self,
        name="fast",
        answers=MOSTLY_YES,
        seconds=0.01,
        error=None,
        writes="a cone",
        tokens_per_second=None,
    ):
        self.name, self.answers, self.seconds = name, answers, seconds
        self.error, self.writes, self.tokens_per_second = error, writes, tokens_per_second
        self.asked: list[Question] = []
        self.budgets: list[int] = []
        self.limits: list[float] = []

    async def ask(self, question, deadline):
        answer = self.answers[len(self.asked) % len(self.answers)]
        self.asked.append(question)
        self.limits.append(deadline.remaining())
        if self.error:
            raise self.error
        await asyncio.sleep(self.seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def write(self, question, most_tokens, deadline):
        self.budgets.append(most_tokens)
        self.limits.append(deadline.remaining())
        if self.error:
            raise self.error
        rate = self.tokens_per_second
        await asyncio.sleep(most_tokens / rate if rate else self.seconds)
        return self.writes


def expert(servers, virtual, question="prompts/roadwork.yaml", folder=CONFIGS, **more):
    """The expert of a profile's section, all encoding on the loop: virtual time has no threads."""
    settings = VlmSettings(
        servers=tuple(server.name for server in servers), questions=(Path(question),), **more
    )
    around = Surroundings(
        folder,
        {server.name: server for server in servers},
        virtual,
        EncodedViews(at_once=10**9),
    )
    ((name, part),) = FAMILY.experts_of("vlm", settings).items()
    return FAMILY.build(name, part, around)


def look(virtual, made, frame, seconds=3.0):
    """What the expert says, in virtual time."""
    return virtual.run(made.look(frame, Deadline.after(seconds, virtual)))
