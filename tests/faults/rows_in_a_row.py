"""Queries for as long as it takes to see a leak."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.faults.asking import (
    Connection,
    ask_once,
    request_to,
    street_pictures,
    unlike_any_other,
)
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.faults.miners import RunningMiner, Vitals
from tests.faults.rows_pictures import CAPACITY, embedded_miner
from tests.faults.rows_wire import wire_miner

CONNECTIONS = 4
#: The part of a series whose memory counts as warm: the allocator still takes steps before.
WARM = (0.4, 0.5)
#: From so many queries on, growth has to stay below 1 %; a shorter run cannot tell a leak from an
#: allocator that takes another piece.
LONG_CASCADE, LONG_DOUBLE = 10_000, 60_000
SHORT_BOUND_KB = 40_000
#: What the double surely makes. Its memory rises for the first tens of thousands, to where the
#: journal's queue and the memory of nonces have once been full, and stays there but for steps of
#: the allocator: of 200,000 queries 113 MB at 2,000, 127.2 at 42,000, 128.2 at 102,000 and 162,000,
#: 129.7 at the end.
DOUBLE_PER_SECOND = 400.0


@dataclass
class Series:
    """One run of queries against one miner."""

    asked: int = 0
    answered: int = 0
    late: int = 0
    lost: int = 0
    seconds: float = 0.0
    samples: list[tuple[int, Vitals]] = field(default_factory=list)

    def part(self, first: float, last: float) -> list[Vitals]:
        """The samples between two shares of all queries."""
        low, high = first * self.asked, last * self.asked
        return [vitals for asked, vitals in self.samples if low <= asked <= high]

    def warm_kb(self) -> float:
        """Median of the resident memory in the warm part."""
        return median(vitals.resident_kb for vitals in self.part(*WARM))

    def grown_kb(self) -> float:
        """What the median of the last tenth has above that."""
        return median(vitals.resident_kb for vitals in self.part(0.9, 1.0)) - self.warm_kb()

    def more(self, name: str) -> int:
        """How many more files or threads the last tenth has than the warm part (medians)."""
        warm, end = (
            median(getattr(vitals, name) for vitals in part)
            for part in (self.part(*WARM), self.part(0.9, 1.0))
        )
        return round(end - warm)


@fault("queries-in-a-row", "100,000 queries in a row to a judge double; the embedded profile too")
async def in_a_row(scale: Scale, folder: Path) -> Outcome:
    """Signed queries over four kept-alive connections, with journal, metrics and log. As many as
    the time allows (13,000 to 40,000) go through the experts of the embedded profile, then 200,000
    to a second miner whose judge is a double; memory, files and threads are watched in both.
    The journal may take 0.03 GB, so that pruning it belongs to the long run, and nonces are
    forgotten after 8 s instead of 26 s, so that their number has settled when the warm-up ends."""
    claims = Claims()
    many = scale.count(1500, 100_000)
    real = await embedded_miner()
    await _burst(real)
    rest_seconds = 2 * many / DOUBLE_PER_SECOND
    stop = None if scale.until is None else scale.until - rest_seconds
    share = 0.13 if scale.until is None else 0.4
    cascade = await _run(real, round(share * many), round(0.13 * many), stop)
    double = await wire_miner()
    wanted = many if many < LONG_DOUBLE else 2 * many  # a leak goes on, steps do not
    wire = await _run(double, wanted, 0, scale.until)
    asked = cascade.asked + wire.asked
    figures: dict[str, float | int | str] = {
        "queries": asked,
        "wanted_of_the_double": wanted,
        "late": cascade.late + wire.late,
    }
    for name, series, miner, long in (
        ("cascade", cascade, real, LONG_CASCADE),
        ("double", wire, double, LONG_DOUBLE),
    ):
        bound_kb = 0.01 * series.warm_kb() if series.asked >= long else SHORT_BOUND_KB
        figures |= await _judged(name, series, miner, bound_kb, claims)
    return Outcome(figures, tuple(claims.broken))


async def _judged(
    name: str, series: Series, miner: RunningMiner, bound: float, claims: Claims
) -> dict[str, float | int | str]:
    """The figures of one series; what did not hold goes into `claims`."""
    warm, grown = series.warm_kb(), series.grown_kb()
    metrics = await asyncio.to_thread(miner.metrics)
    lost = sum(v for n, v in metrics.items() if n.startswith("natix_journal_losses_total"))
    files, threads = series.more("files"), series.more("threads")
    for held, what in (
        (series.answered == series.asked, f"{series.answered} of {series.asked} answered"),
        (series.late == 0, f"{series.late} late answers"),
        (grown < bound, f"memory grew by {grown:.0f} KB, over {bound:.0f}"),
        (files <= 1, f"{files} more files are open"),
        (threads <= 1, f"{threads} more threads run"),
        (lost == 0, f"{lost:g} queries lost to the journal"),
    ):
        claims.hold(held, f"{name}: {what}")
    return {
        f"{name}_queries": series.asked,
        f"{name}_per_s": round(series.asked / series.seconds, 1),
        f"{name}_resident_warm_mb": round(warm / 1000, 1),
        f"{name}_growth_percent": round(100 * grown / warm, 2),
        f"{name}_growth_kb_per_1000": round(grown / series.asked / 0.5 * 1000, 1),
        f"{name}_growth_bound_percent": round(100 * bound / warm, 2),
        f"{name}_files_more": files,
        f"{name}_threads_more": threads,
        f"{name}_journal_losses": int(lost),
    }


async def _burst(miner: RunningMiner) -> None:
    """As many different queries at once as there are places, three times, uncounted: the experts'
    allocators grow to what queries judged side by side need, at a moment that chance would else
    choose."""
    pictures = [unlike_any_other(picture) for picture in street_pictures()]
    for start in range(3):
        batch = (pictures[(start * CAPACITY + n) % len(pictures)] for n in range(CAPACITY))
        await asyncio.gather(*(ask_once(miner, picture) for picture in batch))


async def _run(miner: RunningMiner, most: int, least: int, until: float | None) -> Series:
    """Ask `most` queries; beyond `least`, no more once the monotonic moment `until` has come."""
    series = Series()
    pictures = street_pictures()
    every = max(1, most // 100)
    begun = time.monotonic()

    async def ask_in_turn() -> None:
        connection = await Connection.to(miner)
        while series.asked < most and (
            series.asked < least or until is None or time.monotonic() < until
        ):
            series.asked += 1
            number = series.asked
            picture = unlike_any_other(pictures[number % len(pictures)])
            try:
                reply = await connection.ask(request_to(miner, picture))
            except (EOFError, OSError):
                series.lost += 1
                connection.abort()
                connection = await Connection.to(miner)
                continue
            series.answered += reply.status == 200
            series.late += reply.seconds > miner.deadline_seconds
            if number % every == 0:
                series.samples.append((number, miner.vitals()))
        connection.close()

    await asyncio.gather(*(ask_in_turn() for _ in range(CONNECTIONS)))
    series.seconds = time.monotonic() - begun
    return series
