"""The contract of an expert."""

from __future__ import annotations

from abc import ABC, abstractmethod

from natix_miner.clock import Deadline
from natix_miner.experts.opinion import Look, Opinion
from natix_miner.images import Frame, View


class Expert(ABC):
    """Anything that looks at a frame and says how probable roadwork is.

    `name` is the key of the expert in its profile, `version` identifies its weights and code
    (a digest) and goes into the trace. One that does not vote (`votes`) only tells conditions.
    """

    name: str
    version: str
    votes: bool = True

    async def start(self) -> None:  # noqa: B027 - nothing to load is fine
        """Load and warm up; raises ModelError with what to do when that cannot be done."""

    @abstractmethod
    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        """Judge one frame.

        May raise anything and may take too long: whoever asks guards against both. An expert should
        still give up by itself once the deadline has passed.
        """

    async def consider(self, frame: Frame, heard: tuple[Opinion, ...], deadline: Deadline) -> Look:
        """Judge one frame knowing what the levels before have said; most experts do not listen."""
        return await self.look(frame, deadline)

    def views(self, frame: Frame) -> list[View]:
        """The pictures this expert would look at, for people who want to see them."""
        return []

    async def close(self) -> None:  # noqa: B027 - nothing to give back is fine
        """Give back threads, connections and memory; may be called twice."""
