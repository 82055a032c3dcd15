"""Scoring over a Ray cluster: the same rows as in process, from one judge an actor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from natix_miner.cascade import NO_ANSWER
from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.scoring.engines.crew import Crew, Hand, Happened
from natix_miner.scoring.engines.ray_cluster import RayCluster, RayOptions
from natix_miner.scoring.engines.shares import MOST_DEATHS, Place, Shares, places
from natix_miner.scoring.engines.worker import Introduction, JudgeVersions, MakeJudge, OpenSource
from natix_miner.scoring.results import ResultsFile
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.runner import ScoreRun, ScoreSettings, of_this_source
from natix_miner.scoring.sources.base import QuerySource

#: The reason of a query that was with a worker each time it died.
KILLED = f"{MOST_DEATHS} workers died with this query"
_CHUNK = 8


class RayEngine:
    """Workers on a cluster, from entering to leaving the context.

    `make_judge` and `open_source` are called where a worker runs, so that it needs the same
    package, models and files there, which is checked; `source` are the queries as they are here.
    An actor that dies is replaced, what it had in hand is judged again, and `tell` hears of it.

    Raises MissingExtraError without Ray, ConfigurationError when there is no cluster or no room.
    """

    def __init__(
        self,
        make_judge: MakeJudge,
        open_source: OpenSource,
        source: QuerySource,
        settings: ScoreSettings,
        options: RayOptions,
        *,
        tell: Callable[[str], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._made_of = (make_judge, open_source, settings)
        self._source = source
        self._settings = settings
        self._options = options
        self._tell = tell
        self._clock = clock
        self._cluster = RayCluster(options)
        self._crew: Crew

    @property
    def deaths(self) -> int:
        """How many workers have died so far."""
        return self._crew.deaths

    def __enter__(self) -> RayEngine:
        self._cluster.__enter__()
        identity = self._source.identity()
        self._crew = Crew(self._cluster, self._options, self._made_of, identity, self._tell)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._crew.close()
            self._crew.end()
        finally:
            self._cluster.__exit__()

    def ready(self, count: int = 1) -> list[Introduction]:
        """Wait until so many workers are ready; what each says of itself."""
        while len(ready := self._crew.ready()) < count:
            self._crew.wait()
        return [hand.joined for hand in ready if hand.joined is not None]

    def versions(self) -> JudgeVersions:
        """What the workers' judges are made of, all the same; waits until the first is ready."""
        return self.ready()[0].versions

    def score(
        self,
        *,
        results: ResultsFile | None = None,
        on_row: Callable[[ScoredQuery], None] | None = None,
    ) -> ScoreRun:
        """Judge every query that `results` does not hold yet, as `score_queries` does.

        Interrupted (KeyboardInterrupt), it still keeps what is ready. Raises QuerySourceError from
        the source, here or at a worker, ConfigurationError when workers differ or keep dying.
        """
        self.ready()
        run = _Run(self._crew, self._source, self._settings, results, on_row)
        started = self._clock.monotonic()
        run.go()
        rows = [run.rows[key] for key in sorted(run.rows)]
        return ScoreRun(rows, run.judged, self._clock.monotonic() - started)


class _Run:
    """One run: hands out what is not known, keeps what comes back."""

    def __init__(
        self,
        crew: Crew,
        source: QuerySource,
        settings: ScoreSettings,
        results: ResultsFile | None,
        on_row: Callable[[ScoredQuery], None] | None,
    ) -> None:
        self.rows: dict[tuple[int, int], ScoredQuery] = {}
        self.judged = 0
        self._crew = crew
        self._source = source
        self._settings = settings
        self._results = results
        self._known = dict(results.rows) if results is not None else {}
        self._on_row = on_row
        self._shares = Shares(self._unknown())
        self._chunk = min(_CHUNK, settings.concurrency)
        # One more than are judged at once, so that a worker never waits for the next.
        self._calls = math.ceil(settings.concurrency / self._chunk) + 1

    def go(self) -> None:
        try:
            while self._hand_out():
                self._take(self._crew.wait())
        except KeyboardInterrupt:
            self._take(self._crew.finished())
            raise

    def _hand_out(self) -> bool:
        """Give every worker as much as it can have; False when nothing is left to wait for."""
        ready = self._crew.ready()
        for hand in ready:
            self._fill(hand)
        return not ready or any(hand.in_hand for hand in ready)

    def _fill(self, hand: Hand) -> None:
        if not hand.in_hand:
            hand.alone = False
            if (suspect := self._shares.suspect()) is not None:
                self._crew.give(hand, [suspect], alone=True)
        while not hand.alone and not self._shares.suspected and len(hand.in_hand) < self._calls:
            some = self._shares.next_for(hand.number, self._chunk)
            if not some:
                return
            self._crew.give(hand, some)

    def _take(self, happened: Happened) -> None:
        for row in happened.rows:
            self._judged(row)
        for hand in happened.died:
            in_hand = [place for places in hand.in_hand.values() for place in places]
            for place in self._shares.died(hand.number, in_hand):
                self._judged(self._given_up(place))

    def _judged(self, row: ScoredQuery) -> None:
        self.judged += 1
        if self._results is not None:
            self._results.append(row)
        self._keep(row)

    def _keep(self, row: ScoredQuery) -> None:
        if row.trace and not self._settings.keep_traces:
            row = dataclasses.replace(row, trace="")
        self.rows[row.repeat, row.position] = row
        if self._on_row is not None:
            self._on_row(row)

    def _unknown(self) -> Iterator[list[Place]]:
        for block in places(self._source, self._settings):
            todo = []
            for place in block:
                known = self._known.get((place.repeat, place.position))
                if known is None:
                    todo.append(place)
                else:
                    self._keep(of_this_source(known, place.name))
            yield todo

    def _given_up(self, place: Place) -> ScoredQuery:
        saved = self._source.picked([place.index])[0]
        return ScoredQuery(
            name=saved.name,
            label=saved.label,
            prediction=NO_ANSWER,
            level=None,
            reason=KILLED,
            total_ms=0.0,
            group=saved.group,
            generation=self._settings.simulate,
            position=place.position,
            repeat=place.repeat,
        )
