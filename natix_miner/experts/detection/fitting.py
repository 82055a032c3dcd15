"""Fitting the rule by which boxes become a probability, on detections with labels.

Maximum a posteriori: the log-likelihood of the labels under the rule (see `rule`), with a mild
Gaussian prior around a hand-set rule, in log-odds of weights, leak and factors and in logs of slope
and size, so that every value stays in its range. With H = -log(1 - P), the sum of the objects'
hazards, the gradient is exact:

    dL/dH = 1 for a street without roadwork, -1 / (e^H - 1) for one with
    dH/dq = 1 / (1 - q);  dq/dlogit(w) = q (1 - w);  dq/dintercept = q (1 - s)
    dq/dlog(slope) = q (1 - s) slope logit(score)

with s the calibrated score. A class that few pictures show stays as it was set by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import QuerySourceError
from natix_miner.experts.detection.rule import BoxRule, probability_of
from natix_miner.experts.detection.samples import Sample, digest_of_samples, folds_of, shown
from natix_miner.log_odds import expit, logit

Numbers = NDArray[np.float64]

#: Weights of 0 and 1 have no log-odds.
FLOOR = 1e-4
#: No cause is so certain that a street without roadwork would be impossible.
MOST = 1.0 - 1e-7


@dataclass(frozen=True, slots=True)
class FitOptions:
    """`least` pictures must show a class for its weight to move. `spread` is the standard deviation
    of the prior in log-odds (of weights, leak, factors) and, halved, of intercept and logs. With
    `priors` the factors for area and position move too; their borders do not."""

    least: int = 20
    spread: float = 1.5
    priors: bool = False
    folds: int = 5


def fitted_rule(
    samples: Sequence[Sample], by_hand: BoxRule, date: str, options: FitOptions | None = None
) -> BoxRule:
    """The fitted rule; `fitted_on` says on what, `metrics` how well it does on unseen groups.

    `date` is written down as it is. Raises QuerySourceError when not both labels occur.
    """
    options = options or FitOptions()
    rule = fit(samples, by_hand, options)
    labels = [sample.label for sample in samples]
    seen = shown(samples)
    return rule.model_copy(
        update={
            "fitted_on": {
                "date": date,
                "samples": len(samples),
                "positives": sum(labels),
                "digest": digest_of_samples(samples),
                "classes": {kind: seen[kind] for kind in sorted(seen)},
                "left_by_hand": sorted(
                    kind for kind in by_hand.weights if seen[kind] < options.least
                ),
            },
            "metrics": cross_validated(samples, by_hand, options),
        }
    )


def fit(samples: Sequence[Sample], by_hand: BoxRule, options: FitOptions) -> BoxRule:
    """The rule that fits the samples best, near the one set by hand."""
    from scipy.optimize import minimize

    if {sample.label for sample in samples} != {0, 1}:
        raise QuerySourceError(
            f"{len(samples)} samples with the labels {sorted({s.label for s in samples})}: a rule "
            "is fitted on pictures with roadwork (1) and without (0)"
        )
    problem = _Problem(samples, by_hand, options)
    found = minimize(problem.loss, problem.start, jac=True, method="L-BFGS-B")
    return problem.rule(np.asarray(found.x, np.float64))


def cross_validated(
    samples: Sequence[Sample], by_hand: BoxRule, options: FitOptions
) -> dict[str, Any]:
    """Mean log loss (nats) of the rule set by hand, of fits that did not see the group they are
    measured on, and of saying the share of roadwork always."""
    fold_of = folds_of(samples, options.folds)
    folds = sorted(set(fold_of))
    before = log_loss(samples, by_hand)
    share = sum(sample.label for sample in samples) / len(samples)
    figures: dict[str, Any] = {
        "log_loss_before": round(before, 5),
        "log_loss_of_share": round(
            float(-share * np.log(share) - (1 - share) * np.log1p(-share)), 5
        ),
    }
    total, measured = 0.0, 0
    for left_out in folds:
        kept = [s for s, fold in zip(samples, fold_of, strict=True) if fold != left_out]
        unseen = [s for s, fold in zip(samples, fold_of, strict=True) if fold == left_out]
        if len({sample.label for sample in kept}) < 2:
            continue
        total += log_loss(unseen, fit(kept, by_hand, options)) * len(unseen)
        measured += len(unseen)
    if measured == len(samples):
        figures |= {"log_loss_after": _round(total / measured), "folds": len(folds)}
    return figures


def log_loss(samples: Sequence[Sample], rule: BoxRule) -> float:
    """Mean negative log-likelihood of the labels in nats; probabilities are kept 1e-6 off 0, 1."""
    said = np.array([probability_of(list(sample.objects), rule) for sample in samples])
    said = said.clip(1e-6, 1.0 - 1e-6)
    labels = np.array([sample.label for sample in samples])
    return float(-np.where(labels == 1, np.log(said), np.log1p(-said)).mean())


class _Problem:
    """Loss and gradient by the parameters: weights that move, leak, slope, intercept and, where
    asked for, the factors of area and position and the size from which a box counts in full."""

    def __init__(self, samples: Sequence[Sample], by_hand: BoxRule, options: FitOptions) -> None:
        seen = shown(samples)
        self._by_hand = by_hand
        self._moving = [k for k, w in by_hand.weights.items() if w > 0 and seen[k] >= options.least]
        self._priors = options.priors
        self._labels = np.array([sample.label for sample in samples]) == 1
        pairs = [
            (number, found)
            for number, sample in enumerate(samples)
            for found in sample.objects
            if by_hand.weights.get(found.kind, 0.0) > 0.0 and found.plausible > 0.0
        ]
        self._picture = np.array([number for number, _ in pairs], np.intp)
        kinds = [found.kind for _, found in pairs]
        index = {kind: number for number, kind in enumerate(self._moving)}
        self._kind = np.array([index.get(kind, -1) for kind in kinds], np.intp)
        self._weight = np.array([by_hand.weights[kind] for kind in kinds], np.float64)
        self._odds = np.array([logit(found.score) for _, found in pairs], np.float64)
        self._area = np.array([found.area for _, found in pairs], np.float64)
        self._bottom = np.array([found.bottom for _, found in pairs], np.float64)
        self._plausible = np.array([found.plausible for _, found in pairs], np.float64)
        self.start = self._start()
        wide = [options.spread] * (len(self._moving) + 1) + [options.spread / 2] * 2
        narrow = [options.spread, options.spread, options.spread / 2] if self._priors else []
        self._spread = np.array(wide + narrow)

    def _start(self) -> Numbers:
        rule = self._by_hand
        shares = [rule.weights[kind] for kind in self._moving] + [rule.leak]
        more = (
            [
                logit(rule.area.large_factor, FLOOR),
                logit(rule.position.above_factor, FLOOR),
                float(np.log(rule.area.small)),
            ]
            if self._priors
            else []
        )
        odds = [logit(share, FLOOR) for share in shares]
        return np.array([*odds, float(np.log(rule.slope)), rule.intercept, *more])

    def rule(self, at: Numbers) -> BoxRule:
        """The rule of these parameters."""
        count = len(self._moving)
        weights = dict(self._by_hand.weights)
        weights |= {kind: _round(expit(at[n])) for n, kind in enumerate(self._moving)}
        said: dict[str, Any] = self._by_hand.model_dump() | {
            "weights": weights,
            "leak": float(np.clip(_round(expit(at[count])), FLOOR, 1.0 - FLOOR)),
            "slope": float(np.clip(_round(np.exp(at[count + 1])), FLOOR, 20.0)),
            "intercept": float(np.clip(_round(at[count + 2]), -20.0, 20.0)),
            "fitted_on": None,
            "metrics": {},
        }
        if self._priors:
            large, above, small = (float(value) for value in at[count + 3 :])
            said["area"]["large_factor"] = _round(expit(large))
            said["area"]["small"] = float(np.clip(np.exp(small), 1e-9, 1.0))
            said["position"]["above_factor"] = _round(expit(above))
        return BoxRule.model_validate(said)

    def loss(self, at: Numbers) -> tuple[float, Numbers]:
        """Negative log posterior in nats, up to a constant, and its gradient."""
        from scipy.special import expit as expits

        count = len(self._moving)
        slope = float(np.exp(at[count + 1]))
        weight = self._weight.copy()
        moves = self._kind >= 0
        weight[moves] = expits(at[self._kind[moves]])
        score = expits(slope * self._odds + at[count + 2])
        factor, changes = self._factors(at)
        cause = np.minimum(weight * score * factor, MOST)
        leak = float(expits(at[count]))
        hazard = np.bincount(self._picture, -np.log1p(-cause), len(self._labels))
        hazard -= np.log1p(-leak)
        losses = np.where(self._labels, -np.log(-np.expm1(-hazard)), hazard)
        by_hazard = np.where(self._labels, -1.0 / np.expm1(hazard), 1.0)

        by_log_cause = by_hazard[self._picture] * cause / (1.0 - cause)
        gradient = np.zeros_like(at)
        by_weight = (by_log_cause * (1.0 - weight))[moves]
        gradient[:count] = np.bincount(self._kind[moves], by_weight, count)[:count]
        gradient[count] = by_hazard.sum() * leak
        by_odds = by_log_cause * (1.0 - score)
        gradient[count + 1] = (by_odds * slope * self._odds).sum()
        gradient[count + 2] = by_odds.sum()
        for number, change in enumerate(changes):
            gradient[count + 3 + number] = (by_log_cause * change).sum()
        away = (at - self.start) / self._spread
        return float(losses.sum() + 0.5 * (away**2).sum()), gradient + away / self._spread

    def _factors(self, at: Numbers) -> tuple[Numbers, list[Numbers]]:
        """The objects' factors in [0, 1], and how their logs change with each of their
        parameters."""
        area, position = self._by_hand.area, self._by_hand.position
        large, above, small = area.large_factor, position.above_factor, area.small
        if self._priors:
            odds = at[len(self._moving) + 3 :]
            large, above, small = expit(odds[0]), expit(odds[1]), float(np.exp(odds[2]))
        is_large, is_above = self._area > area.large, self._bottom < position.horizon
        is_small = ~is_large & (self._area < small)
        by_area = np.where(is_small, np.sqrt(self._area / small), 1.0)
        by_area = np.where(is_large, large, by_area)
        factor = by_area * np.where(is_above, above, 1.0) * self._plausible
        if not self._priors:
            return factor, []
        changes = (is_large * (1.0 - large), is_above * (1.0 - above), is_small * -0.5)
        return factor, [np.asarray(change, np.float64) for change in changes]


def _round(value: float) -> float:
    return round(float(value), 5)
