"""The verdict: the answer to one query together with its trace."""

from __future__ import annotations

from dataclasses import dataclass

from natix_miner.cascade.trace import Trace
from natix_miner.errors import PictureError
from natix_miner.query import Query

#: What goes over the wire when there is nothing to answer with; validators leave it out of the
#: history of a miner, a wrong guess they would keep.
NO_ANSWER = -1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`probability` of roadwork in [0.001, 0.999], or None with the reason in the trace.

    `error` is set when the bytes of the query were no picture that we judge.
    """

    query: Query
    probability: float | None
    trace: Trace
    error: PictureError | None = None

    @property
    def prediction(self) -> float:
        """The value for the wire: the probability, or -1."""
        return NO_ANSWER if self.probability is None else self.probability

    @property
    def late(self) -> bool:
        """True when the verdict was ready only after the query's deadline."""
        return self.trace.stages_ms["total"] > self.trace.query.deadline_ms
