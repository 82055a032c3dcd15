"""Log-odds and probabilities, safe at both ends."""

from __future__ import annotations

import math


def expit(log_odds: float) -> float:
    """The probability in [0, 1] of natural log-odds; any finite or infinite value is welcome."""
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    grown = math.exp(log_odds)
    return grown / (1.0 + grown)


def logit(probability: float, floor: float = 1e-6) -> float:
    """Natural log-odds of a probability in [0, 1], kept `floor` off both ends first."""
    ceiling = 1.0 - floor
    # Comparisons, as min and max take twice the time, and every vote comes by here twice.
    kept = floor if probability < floor else ceiling if probability > ceiling else probability
    return math.log(kept / (1.0 - kept))
