"""Judges saved queries with the judge of a profile, many at once, and keeps what it said.

Reading and simulating happen in a thread ahead of the judging, so that experts never wait for a
disk; several queries are in flight, so that experts can judge them in batches.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from natix_miner.cascade import NO_ANSWER
from natix_miner.clock import SYSTEM_CLOCK, Clock, Deadline
from natix_miner.errors import NatixMinerError, PictureError, QuerySourceError
from natix_miner.query import DEFAULT_DEADLINE_SECONDS, Query
from natix_miner.scoring.results import ResultsFile
from natix_miner.scoring.row import ScoredQuery, row_of
from natix_miner.scoring.simulation import simulated
from natix_miner.scoring.sources.base import QuerySource, SavedQuery

if TYPE_CHECKING:
    from natix_miner.judge import JudgeLike

_CHUNK = 8


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """How saved queries are put to the judge.

    `keep_order` judges a folder or table in the order in which it is listed; otherwise what has no
    order of its own comes in one drawn from `seed`, because a list sorted by label would make
    every window of the reward hold one class. `limit` counts pictures, `repeats` draws of each.
    `all_levels` says that the judge enters every level (`with_all_levels`), `keep_traces` that the
    rows of the run hold their traces, which a file of results has in any case.
    """

    simulate: str = "as-is"
    seed: int = 0
    repeats: int = 1
    limit: int | None = None
    concurrency: int = 8
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    keep_order: bool = False
    all_levels: bool = False
    keep_traces: bool = True

    def decisive(self) -> dict[str, Any]:
        """The settings that change what is asked; limit and repeats only say how much of it."""
        return {
            "simulate": self.simulate,
            "seed": self.seed,
            "deadline_seconds": self.deadline_seconds,
            "keep_order": self.keep_order,
            "all_levels": self.all_levels,
        }

    def about(self) -> dict[str, Any]:
        """All settings of the run, for whoever reads its results later."""
        return {
            "simulate": self.simulate,
            "seed": self.seed,
            "repeats": self.repeats,
            "limit": self.limit,
            "keep_order": self.keep_order,
            "concurrency": self.concurrency,
            "all_levels": self.all_levels,
        }


@dataclass(frozen=True, slots=True)
class ScoreRun:
    """Rows in the order of the stream; `judged` of them now, in `seconds`, the rest resumed."""

    rows: list[ScoredQuery]
    judged: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Prepared:
    saved: SavedQuery
    position: int
    repeat: int
    picture: bytes
    sha256: str
    error: PictureError | None = None


def ordered(source: QuerySource, settings: ScoreSettings) -> Iterator[SavedQuery]:
    """The queries of one pass in the order in which they are put, `limit` applied."""
    if source.has_order or settings.keep_order:
        return islice(iter(source), settings.limit)
    listed = list(source)
    order = np.random.default_rng(settings.seed).permutation(len(listed))
    return islice((listed[place] for place in order), settings.limit)


def prepared_picture(saved: SavedQuery, settings: ScoreSettings, repeat: int) -> bytes:
    """The bytes that the judge gets for one draw of a saved query."""
    return simulated(
        saved.load(), settings.simulate, seed=settings.seed, index=saved.index, repeat=repeat
    )


async def score_queries(
    judge: JudgeLike,
    source: QuerySource,
    settings: ScoreSettings,
    *,
    results: ResultsFile | None = None,
    on_row: Callable[[ScoredQuery], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> ScoreRun:
    """Judge every query that `results` does not hold yet.

    The deadline of a query starts when its judging does: what comes out is what the miner would
    have answered. `on_row` hears of every row, resumed ones included. Cancelling leaves
    `results` valid. Raises QuerySourceError from the source.
    """
    run = _Run(judge, source, settings, results, on_row, clock)
    started = clock.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(run.feed())
            for _ in range(settings.concurrency):
                group.create_task(run.work())
    except ExceptionGroup as errors:
        ours = [error for error in errors.exceptions if isinstance(error, NatixMinerError)]
        raise (ours or errors.exceptions)[0] from None
    rows = [run.rows[key] for key in sorted(run.rows)]
    return ScoreRun(rows, run.judged, clock.monotonic() - started)


class _Run:
    """One run: a feeder that prepares queries in a thread, and workers that have them judged."""

    def __init__(
        self,
        judge: JudgeLike,
        source: QuerySource,
        settings: ScoreSettings,
        results: ResultsFile | None,
        on_row: Callable[[ScoredQuery], None] | None,
        clock: Clock,
    ) -> None:
        self.rows: dict[tuple[int, int], ScoredQuery] = {}
        self.judged = 0
        self._stopped = False
        self._judge = judge
        self._source = source
        self._settings = settings
        self._results = results
        self._known = dict(results.rows) if results is not None else {}
        self._on_row = on_row
        self._clock = clock
        self._queue: asyncio.Queue[_Prepared | None] = asyncio.Queue(2 * settings.concurrency)

    async def feed(self) -> None:
        """Read ahead, a few queries a time, until the source is empty; then one None a worker."""
        try:
            await self._read_ahead()
        except BaseException:
            self._stopped = True
            raise
        for _ in range(self._settings.concurrency):
            await self._queue.put(None)

    async def work(self) -> None:
        """Judge what is in the queue, one at a time.

        When the run is stopped, the query in hand is still finished (its deadline bounds that) and
        kept: cancelling it would leave an expert at work while the process ends.
        """
        while not self._stopped and (item := await self._queue.get()) is not None:
            judging = asyncio.ensure_future(judged(self._judge, item, self._settings, self._clock))
            try:
                await asyncio.shield(judging)
            except asyncio.CancelledError:
                self._stopped = True
                self._judged(await judging)
                raise
            self._judged(judging.result())

    def _judged(self, row: ScoredQuery) -> None:
        self.judged += 1
        if self._results is not None:
            self._results.append(row)
        self._keep(row)

    async def _read_ahead(self) -> None:
        loop = asyncio.get_running_loop()
        items = self._items()
        with ThreadPoolExecutor(1, thread_name_prefix="score-read") as reader:
            while chunk := await loop.run_in_executor(reader, _take, items):
                for item in chunk:
                    if isinstance(item, ScoredQuery):
                        self._keep(item)
                    else:
                        await self._queue.put(item)

    def _keep(self, row: ScoredQuery) -> None:
        if row.trace and not self._settings.keep_traces:
            row = dataclasses.replace(row, trace="")
        self.rows[row.repeat, row.position] = row
        if self._on_row is not None:
            self._on_row(row)

    def _items(self) -> Iterator[_Prepared | ScoredQuery]:
        for repeat in range(self._settings.repeats):
            for position, saved in enumerate(ordered(self._source, self._settings)):
                known = self._known.get((repeat, position))
                if known is None:
                    yield prepare(saved, self._settings, position, repeat)
                else:
                    yield of_this_source(known, saved.name)


def of_this_source(known: ScoredQuery, name: str) -> ScoredQuery:
    """The stored row, if the source still has that query in its place; else QuerySourceError."""
    if known.name == name:
        return known
    raise QuerySourceError(
        f"query {known.position} of the source is {name!r}, in the results file it "
        f"is {known.name!r}: the source has changed, start with a new results file"
    )


def _take(items: Iterator[_Prepared | ScoredQuery]) -> list[_Prepared | ScoredQuery]:
    return list(islice(items, _CHUNK))


def prepare(saved: SavedQuery, settings: ScoreSettings, position: int, repeat: int) -> _Prepared:
    """Read one draw of a saved query; what is no picture is kept as its error."""
    try:
        picture = prepared_picture(saved, settings, repeat)
    except PictureError as error:
        return _Prepared(saved, position, repeat, b"", "", error)
    return _Prepared(saved, position, repeat, picture, hashlib.sha256(picture).hexdigest())


async def judged(
    judge: JudgeLike, item: _Prepared, settings: ScoreSettings, clock: Clock
) -> ScoredQuery:
    """The row of one query; its deadline starts now."""
    saved = item.saved
    if item.error is not None:
        return ScoredQuery(
            name=saved.name,
            label=saved.label,
            prediction=NO_ANSWER,
            level=None,
            reason=item.error.reason,
            total_ms=0.0,
            group=saved.group,
            generation=settings.simulate,
            position=item.position,
            repeat=item.repeat,
        )
    query = Query(
        id=f"{item.repeat}-{item.position}",
        picture=item.picture,
        sha256=item.sha256,
        source=f"file:{saved.name}",
        received_at=clock.time(),
        deadline=Deadline.after(settings.deadline_seconds, clock),
        seconds=settings.deadline_seconds,
        label=saved.label,
    )
    verdict = await judge.judge(query)
    return row_of(
        verdict,
        name=saved.name,
        label=saved.label,
        group=saved.group,
        generation=settings.simulate,
        position=item.position,
        repeat=item.repeat,
    )
