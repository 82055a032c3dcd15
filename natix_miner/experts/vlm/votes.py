"""From answers of one token to an opinion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.vlm.port import TokenAnswer
from natix_miner.log_odds import expit, logit

#: What the evidence calls the mass that went to neither answer.
ELSEWHERE = "mass on neither yes nor no"
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class TrustBounds:
    """How much a vote counts, by the mass that the model put on neither yes nor no.

    In full up to `full`, not at all from `none` on, in a straight line between (both in [0, 1],
    `full` below `none`): a model that would rather have said something else was not answering the
    question. The bounds are a choice, not a fit.
    """

    full: float = 0.2
    none: float = 0.95

    def factor(self, elsewhere: float) -> float:
        """Factor of a vote's weight, in [0, 1]."""
        return min(1.0, max(0.0, (self.none - elsewhere) / (self.none - self.full)))


DEFAULT_TRUST = TrustBounds()


@dataclass(frozen=True, slots=True)
class _Seen:
    """One view's part: natural log-odds of roadwork, mass on neither, and trust in it."""

    log_odds: float
    elsewhere: float
    trust: float


def p_roadwork(answer: TokenAnswer, invert: bool) -> float:
    """P(yes), or P(no) for an inverted question, kept off the ends by a millionth."""
    probability = 1.0 - answer.probability if invert else answer.probability
    return min(max(probability, _EDGE), 1.0 - _EDGE)


def look_of(
    answers: Sequence[tuple[TokenAnswer, Evidence]],
    *,
    invert: bool,
    combine: str,
    trust: TrustBounds,
    by: str,
    detail: str,
) -> Look:
    """One opinion from the answers about one view or several.

    `max` takes the most alarming view, of those that are trusted at all, with its own trust;
    `mean` weighs the views' log-odds by their trust and takes the mean of the trust. So a view
    about which the model did not answer can neither raise an alarm nor calm one. The scores of the
    evidence are filled in with P(yes), before any inverting.
    """
    seen = [
        _Seen(logit(p_roadwork(answer, invert)), answer.elsewhere, trust.factor(answer.elsewhere))
        for answer, _ in answers
    ]
    voted = _most_alarming(seen) if combine == "max" else _mean(seen)
    return Look(
        probability=expit(voted.log_odds),
        evidence=(
            *(Evidence(told.what, answer.probability, told.box) for answer, told in answers),
            Evidence(ELSEWHERE, voted.elsewhere),
        ),
        trust=voted.trust,
        by=by,
        detail=detail,
    )


def _most_alarming(seen: Sequence[_Seen]) -> _Seen:
    trusted = [view for view in seen if view.trust > 0.0]
    return max(trusted or seen, key=lambda view: view.log_odds)


def _mean(seen: Sequence[_Seen]) -> _Seen:
    total = math.fsum(view.trust for view in seen)
    weights = [view.trust / total if total else 1.0 / len(seen) for view in seen]
    return _Seen(
        math.fsum(weight * view.log_odds for weight, view in zip(weights, seen, strict=True)),
        math.fsum(view.elsewhere for view in seen) / len(seen),
        total / len(seen),
    )
