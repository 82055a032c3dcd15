"""Base of the experts whose model lives in this process and runs in a worker thread."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence

from natix_miner.clock import SYSTEM_CLOCK, Clock, Deadline
from natix_miner.errors import ExpertError
from natix_miner.experts.base import Expert
from natix_miner.experts.batching import BatchLimits, MicroBatcher
from natix_miner.experts.opinion import Look
from natix_miner.images import Frame

#: How long closing waits for the batch that runs; a hung model is left behind.
CLOSE_SECONDS = 2.0


class InProcessExpert(Expert):
    """An expert with a blocking model: subclasses write `load` and `look_at`.

    Both run in the expert's own worker thread, so that neither the caller's event loop nor another
    expert ever waits for them, and a hung model costs one thread.
    """

    def __init__(self, name: str, limits: BatchLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = name
        self.version = "not loaded"
        self._limits = limits
        self._clock = clock
        self._batcher: MicroBatcher[tuple[Frame, Deadline], Look] | None = None

    @abstractmethod
    def load(self) -> None:
        """Load the weights, warm up, set `version`; raises ModelError."""

    @abstractmethod
    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        """Judge a batch of frames, of any sizes; one result a frame, in order."""

    def look_within(
        self, frames: list[Frame], deadlines: list[Deadline]
    ) -> Sequence[Look | Exception]:
        """The same, knowing by when each is wanted: for experts that can do with less."""
        return self.look_at(frames)

    def _look(self, items: list[tuple[Frame, Deadline]]) -> Sequence[Look | Exception]:
        return self.look_within([frame for frame, _ in items], [due for _, due in items])

    def batch_sizes(self) -> Mapping[int, int]:
        """How many batches of which size it has run so far; may be called from any thread."""
        return self._batcher.sizes() if self._batcher is not None else {}

    async def start(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.load)
        self._batcher = MicroBatcher(self.name, self._look, self._limits, self._clock)

    async def look(self, frame: Frame, deadline: Deadline) -> Look:
        if self._batcher is None:
            raise ExpertError(f"expert {self.name!r} was asked before it was started")
        return await asyncio.wrap_future(self._batcher.submit((frame, deadline)))

    async def close(self) -> None:
        if self._batcher is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._batcher.close, CLOSE_SECONDS)
