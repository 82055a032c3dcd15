"""A text-only judge: reads what the levels before it have said and answers with one token."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from natix_miner.clock import Deadline
from natix_miner.errors import ConfigurationError, UnavailableError
from natix_miner.experts.base import Expert
from natix_miner.experts.families.vlm import AskingSettings, servers_of
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.opinion import Evidence, Look, Opinion
from natix_miner.experts.vlm.evidence import heard_by, told
from natix_miner.experts.vlm.expert import MARGIN_SECONDS, MOST_DETAIL
from natix_miner.experts.vlm.falling import first_answer
from natix_miner.experts.vlm.port import Question, Server
from natix_miner.experts.vlm.prompt import Prompt, load_prompt
from natix_miner.experts.vlm.votes import TrustBounds, look_of
from natix_miner.images import Frame

PLACE = "{evidence}"


class VlmJudgeSettings(AskingSettings):
    """`prompt` is a prompt file whose `after` holds {evidence}; the judge sits in a level after
    those whose opinions it reads."""

    type: Literal["vlm-judge"] = "vlm-judge"
    prompt: Path


class EvidenceJudge(Expert):
    """P(yes) of a language model that is told the others' opinions and sees no picture."""

    def __init__(
        self, name: str, prompt: Prompt, servers: tuple[Server, ...], trust: TrustBounds
    ) -> None:
        self.name = name
        names = [server.name for server in servers]
        self.version = hashlib.sha256(repr((prompt, names, trust)).encode()).hexdigest()[:16]
        self._prompt = prompt
        self._servers = servers
        self._trust = trust

    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        return await self.consider(frame, (), deadline)

    async def consider(self, frame: Frame, heard: tuple[Opinion, ...], deadline: Deadline) -> Look:
        if not heard_by(heard):
            raise UnavailableError("nothing to judge: nobody has said anything yet that counts")
        question = Question(
            before=self._prompt.before,
            system=self._prompt.system,
            after=self._prompt.after.replace(PLACE, told(frame, heard)),
        )
        answer = await first_answer(
            self._servers,
            lambda server, until: server.ask(question, until),
            deadline.earlier(MARGIN_SECONDS),
        )
        return look_of(
            [(answer.value, Evidence("the others' evidence", 0.0))],
            invert=self._prompt.invert,
            combine="mean",
            trust=self._trust,
            by=answer.by,
            detail=answer.passed_over[:MOST_DETAIL],
        )


def build(name: str, settings: VlmJudgeSettings, surroundings: Surroundings) -> EvidenceJudge:
    """The judge; raises ConfigurationError when its prompt has no place for the evidence."""
    path = surroundings.folder / settings.prompt
    prompt = load_prompt(path)
    if PLACE not in prompt.after:
        raise ConfigurationError(f"prompt {path}: `after` must hold {PLACE}")
    servers = servers_of(name, settings.servers, surroundings)
    return EvidenceJudge(name, prompt, servers, settings.trust)


FAMILY = Family(type="vlm-judge", settings=VlmJudgeSettings, build=build)
