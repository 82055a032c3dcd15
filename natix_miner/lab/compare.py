"""Is B better than A? What differs on the queries that both judged, and whether that is luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from natix_miner.errors import FittingError
from natix_miner.lab.compare_draws import DRAWN, Difference, Draws, draw
from natix_miner.lab.compare_flips import Flip, flips_of
from natix_miner.lab.compare_pairs import Pair, Pairs, Side, pair_up
from natix_miner.scoring.metrics import Metrics, measure
from natix_miner.scoring.reward import rewards

DEFAULT_RESAMPLES = 2000
#: With fewer groups than this an interval says little.
FEW_GROUPS = 10


@dataclass(frozen=True, slots=True)
class McNemar:
    """Labelled pairs that both answered and only one got wrong, and how likely so uneven a split
    is where both err equally often (exact, two-sided).

    Source: McNemar, Note on the sampling error of the difference between correlated proportions,
    Psychometrika 12, 1947.
    """

    only_a_wrong: int
    only_b_wrong: int
    p: float


@dataclass(frozen=True, slots=True)
class SideFigures:
    """One side over the pairs.

    `reward` is the mean of the stream as it came, `drawn_reward` that of all drawn streams with
    its interval; both None without labels. Times in milliseconds, None where unknown;
    `expert_ms` is the mean time of all experts together.
    """

    name: str
    answered: int
    reward: float | None
    drawn_reward: tuple[float, float, float] | None  # mean, low, high
    quality: Metrics
    p50_ms: float | None
    p99_ms: float | None
    expert_ms: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is told about two sides; `as_dict` is the document of `--json`.

    `differences` are B minus A by figure (empty without labels); `groups` counts the groups that
    were drawn together, None where pairs were drawn one by one; `notes` are what whoever reads the
    figures has to know.
    """

    a: SideFigures
    b: SideFigures
    pairs: Pairs
    labelled: int
    groups: int | None
    differences: dict[str, Difference]
    mcnemar: McNemar | None
    flips: tuple[Flip, ...]
    notes: tuple[str, ...]
    seed: int
    resamples: int

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `no-difference` or, without labels, `unknown`: how B does."""
        found = self.differences.get("reward")
        if found is None:
            return "unknown"
        if not found.sure:
            return "no-difference"
        return "better" if found.low > 0.0 else "worse"

    @property
    def sentence(self) -> str:
        """The verdict for people."""
        found = self.differences.get("reward")
        if found is None:
            return (
                f"Nobody can say which is better: not one of the {len(self.pairs.pairs)} pairs "
                "has a label."
            )
        span = (
            f"reward {found.mean:+.4f}, {100 * found.confidence:g} % interval "
            f"{found.low:+.4f} to {found.high:+.4f}"
        )
        if self.verdict == "no-difference":
            return f"No difference that {self.labelled} labelled queries could show: B - A {span}."
        return f"B is {self.verdict} than A on {self.labelled} labelled queries: {span}."

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; figures that the data cannot give are None."""
        return {
            "a": _side(self.a),
            "b": _side(self.b),
            "pairs": len(self.pairs.pairs),
            "labelled": self.labelled,
            "unpaired": {"a": self.pairs.only_a, "b": self.pairs.only_b},
            "left_out": dict(self.pairs.left_out),
            "groups": self.groups,
            "seed": self.seed,
            "resamples": self.resamples,
            "difference": {name: asdict(one) for name, one in self.differences.items()},
            "mcnemar": asdict(self.mcnemar) if self.mcnemar else None,
            "flips": [flip.as_dict() for flip in self.flips],
            "notes": list(self.notes),
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def _side(side: SideFigures) -> dict[str, Any]:
    found = asdict(side)
    quality = found.pop("quality")
    drawn = found.pop("drawn_reward")
    return {
        **found,
        "drawn_reward": dict(zip(("mean", "low", "high"), drawn, strict=True)) if drawn else None,
        **{name: quality[name] for name in ("mcc", "accuracy", "auc", "brier", "ece")},
        "confusion": quality["confusion"],
    }


def compare(
    a: Side,
    b: Side,
    *,
    seed: int = 0,
    resamples: int = DEFAULT_RESAMPLES,
    notes: Sequence[str] = (),
) -> Comparison:
    """Compare two sides over the queries that both judged; `notes` are told with the figures.

    Raises FittingError when there is no such query.
    """
    pairs = pair_up(a, b)
    if not pairs.pairs:
        why = "".join(f", {count} left out ({reason})" for reason, count in pairs.left_out.items())
        raise FittingError(
            f"{a.name} and {b.name} share no query ({len(a.queries)} and {len(b.queries)} queries"
            f"{why}): compare two runs over the same pictures"
        )
    labelled = [pair for pair in pairs.pairs if pair.label is not None]
    truth = [pair.label or 0 for pair in labelled]
    answers = [p.a.prediction for p in labelled], [p.b.prediction for p in labelled]
    groups = [pair.group for pair in labelled]
    counted = len({name or place for place, name in enumerate(groups)}) if any(groups) else None
    remarks = _remarks(truth, counted)
    if counted == 1:
        groups, counted = [""] * len(groups), None
    draws: Draws | None = None
    if labelled:
        draws = draw(answers, truth, groups, seed=seed, resamples=resamples)
    return Comparison(
        a=_figures(a.name, pairs.pairs, 0, truth, answers[0], draws),
        b=_figures(b.name, pairs.pairs, 1, truth, answers[1], draws),
        pairs=pairs,
        labelled=len(labelled),
        groups=counted,
        differences={name: draws.difference(name) for name in DRAWN} if draws else {},
        mcnemar=mcnemar(answers[0], answers[1], truth) if labelled else None,
        flips=flips_of(pairs.pairs),
        notes=(*notes, *remarks),
        seed=seed,
        resamples=resamples,
    )


def mcnemar(a: Sequence[float], b: Sequence[float], labels: Sequence[int]) -> McNemar:
    """McNemar's exact test on the errors of two sides ([0, 1] or -1 for no answer)."""
    from scipy.stats import binomtest

    both = [(x, y, t) for x, y, t in zip(a, b, labels, strict=True) if x >= 0.0 and y >= 0.0]
    wrong = [((x > 0.5) != bool(t), (y > 0.5) != bool(t)) for x, y, t in both]
    only_a = sum(x and not y for x, y in wrong)
    only_b = sum(y and not x for x, y in wrong)
    uneven = only_a + only_b
    p = float(binomtest(min(only_a, only_b), uneven, 0.5).pvalue) if uneven else 1.0
    return McNemar(only_a, only_b, p)


def _figures(
    name: str,
    pairs: tuple[Pair, ...],
    side: int,
    truth: list[int],
    answers: list[float],
    draws: Draws | None,
) -> SideFigures:
    ours = [pair.a if side == 0 else pair.b for pair in pairs]
    times = [one.total_ms for one in ours if one.total_ms is not None]
    spent = [one.expert_ms for one in ours if one.expert_ms is not None]
    p50, p99 = np.quantile(times, [0.5, 0.99]) if times else (None, None)
    return SideFigures(
        name=name,
        answered=sum(one.answered for one in ours),
        reward=float(rewards(answers, truth).mean()) if truth else None,
        drawn_reward=(
            (draws.mean("reward", side), *draws.interval("reward", side)) if draws else None
        ),
        quality=measure(answers, truth),
        p50_ms=None if p50 is None else float(p50),
        p99_ms=None if p99 is None else float(p99),
        expert_ms=sum(spent) / len(spent) if spent else None,
    )


def _remarks(truth: list[int], groups: int | None) -> list[str]:
    notes = []
    if truth and len(set(truth)) == 1:
        notes.append(
            "all labels are of one class: there is no correlation, and the reward is at most "
            "0.125 whatever is answered"
        )
    if groups == 1:
        notes.append(
            "all queries are of one group, so they were drawn one by one: the truth is wider"
        )
    elif groups is not None and groups < FEW_GROUPS:
        notes.append(f"only {groups} groups: the interval itself is uncertain")
    return notes
