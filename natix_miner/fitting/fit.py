"""The fit: from labelled votes to the consensus file, with the figures that speak for it."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from natix_miner import __version__
from natix_miner.consensus import FittedConsensus
from natix_miner.fitting.candidates import fit_candidates
from natix_miner.fitting.choice import Choice, Shift, choose, decision_shift, with_shift
from natix_miner.fitting.crossval import HeldOut, cross_validate
from natix_miner.fitting.expecting import expected_of
from natix_miner.fitting.figures import Figures, figures_of
from natix_miner.fitting.folding import check_enough
from natix_miner.fitting.pools import answers_from
from natix_miner.fitting.remarks import remarks_on
from natix_miner.fitting.settings import (
    LEAST_GROUPS,
    LEAST_LABELLED,
    LEAST_PER_LABEL,
    FitSettings,
    PoolName,
)
from natix_miner.fitting.votes import Votes


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit comes to.

    `fitted` is the consensus of the chosen pool on all labelled votes, with the decision shift;
    `candidates` are all pools, without it. `labelled` are the votes that were fitted on, `held_out`
    their log-odds by fits that did not see them (without the shift), and `figures` those of each
    pool on these. `effective_votes` is None where it cannot be told.
    """

    fitted: FittedConsensus
    choice: Choice
    shift: Shift
    figures: Mapping[PoolName, Figures]
    candidates: Mapping[PoolName, FittedConsensus]
    held_out: HeldOut
    labelled: Votes
    n: int
    effective_votes: float | None
    remarks: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The document of `natix-miner fit --json`."""
        return {
            "n": self.n,
            "labelled": len(self.labelled),
            "effective_votes": self.effective_votes,
            "chosen": self.choice.name,
            "why": self.choice.why,
            "pools": {name: one.as_dict() for name, one in self.figures.items()},
            "decision_shift": self.shift.log_odds,
            "decision_shift_why": self.shift.why,
            "remarks": list(self.remarks),
            "seconds": round(self.seconds, 2),
        }


def fit(
    votes: Votes,
    settings: FitSettings | None = None,
    *,
    hand: FittedConsensus | None = None,
    seen: Votes | None = None,
    told: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda step: None,
    clock: Callable[[], float] = time.monotonic,
) -> Fit:
    """Fit and compare all pools on the labelled votes, and choose one.

    `hand` are the hand weights that are the default (equal ones without). `seen` are all votes of
    the source, labelled or not, that the file says what to expect from (`votes` without). `told` is
    added to `fitted_on` of the file; `tell` hears of the progress. Raises FittingError when the
    votes are too few, of one label, or of too few groups.
    """
    from threadpoolctl import threadpool_limits

    # The matrices are small: threads of the linear algebra only wait for each other.
    with threadpool_limits(limits=1):
        return _fit(votes, settings or FitSettings(), hand, seen or votes, told or {}, tell, clock)


def _fit(
    votes: Votes,
    settings: FitSettings,
    hand: FittedConsensus | None,
    seen: Votes,
    told: Mapping[str, Any],
    tell: Callable[[str], None],
    clock: Callable[[], float],
) -> Fit:
    started = clock()
    labelled = votes.labelled()
    voted = np.flatnonzero((~np.isnan(labelled.probability)).any(axis=1))
    check_enough(
        labelled.take(voted) if voted.size else votes,
        least=LEAST_LABELLED,
        per_class=LEAST_PER_LABEL,
        groups=LEAST_GROUPS,
    )
    held_out = cross_validate(labelled, settings, hand, tell)
    tell("figures")
    figures = figures_of(
        {name: answers_from(log_odds) for name, log_odds in held_out.log_odds.items()},
        labelled.label,
        labelled.groups,
        prior=settings.prior,
        seed=settings.seed,
        resamples=settings.resamples,
    )
    choice = choose(figures, len(labelled), settings.force)
    shift = decision_shift(
        choice.name,
        held_out.log_odds[choice.name],
        held_out.fold,
        labelled.label,
        labelled.groups,
        settings,
    )
    tell("all queries")
    made = fit_candidates(labelled, settings, hand)
    chosen = with_shift(made.fitted[choice.name], shift.log_odds)
    fitted = chosen.model_copy(
        update={
            "expected": expected_of(chosen, seen),
            "fitted_on": {**_fitted_on(votes, labelled, settings, held_out), **told},
            "metrics": {
                "pools": {name: one.as_dict() for name, one in figures.items()},
                "chosen": choice.name,
                "why": choice.why,
                "decision_shift": shift.log_odds,
            },
            "code_version": __version__,
        }
    )
    return Fit(
        fitted=FittedConsensus.model_validate(fitted.model_dump()),
        choice=choice,
        shift=shift,
        figures=figures,
        candidates=made.fitted,
        held_out=held_out,
        labelled=labelled,
        n=len(seen),
        effective_votes=_effective_votes(labelled),
        remarks=(
            *votes.remarks,
            *remarks_on(
                votes,
                labelled,
                made.fitted["stacking"].calibrations,
                made.unfitted_levels,
                votes.left_out,
            ),
        ),
        seconds=clock() - started,
    )


def votes_digest(votes: Votes) -> str:
    """A digest of ids, opinions and labels: which data a file was fitted on."""
    digest = hashlib.sha256()
    digest.update(repr((votes.ids, votes.levels, votes.groups, votes.size_class)).encode())
    for values in (votes.label, votes.asked, votes.probability, votes.trust):
        digest.update(np.ascontiguousarray(values).tobytes())
    for name in sorted(votes.conditions):
        digest.update(name.encode() + np.ascontiguousarray(votes.conditions[name]).tobytes())
    return digest.hexdigest()


def _fitted_on(
    votes: Votes, labelled: Votes, settings: FitSettings, held_out: HeldOut
) -> dict[str, Any]:
    import scipy
    import sklearn

    return {
        "sha256": votes_digest(votes),
        "n": len(votes),
        "labelled": len(labelled),
        "roadwork": int(np.sum(labelled.label == 1)),
        "groups": len(set(labelled.groups)),
        "experts": list(votes.experts),
        "left_out": dict(votes.left_out),
        "settings": settings.model_dump(),
        "folds": int(held_out.fold.max()) + 1,
        "versions": {
            "natix-miner": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _effective_votes(votes: Votes) -> float | None:
    from natix_miner.fitting.redundancy import effective_votes

    found = float(effective_votes(votes))
    return found if math.isfinite(found) else None
