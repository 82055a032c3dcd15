"""What answering costs: from a price per hour and measured (or assumed) queries.

The formulas are those of docs/cost.md. A rented machine is paid for every hour, whether it is
asked or not; so the cost of a day does not depend on the queries, that of one query does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from natix_miner.errors import WatchingError

HOURS_A_DAY = 24.0
DAY_SECONDS = 86_400.0
#: A tempo of subnet 72 is 360 blocks of 12 seconds; emission on chain is told per tempo.
TEMPOS_A_DAY = DAY_SECONDS / (360 * 12)


@dataclass(frozen=True, slots=True)
class Load:
    """Queries within `wall_seconds`, in `busy_seconds` of which at least one was being answered.

    `measured` says whether this was read from a journal or is what somebody assumes.
    """

    queries: float
    wall_seconds: float
    busy_seconds: float
    measured: bool

    @property
    def busy_share(self) -> float:
        """Share of the time in which the machine worked; above 1: one machine is not enough."""
        return self.busy_seconds / self.wall_seconds

    @property
    def queries_per_day(self) -> float:
        """Queries a day at this rate."""
        return self.queries * DAY_SECONDS / self.wall_seconds

    @property
    def busy_seconds_per_query(self) -> float | None:
        """Time of the machine that one query took, None without queries. Queries that were
        answered side by side share their time."""
        return self.busy_seconds / self.queries if self.queries else None

    @property
    def possible_per_day(self) -> float | None:
        """Queries that the machine could have answered in a day had it never been idle, at the
        time and side by side as they were. None where that cannot be told."""
        return DAY_SECONDS / each if (each := self.busy_seconds_per_query) else None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one machine costs under a load; money in the currency of the price.

    `per_query` and `per_busy_query` are None without queries: the first shares all hours among the
    queries, the second only the busy ones (what a query would cost were the machine never idle).
    `break_even_tao` and `break_even_alpha` are what a day has to bring in, where prices are given;
    `break_even_alpha_per_tempo` is the figure to hold against the chain's emission.
    """

    name: str
    price_per_hour: float
    per_day: float
    per_query: float | None
    per_busy_query: float | None
    break_even_tao: float | None
    break_even_alpha: float | None
    break_even_alpha_per_tempo: float | None


def load_of(arrivals: Iterable[tuple[float, float]], since: float, until: float) -> Load:
    """The load of queries given as (unix seconds of arrival, seconds until answered) in the stretch
    from `since` to `until`; overlapping queries are busy time once.

    Raises WatchingError when the stretch has no length.
    """
    if until <= since:
        raise WatchingError("the queries span no time: give --since and --until")
    count, busy, upto = 0, 0.0, since
    for begun, seconds in sorted(arrivals):
        count += 1
        begin, end = max(begun, upto), min(begun + seconds, until)
        if end > begin:
            busy += end - begin
            upto = end
    return Load(count, until - since, busy, measured=True)


def assumed(queries_per_day: float, seconds_per_query: float) -> Load:
    """The load of a day as somebody assumes it, queries one after the other."""
    if queries_per_day < 0 or seconds_per_query < 0:
        raise WatchingError("queries per day and seconds per query cannot be negative")
    busy = queries_per_day * seconds_per_query
    return Load(queries_per_day, DAY_SECONDS, busy, measured=False)


def cost_of(
    name: str,
    price_per_hour: float,
    load: Load,
    *,
    tao_price: float | None = None,
    alpha_price: float | None = None,
) -> Cost:
    """What a machine at this price costs under this load.

    `tao_price` is what one TAO is worth in the currency, `alpha_price` what one alpha of the subnet
    is worth in TAO.
    """
    per_day = price_per_hour * HOURS_A_DAY
    hours = load.wall_seconds / 3600.0
    busy_hours = load.busy_seconds / 3600.0
    tao = None if tao_price is None else per_day / tao_price
    alpha = None if tao is None or alpha_price is None else tao / alpha_price
    return Cost(
        name=name,
        price_per_hour=price_per_hour,
        per_day=per_day,
        per_query=price_per_hour * hours / load.queries if load.queries else None,
        per_busy_query=price_per_hour * busy_hours / load.queries if load.queries else None,
        break_even_tao=tao,
        break_even_alpha=alpha,
        break_even_alpha_per_tempo=None if alpha is None else alpha / TEMPOS_A_DAY,
    )
