"""The two sides: score runs, journals, or two fitted files over the same stored opinions."""

from __future__ import annotations

from dataclasses import replace

from natix_miner.cascade import NO_ANSWER
from natix_miner.consensus import POOLS, Consensus, FittedConsensus, answer_from
from natix_miner.errors import FittingError
from natix_miner.lab.compare_pairs import Judged, Side
from natix_miner.lab.replay import levels_again
from natix_miner.stored import StoredQuery, StoredSource
from natix_miner.stored.results import ResultsQueries

#: Settings of a run without which two runs were not asked the same.
_ASKED_ALIKE = ("simulate", "seed", "keep_order")


def side_of(stored: StoredSource, name: str) -> Side:
    """A run, a journal or an export as one side; its pictures need `stored` open.

    Raises FittingError when it holds no query.
    """
    queries = [Judged.of(query) for query in stored]
    if not queries:
        raise FittingError(f"{name} holds no judged query{_told(stored)}: nothing to compare")
    ordered = _in_stream(stored, queries)
    if isinstance(stored, ResultsQueries):
        return Side(name, ordered, True, stored.header.settings)
    return Side(name, ordered)


def sides_of_fits(
    stored: StoredSource, fits: tuple[FittedConsensus, FittedConsensus], names: tuple[str, str]
) -> tuple[Side, Side, list[str]]:
    """The stored opinions pooled by each of two fits, and what has to be said about that.

    All opinions of a query are pooled, whatever levels either fit would have entered. Times are
    left out: nothing was judged anew. Raises FittingError when there are no opinions, or none of
    an expert that a fit has weights for.
    """
    pools = [POOLS[fitted.kind](fitted) for fitted in fits]
    sides: tuple[list[Judged], list[Judged]] = ([], [])
    asked: set[str] = set()
    for query in stored:
        if heard := _voters(query):
            asked |= heard
            for side, pool in zip(sides, pools, strict=True):
                side.append(_pooled(query, pool))
    if not asked:
        raise FittingError(f"{stored.path} holds no opinions{_told(stored)}: nothing to pool")
    notes = ["every stored opinion is pooled, whatever levels a fit would have entered"]
    for fitted, name in zip(fits, names, strict=True):
        known = fitted.experts()
        if not known & asked:
            raise FittingError(
                f"{name} was fitted for the experts {sorted(known)}, {stored.path} has opinions "
                f"of {sorted(asked)}: give queries that the same experts judged"
            )
        if unknown := sorted(asked - known):
            notes.append(f"{name} has no weight for {', '.join(unknown)}")
        if missing := sorted(known - asked):
            notes.append(f"{name} has weights for {', '.join(missing)}, which nobody asked")
    notes += [f"{count} left out ({why})" for why, count in stored.skipped.items()]
    first, second = (_in_stream(stored, side) for side in sides)
    return Side(names[0], first), Side(names[1], second), notes


def refuse_if_asked_differently(a: Side, b: Side) -> None:
    """Raise FittingError when two runs were not put the same pictures in the same order."""
    if not (a.by_name and b.by_name):
        return
    apart = [
        f"{key} is {a.settings.get(key)!r} in {a.name} and {b.settings.get(key)!r} in {b.name}"
        for key in _ASKED_ALIKE
        if a.settings.get(key) != b.settings.get(key)
    ]
    if apart:
        raise FittingError(
            f"the two runs were not asked the same: {'; '.join(apart)}. Score both with the same "
            "--simulate, --seed and --keep-order"
        )


def settings_apart(a: Side, b: Side) -> list[str]:
    """Settings that differ and do not hinder a comparison, but matter in reading it."""
    notes = []
    if a.by_name and b.by_name:
        if a.settings.get("queries") != b.settings.get("queries"):
            notes.append("the two runs read different lists of queries: paired by name and place")
        due = a.settings.get("deadline_seconds"), b.settings.get("deadline_seconds")
        if due[0] != due[1]:
            notes.append(f"the deadline was {due[0]} s for A and {due[1]} s for B")
    return notes


def _pooled(query: StoredQuery, pool: Consensus) -> Judged:
    """The query as this pool answers it after all its levels."""
    *_, (_, pooled) = levels_again(query.trace, pool)
    answer = NO_ANSWER if pooled is None else answer_from(pooled.log_odds)
    return replace(Judged.of(query, answer), total_ms=None, expert_ms=None)


def _voters(query: StoredQuery) -> set[str]:
    """The experts that had a probability."""
    return {
        one.name
        for level in query.trace.levels
        for one in level.experts
        if one.probability is not None
    }


def _in_stream(stored: StoredSource, queries: list[Judged]) -> tuple[Judged, ...]:
    """The queries in the order in which they were asked; results are stored in the order in which
    they were ready."""
    if isinstance(stored, ResultsQueries):
        queries = sorted(queries, key=_repeat_and_position)
    return tuple(queries)


def _repeat_and_position(one: Judged) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in one.id.split("-"))
    except ValueError:
        raise FittingError(
            f"query {one.name!r} of the results has the id {one.id!r}, not REPEAT-POSITION: its "
            "place in the stream is not known, score again"
        ) from None


def _told(stored: StoredSource) -> str:
    return "".join(f"; {count} left out ({why})" for why, count in stored.skipped.items())
