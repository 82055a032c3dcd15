"""Votes from wherever they lie: stored queries, a file of JSON lines, or a stream of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import numpy as np

from natix_miner.errors import FittingError
from natix_miner.fitting.grouping import checked
from natix_miner.fitting.lines import votes_from_lines
from natix_miner.fitting.reading import votes_of
from natix_miner.fitting.votes import Votes
from natix_miner.stored import open_stored


@dataclass(frozen=True, slots=True)
class Opened:
    """Votes to fit on, and all votes of the source (grouped anyhow), labelled or not."""

    votes: Votes
    seen: Votes


def open_votes(paths: Sequence[Path], group_by: str = "auto") -> Opened:
    """The votes at `paths`: journals, exports, scored folders, results, or one file of JSON lines.

    Of stored queries only the labelled ones are grouped, so that no other picture is read. Raises
    FittingError, QuerySourceError or JournalError.
    """
    checked(group_by)
    lined = [path for path in paths if _holds_votes(path)]
    if lined and len(paths) > 1:
        raise FittingError(
            f"{lined[0]} holds lines of votes, which are fitted alone: join such files before"
        )
    if lined:
        with lined[0].open("rb") as lines:
            return votes_of_stream(lines, group_by)
    with ExitStack() as stack:
        sources = [stack.enter_context(open_stored(path)) for path in paths]
        seen = votes_of(chain.from_iterable(sources), group_by="day")
        skipped = sum((source.skipped for source in sources), Counter())
        votes = votes_of(chain.from_iterable(sources), group_by=group_by, labelled_only=True)
    return Opened(replace(votes, left_out={**votes.left_out, **skipped}), seen)


def votes_of_stream(lines: Iterable[str | bytes], group_by: str = "auto") -> Opened:
    """The votes of JSON lines; they are grouped as they say, or by day."""
    by = checked(group_by)
    if by == "hash":
        raise FittingError("lines of votes hold no pictures to be hashed: group by given or day")
    votes = votes_from_lines(lines)
    if by == "day":
        if np.isnan(votes.received_at).any():
            raise FittingError("to group by day every line of votes needs `received_at`")
        days = tuple(
            datetime.fromtimestamp(float(at), UTC).strftime("%Y-%m-%d") for at in votes.received_at
        )
        votes = replace(votes, groups=days)
    return Opened(votes, votes)


def _holds_votes(path: Path) -> bool:
    """Whether it is JSON lines, and the first is of votes: their header, or one with opinions."""
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        return False
    try:
        with path.open("rb") as lines:
            first = json.loads(next((line for line in lines if line.strip()), b"null"))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and bool({"levels", "opinions"} & first.keys())
