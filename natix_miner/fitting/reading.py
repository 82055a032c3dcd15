"""Votes of stored queries: opinions out of their traces, nothing is judged again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from natix_miner.errors import FittingError
from natix_miner.fitting.grouping import KinReader, checked, groups_of
from natix_miner.fitting.told import Said, Told, read_told, without_conflicts
from natix_miner.fitting.votes import UNLABELLED, Votes
from natix_miner.stored import StoredQuery

OTHER_PROFILE = "experts of another profile"

Levels = tuple[tuple[str, tuple[str, ...]], ...]


def votes_of(
    queries: Iterable[StoredQuery], *, group_by: str = "auto", labelled_only: bool = False
) -> Votes:
    """The votes of stored queries, of one source or of several one after the other.

    Experts and levels are those of the newest profile; opinions of experts that it does not have,
    or that ran with other weights, are left aside and told in `remarks`. Experts that only tell
    conditions are no columns. Left out and counted: refused pictures, queries that nobody was
    asked about, exact duplicates, and pictures that carry both labels. `group_by` as in
    `groups_of`; `labelled_only` leaves out the others before any picture is read for grouping.

    Raises FittingError when nothing is left.
    """
    by = checked(group_by)
    reader = KinReader(by)
    left_out: Counter[str] = Counter()
    told = list(read_told(queries, reader, left_out, labelled_only=labelled_only))
    told = without_conflicts(told, left_out)
    if not told:
        counted = ", ".join(f"{reason}: {count}" for reason, count in left_out.items())
        raise FittingError(f"there is no stored query to fit from ({counted or 'none at all'})")
    remarks: list[str] = []
    levels, votes = _of_newest(told, remarks)
    experts = {name for _, names in levels for name in names}
    kept = [n for n, said in enumerate(votes) if any(one.expert in experts for one in said)]
    if not kept:
        raise FittingError("not one expert of the stored queries votes: they only tell conditions")
    if len(kept) < len(told):
        left_out[OTHER_PROFILE] += len(told) - len(kept)
    told, votes = [told[n] for n in kept], [votes[n] for n in kept]
    kin = [one.kin for one in told]
    groups = groups_of(kin, by, cannot_hash=reader.cannot_hash, remarks=remarks)
    return _arrays(told, votes, levels, groups, left_out, remarks)


def _of_newest(told: list[Told], remarks: list[str]) -> tuple[Levels, list[list[Said]]]:
    """Levels and experts of the newest profile, and of each query what these experts said."""
    newest = max(told, key=lambda one: one.received_at)
    aside: Counter[str] = Counter()
    votes: list[list[Said]] = []
    for one in told:
        own = [said for said in one.said if _is_of(newest, one, said)]
        votes.append(own)
        if len(own) < len(one.said):
            kept = {said.expert for said in own}
            aside.update(said.expert for said in one.said if said.expert not in kept)
    if aside:
        named = ", ".join(f"{name} ({count})" for name, count in aside.most_common())
        remarks.append(
            "opinions of experts that the newest profile does not have, or that ran with other "
            f"weights, were left aside: {named}"
        )
    levels = _levels(newest, told, votes)
    silent = [name for name, experts in levels if not experts]
    if silent:
        remarks.append(
            f"no vote of the levels {', '.join(silent)} is stored: "
            "natix-miner score --all-levels collects them"
        )
    return tuple(level for level in levels if level[1]), votes


def _is_of(newest: Told, one: Told, said: Said) -> bool:
    """Whether the newest profile has this very expert; where versions are not told, the names of
    the levels must be the same."""
    if said.level not in newest.levels:
        return False
    if not newest.versions:
        return one.levels == newest.levels
    version = newest.versions.get(said.expert)
    return version is not None and one.versions.get(said.expert) == version


def _levels(newest: Told, told: list[Told], votes: list[list[Said]]) -> Levels:
    """The levels of the newest profile with their voters, as the newest query has seated them."""
    seat: dict[str, str] = {}
    tells: set[str] = set()
    speaks: set[str] = set()
    for n in sorted(range(len(told)), key=lambda n: -told[n].received_at):
        for said in votes[n]:
            seat.setdefault(said.expert, said.level)
            if said.tells:
                tells.add(said.expert)
            elif said.probability == said.probability:
                speaks.add(said.expert)
    voters = [name for name in seat if name in speaks or name not in tells]
    return tuple(
        (level, tuple(name for name in voters if seat[name] == level)) for level in newest.levels
    )


def _arrays(
    told: list[Told],
    votes: list[list[Said]],
    levels: Levels,
    groups: tuple[str, ...],
    left_out: Counter[str],
    remarks: list[str],
) -> Votes:
    column = {name: n for n, name in enumerate(name for _, names in levels for name in names)}
    shape = (len(told), len(column))
    probability, ms = np.full(shape, np.nan), np.full(shape, np.nan)
    asked, trust = np.zeros(shape, bool), np.ones(shape)
    names = sorted({name for one in told for name in one.conditions})
    conditions = {name: np.zeros(len(told)) for name in names}
    for row, (one, own) in enumerate(zip(told, votes, strict=True)):
        for said in own:
            if said.expert not in column:
                continue
            at = row, column[said.expert]
            asked[at], probability[at] = True, said.probability
            trust[at], ms[at] = said.trust, said.ms
        for name, value in one.conditions.items():
            conditions[name][row] = value
    labels = [UNLABELLED if one.label is None else one.label for one in told]
    return Votes(
        ids=tuple(one.id for one in told),
        levels=levels,
        probability=probability,
        asked=asked,
        trust=trust,
        ms=ms,
        label=np.array(labels, np.int8),
        groups=groups,
        size_class=tuple(one.size_class for one in told),
        conditions=conditions,
        generation=tuple(one.generation for one in told),
        prediction=np.array([one.prediction for one in told]),
        total_ms=np.array([one.total_ms for one in told]),
        received_at=np.array([one.received_at for one in told]),
        left_out=dict(left_out),
        remarks=tuple(remarks),
    )
