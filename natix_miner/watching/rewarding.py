"""What validators would have paid for the queries whose truth is known.

An estimate: a validator pays by its own labels and over all that it asked, we know some labels (a
testnet validator's, or those an operator set). So it is always told over how many queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from natix_miner.journal import Filter, Journal
from natix_miner.scoring.reward import MCC_WINDOW, windows_of

#: Labelled queries that are read, the newest; more than enough to fill every validator's window.
MOST_LABELLED = 5_000


@dataclass(frozen=True, slots=True)
class Earned:
    """For one validator: `labelled` queries read, mean `reward` of the last 100 of them (fewer
    where there are fewer), and what its windows hold now; all but the count in [0, 1]."""

    labelled: int
    reward: float
    mcc: float
    accuracy: float


def earned_by(journal: Journal) -> dict[str | None, Earned]:
    """What each asker would have paid. Raises JournalError."""
    newest = journal.entries(Filter(labelled=True), newest_first=True, limit=MOST_LABELLED)
    streams: dict[str | None, list[tuple[float, int]]] = {}
    for who, answer, label in [(e.asked_by, e.prediction, e.label) for e in newest][::-1]:
        if label is not None:
            streams.setdefault(who, []).append((answer, label))
    return {who: earned(pairs) for who, pairs in streams.items()}


def earned(pairs: Sequence[tuple[float, int]]) -> Earned:
    """What one stream of (prediction in [0, 1] or -1, label 0 or 1), the oldest first and not
    empty, would have been paid."""
    answers = np.array([answer for answer, _ in pairs], np.float64)
    truth = np.array([label for _, label in pairs], np.int8)
    windows = windows_of(answers, truth)
    return Earned(
        labelled=len(pairs),
        reward=float(windows.reward[-MCC_WINDOW:].mean()),
        mcc=float(windows.mcc[-1]),
        accuracy=float(windows.accuracy[-1]),
    )
