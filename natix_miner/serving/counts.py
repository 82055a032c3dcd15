"""What became of the questions to a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of all questions so far.

    `asked` were sent. Of them `answered`, `failed` (errors, nonsense, taken down meanwhile),
    `timed_out` and `given_up` (cancelled early by whoever asked); the rest is under way or found
    the server's queue full. `refused_full` counts those and the ones over `max_in_flight`,
    `refused_down` the ones not sent because there is no server or its breaker is open, `retried`
    second attempts.
    """

    asked: int = 0
    answered: int = 0
    failed: int = 0
    timed_out: int = 0
    given_up: int = 0
    refused_full: int = 0
    refused_down: int = 0
    retried: int = 0
