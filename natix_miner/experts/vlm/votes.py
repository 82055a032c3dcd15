"""From answers of one token to an opinion."""

from __future__ import annotations

import math
from collections.abc import Sequence

from natix_miner.experts.opinion import Evidence, Look
from natix_miner.experts.vlm.port import TokenAnswer
from natix_miner.log_odds import expit, logit

#: Up to this much mass on neither yes nor no a vote counts in full, from the other on not at all.
FULL_TRUST, NO_TRUST = 0.2, 0.95
_EDGE = 1e-6


def trust(elsewhere: float) -> float:
    """Factor of a vote's weight, by the mass that the model put on neither yes nor no.

    1 up to 0.2, falling in a straight line to 0 at 0.95: a model that would rather have said
    something else was not answering the question. The bounds are a choice, not a fit.
    """
    return min(1.0, max(0.0, (NO_TRUST - elsewhere) / (NO_TRUST - FULL_TRUST)))


def p_roadwork(answer: TokenAnswer, invert: bool) -> float:
    """P(yes), or P(no) for an inverted question, kept off the ends by a millionth."""
    probability = 1.0 - answer.probability if invert else answer.probability
    return min(max(probability, _EDGE), 1.0 - _EDGE)


def look_of(
    answers: Sequence[tuple[TokenAnswer, Evidence]],
    *,
    invert: bool,
    combine: str,
    by: str,
    detail: str,
) -> Look:
    """One opinion from the answers about several views: `max` takes the most alarming one, `mean`
    the mean of the log-odds. The evidence's scores are filled in; `elsewhere` is averaged."""
    seen = [(p_roadwork(answer, invert), evidence) for answer, evidence in answers]
    log_odds = [logit(probability) for probability, _ in seen]
    pooled = max(log_odds) if combine == "max" else math.fsum(log_odds) / len(log_odds)
    elsewhere = math.fsum(answer.elsewhere for answer, _ in answers) / len(answers)
    return Look(
        probability=expit(pooled),
        evidence=(
            *(Evidence(told.what, probability, told.box) for probability, told in seen),
            Evidence("mass on neither yes nor no", elsewhere),
        ),
        trust=trust(elsewhere),
        by=by,
        detail=detail,
    )
