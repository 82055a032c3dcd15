"""A level: experts that run side by side, with a rule for entering it."""

from __future__ import annotations

from dataclasses import dataclass

from natix_miner.breaker import Breaker
from natix_miner.consensus import Pooled
from natix_miner.experts import Expert


@dataclass(frozen=True, slots=True)
class EntryRule:
    """When a level is entered, given what the levels before it have said.

    Entered when nothing usable has been said yet, when the pooled log-odds lie within
    `unsure_below` of 0, or when the votes disagree by `disagreement_above` or more (weighted
    standard deviation of log-odds). A low probability as such is no reason: a sure "no" is sure.
    With both left out the level is always entered.
    """

    unsure_below: float | None = None
    disagreement_above: float | None = None

    def decide(self, pooled: Pooled | None) -> tuple[bool, str]:
        """Whether to enter, and why (for the trace)."""
        if self.unsure_below is None and self.disagreement_above is None:
            return True, "always entered"
        if pooled is None:
            return True, "nothing usable so far"
        distance = abs(pooled.log_odds)
        if self.unsure_below is not None and distance < self.unsure_below:
            return True, f"unsure: log-odds {pooled.log_odds:+.2f} within {self.unsure_below:.2f}"
        if self.disagreement_above is not None and pooled.disagreement >= self.disagreement_above:
            return (
                True,
                f"votes disagree by {pooled.disagreement:.2f}, limit {self.disagreement_above:.2f}",
            )
        return (
            False,
            f"sure: log-odds {pooled.log_odds:+.2f}, disagreement {pooled.disagreement:.2f}",
        )


@dataclass(frozen=True, slots=True)
class Seat:
    """An expert's place in a level: how long it may take, and the breaker that watches it."""

    expert: Expert
    timeout_seconds: float
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class Level:
    """Experts asked at the same time.

    `needs_seconds` is the time below which it is not worth starting: with less left before the
    deadline the level is skipped.
    """

    name: str
    seats: tuple[Seat, ...]
    rule: EntryRule = EntryRule()
    needs_seconds: float = 0.0
