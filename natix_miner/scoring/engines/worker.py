"""One worker of a cluster: a judge in a process of its own, that opens the saved queries itself.

It knows nothing of Ray, so that it runs (and is tested) anywhere.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from natix_miner import __version__
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.errors import ConfigurationError, NatixMinerError, QuerySourceError
from natix_miner.scoring.engines.shares import Place
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.runner import ScoreSettings, judged, prepare
from natix_miner.scoring.sources.base import QuerySource, SavedQuery

if TYPE_CHECKING:
    from natix_miner.judge import Judge

MakeJudge = Callable[[], "Judge"]
OpenSource = Callable[[], QuerySource]


@dataclass(frozen=True, slots=True)
class JudgeVersions:
    """What of a judge decides its answers, beside the profile: the consensus, and each expert."""

    consensus: str
    experts: Mapping[str, str]


def versions_of(judge: Judge) -> JudgeVersions:
    """The versions of a judge that was started."""
    return JudgeVersions(
        str(judge.cascade.consensus.version),
        {expert.name: expert.version for expert in judge.experts},
    )


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a worker found where it runs: `source` is the identity of the saved queries there."""

    host: str
    pid: int
    miner: str
    versions: JudgeVersions
    source: str


class Worker:
    """A judge and a source, made where the worker runs; at most `concurrency` queries at once."""

    def __init__(
        self,
        make_judge: MakeJudge,
        open_source: OpenSource,
        settings: ScoreSettings,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._make_judge = make_judge
        self._open_source = open_source
        self._settings = settings
        self._clock = clock
        self._judge: Judge
        self._source: QuerySource
        self._gate = asyncio.Semaphore(settings.concurrency)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="score-read")

    async def introduce(self) -> Introduction:
        """Make and start the judge, open the source; before all else.

        Raises ConfigurationError with what is missing on this machine.
        """
        host = socket.gethostname()
        try:
            self._source = self._open_source()
            self._judge = self._make_judge()
            await self._judge.start()
        except NatixMinerError as error:
            raise ConfigurationError(f"a worker on {host} cannot start: {error}") from error
        return Introduction(
            host=host,
            pid=os.getpid(),
            miner=__version__,
            versions=versions_of(self._judge),
            source=self._source.identity(),
        )

    async def score(self, places: Sequence[Place]) -> list[ScoredQuery]:
        """The rows of these places; what comes next is read while they are judged.

        Raises QuerySourceError when the source has other queries there.
        """
        return list(await asyncio.gather(*(self._one(place) for place in places)))

    async def close(self) -> None:
        """Give everything back."""
        await self._judge.close()
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def _one(self, place: Place) -> ScoredQuery:
        loop = asyncio.get_running_loop()
        saved = await loop.run_in_executor(self._reader, self._found, place)
        item = await loop.run_in_executor(
            self._reader, prepare, saved, self._settings, place.position, place.repeat
        )
        async with self._gate:
            return await judged(self._judge, item, self._settings, self._clock)

    def _found(self, place: Place) -> SavedQuery:
        saved = self._source.picked([place.index])[0]
        if saved.name != place.name:
            raise QuerySourceError(
                f"query {place.index} of the source is {saved.name!r} on {socket.gethostname()}, "
                f"and {place.name!r} where the run was started: every machine needs the same file"
            )
        return saved
