"""Replaying stored queries: their pictures judged again by the judge of a profile."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice

from natix_miner.assembly import build_judge
from natix_miner.errors import FittingError
from natix_miner.lab.replay_figures import Again, Replayed
from natix_miner.profile import Profile
from natix_miner.scoring import QuerySource, SavedQuery, ScoredQuery, ScoreSettings, score_queries
from natix_miner.stored import StoredSource

NOT_KEPT = "picture not there"


@dataclass(frozen=True, slots=True)
class _Before:
    """What was stored of a query whose picture is judged again."""

    id: str
    name: str
    label: int | None
    prediction: float
    made_by: str


class StoredPictures(QuerySource):
    """The pictures of stored queries as a source for scoring; notes what was answered then.

    Queries whose picture is not there any more are left out and counted.
    """

    has_order = True

    def __init__(self, source: StoredSource, limit: int | None) -> None:
        super().__init__()
        self._source = source
        self._limit = limit
        self.before: list[_Before] = []

    def __iter__(self) -> Iterator[SavedQuery]:
        self.skipped.clear()
        self.before.clear()
        for query in islice(self._source, self._limit):
            picture = query.picture()
            if picture is None:
                self.skipped[NOT_KEPT] += 1
                continue
            made_by = query.trace.versions.get("profile")
            self.before.append(
                _Before(query.id, query.name, query.label, query.prediction, str(made_by or ""))
            )
            load = partial(bytes, picture)
            yield SavedQuery(len(self.before) - 1, query.id, query.label, load, query.group)

    def identity(self) -> str:
        return self._source.identity()

    def count(self) -> int | None:
        count = self._source.count()
        return count if self._limit is None or count is None else min(count, self._limit)


async def rejudge(
    source: StoredSource,
    profile: Profile,
    *,
    limit: int | None = None,
    concurrency: int = 8,
    tolerance: float = 0.0,
    on_row: Callable[[ScoredQuery], None] | None = None,
) -> Replayed:
    """Judge the pictures of at most `limit` stored queries with the judge of a profile, each within
    the profile's deadline, and compare the answers. `on_row` hears of every answer.

    Raises FittingError when not one picture is there, and what `build_judge` raises.
    """
    pictures = StoredPictures(source, limit)
    settings = ScoreSettings(
        concurrency=concurrency, deadline_seconds=profile.deadline_seconds, keep_traces=False
    )
    judge = build_judge(profile, wait_for_servers=math.inf)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(judge.close)
        await judge.start()
        started = time.perf_counter()
        run = await score_queries(judge, pictures, settings, on_row=on_row)
        seconds = time.perf_counter() - started
    if not run.rows:
        raise FittingError(
            f"no picture of {source.path} is there to be judged again "
            f"({pictures.skipped[NOT_KEPT]} queries): only --repool can replay them"
        )
    before = pictures.before
    silent = Counter(row.reason.split(" (", 1)[0] for row in run.rows if not row.answered)
    return Replayed(
        mode="rejudge",
        queries=tuple(
            Again(then.id, then.name, then.label, then.prediction, row.prediction)
            for then, row in zip(before, run.rows, strict=True)
        ),
        left_out=dict(pictures.skipped),
        stored=dict(Counter(then.made_by for then in before)),
        given=(f"{profile.name}:{profile.digest}",),
        not_entered={},
        seconds=seconds,
        tolerance=tolerance,
        remarks=tuple(f"no answer now: {reason} ({n})" for reason, n in silent.most_common()),
    )
