"""The rule by which an expert counts as drifting: how far it has moved from the fit, beyond what
others show as well, in units of what is allowed. Told for operators in docs/drift.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, PositiveFloat, model_validator

from natix_miner.consensus.fitted import Expected
from natix_miner.consensus.window import Window
from natix_miner.sections import Section

#: Votes in the fit below which its mean and agreement are no measure for anything.
LEAST_FITTED = 20
SHIFT, AGREEMENT, MISSING = "shift", "agreement", "missing"


class DriftSettings(Section):
    """When an expert counts as drifting, and how little it may then weigh.

    The last `window` queries in which an expert was asked are compared with the fit, once `minimum`
    are there. Limits: `shift` of its mean log-odds in spreads, `agreement_drop` and `missing_rise`
    of the shares, each at least `errors` standard errors. Its weight falls from 1 at the limit to
    `floor` at twice the limit.
    """

    enabled: bool = True
    window: Annotated[int, Field(ge=20, le=100_000)] = 500
    minimum: Annotated[int, Field(ge=10)] = 100
    floor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    shift: PositiveFloat = 0.5
    agreement_drop: PositiveFloat = 0.1
    missing_rise: PositiveFloat = 0.1
    errors: PositiveFloat = 4.0

    @model_validator(mode="after")
    def _fills(self) -> DriftSettings:
        if self.minimum > self.window:
            raise ValueError(
                f"minimum {self.minimum} is more than the window of {self.window}: nothing would"
                " ever be said"
            )
        return self


def scores(
    window: Window, expected: Mapping[str, Expected], settings: DriftSettings
) -> dict[str, dict[str, float]]:
    """How far each expert has moved beyond what others show too, by measure, 1 at the limit.

    An expert that was asked too seldom, now or in the fit, is left out; so are shift and agreement
    of one that has nobody to be compared with.
    """
    found: dict[str, dict[str, float]] = {}
    for measure, moved in _moved(window, expected, settings).items():
        ranked = sorted(moved.values(), reverse=True)
        for name, own in moved.items():
            if measure != MISSING and len(moved) < 2:
                continue
            limit = _limit(measure.strip("+-"), name, window, expected, settings)
            of_expert = found.setdefault(name, {})
            word = measure.strip("+-")
            of_expert[word] = max(of_expert.get(word, 0.0), _beyond(own, ranked) / limit)
    return found


def _moved(
    window: Window, expected: Mapping[str, Expected], settings: DriftSettings
) -> dict[str, dict[str, float]]:
    """By measure (the shift both up and down) and expert: how far it has moved for the worse."""
    asked, voted = [], []
    for name, tally in window.tallies.items():
        if tally.asked >= settings.minimum:
            asked.append(name)
            if tally.votes >= settings.minimum and votes_of(expected[name]) >= LEAST_FITTED:
                voted.append(name)
    shifts = {name: window.tallies[name].shift for name in voted}
    return {
        f"{SHIFT}+": shifts,
        f"{SHIFT}-": {name: -shift for name, shift in shifts.items()},
        AGREEMENT: {n: expected[n].agreement - window.tallies[n].agreement for n in voted},
        MISSING: {n: window.tallies[n].missing - expected[n].missing for n in asked},
    }


def _limit(
    measure: str,
    name: str,
    window: Window,
    expected: Mapping[str, Expected],
    settings: DriftSettings,
) -> float:
    """What is allowed: the limit of the settings, or their standard errors where those are more."""
    tally, fit = window.tallies[name], expected[name]
    if measure == SHIFT:
        error = math.sqrt(1.0 / tally.votes + 1.0 / votes_of(fit))
        return max(settings.shift, settings.errors * error)
    if measure == AGREEMENT:
        error = _share_error(fit.agreement, votes_of(fit), tally.votes)
        return max(settings.agreement_drop, settings.errors * error)
    return max(
        settings.missing_rise, settings.errors * _share_error(fit.missing, fit.n, tally.asked)
    )


def votes_of(expected: Expected) -> int:
    """How many votes of the expert the fit saw."""
    return round(expected.n * (1.0 - expected.missing))


def _beyond(own: float, ranked: list[float]) -> float:
    """By how much `own` exceeds what a quarter of the others (at least one) reach as well.

    `ranked` holds all, from the highest, `own` among them. What many show is no fault of one: the
    stream has changed (night, another mix of pictures), or the machine is overloaded. An expert
    that has not moved itself is never held to have.
    """
    if len(ranked) < 2:
        return max(0.0, own)
    place = math.ceil((len(ranked) - 1) / 4)
    shared = ranked[place] if own >= ranked[place - 1] else ranked[place - 1]
    return max(0.0, own - max(0.0, shared))


def _share_error(share: float, fitted: int, now: int) -> float:
    """Standard error of the difference between a share of `fitted` queries and one of `now`.

    Two successes and two failures are added, so that a share of 0 or 1 is not taken for certain.
    Source: Agresti and Coull, "Approximate is better than exact", 1998.
    """
    kept = (share * fitted + 2.0) / (fitted + 4.0)
    return math.sqrt(kept * (1.0 - kept) * (1.0 / fitted + 1.0 / now))
