"""The rule by which queries are worth a person's second: a score, and reasons in words.

    score = 1.0 unsure + 0.7 disagree + 0.5 new + 0.5 drifted       (halved when labelled already)

    unsure    1 - |2 p - 1|, p the pooled probability; 1 when nothing usable was said
    disagree  s / (s + 2.5), s the spread of the votes' log-odds
    new       max(0, 2 novelty - 1), where the memory told its novelty
    drifted   0 up to 2, 1 from 4 standard deviations z = |l - mean| / spread of the vote whose z is
              largest, l being its calibrated log-odds and mean and spread those of the fit

Each part lies in [0, 1]. Uncertainty sampling: Lewis and Gale, "A sequential algorithm for training
text classifiers", 1994; disagreement: query by committee, Seung, Opper and Sompolinsky 1992.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from natix_miner.cascade.trace import Trace
from natix_miner.consensus import FittedConsensus
from natix_miner.log_odds import logit

UNSURE, DISAGREE, NEW, DRIFTED = 1.0, 0.7, 0.5, 0.5
#: A picture that somebody has labelled is worth a second opinion, but less than one without any.
LABELLED = 0.5
#: Spread at which `disagree` is one half: where the shipped profiles enter the next level.
HALF_DISAGREE = 2.5
DRIFT_FROM, DRIFT_TO = 2.0, 4.0
#: A spread below this is that of an expert that hardly ever moved in the fit: no scale for drift.
SMALLEST_SPREAD = 0.25
#: A part below this is no reason that is worth telling.
WORTH_TELLING = 0.15


@dataclass(frozen=True, slots=True)
class Signals:
    """What a trace tells about how useful a label would be.

    `probability` is pooled (None: nothing usable was said), `disagreement` the spread of the votes'
    log-odds, `novelty` in [0, 1] (None: nobody told it), `drift` in standard deviations of the
    expert `drifted` (None: there is no fit to compare with).
    """

    probability: float | None
    disagreement: float = 0.0
    novelty: float | None = None
    drift: float | None = None
    drifted: str = ""


def signals_of(trace: Trace, fitted: FittedConsensus | None = None) -> Signals:
    """What the rule looks at, of one query."""
    told = [level for level in trace.levels if level.probability is not None]
    experts = [expert for level in trace.levels for expert in level.experts]
    novelties = [e.conditions["novelty"] for e in experts if "novelty" in e.conditions]
    drift: float | None = None
    drifted = ""
    for expert in experts if fitted else ():
        expected = fitted.expected.get(expert.name) if fitted else None
        if expected is None or fitted is None or expert.probability is None:
            continue
        calibration = fitted.calibrations.get(expert.name)
        probability = expert.probability
        log_odds = logit(calibration.calibrate(probability) if calibration else probability)
        away = abs(log_odds - expected.mean) / max(expected.spread, SMALLEST_SPREAD)
        if drift is None or away > drift:
            drift, drifted = away, expert.name
    return Signals(
        probability=told[-1].probability if told else None,
        disagreement=(told[-1].disagreement or 0.0) if told else 0.0,
        novelty=max(novelties, default=None),
        drift=drift,
        drifted=drifted,
    )


def parts(signals: Signals) -> dict[str, float]:
    """The weighted parts of the score, by name."""
    p, s = signals.probability, signals.disagreement
    novelty = signals.novelty or 0.0
    drift = ((signals.drift or 0.0) - DRIFT_FROM) / (DRIFT_TO - DRIFT_FROM)
    return {
        "unsure": UNSURE * (1.0 if p is None else 1.0 - abs(2.0 * p - 1.0)),
        "disagree": DISAGREE * s / (s + HALF_DISAGREE),
        "new": NEW * max(0.0, 2.0 * novelty - 1.0),
        "drifted": DRIFTED * min(1.0, max(0.0, drift)),
    }


def score(signals: Signals, *, labelled: bool = False) -> float:
    """How much a label is worth, in [0, 2.7]; `labelled`: somebody else has said what it shows."""
    return sum(parts(signals).values()) * (LABELLED if labelled else 1.0)


def reasons(signals: Signals, *, labelled: bool = False, opinion: bool = False) -> tuple[str, ...]:
    """Why it is asked, the weightiest first.

    Without `opinion` no word tells to which side the miner leans, so that it leads nobody.
    """
    p, novelty = signals.probability, signals.novelty
    if p is None:
        unsure = "no usable opinion"
    else:
        # Rounded up: "within 0.00" would be no word of a person.
        near = math.ceil(max(1.0, round(100.0 * abs(p - 0.5), 6))) / 100.0
        unsure = f"unsure: p = {p:.2f}" if opinion else f"unsure: p within {near:.2f} of one half"
    words = {
        "unsure": unsure,
        "disagree": f"votes disagree by {signals.disagreement:.1f}",
        "new": f"new: unlike {100.0 * (novelty or 0.0):.0f} % of the memory",
        "drifted": f"{signals.drifted} is {signals.drift or 0.0:.1f} deviations off its fit",
    }
    weighed = sorted(parts(signals).items(), key=lambda part: -part[1])
    told = [words[name] for name, worth in weighed if worth >= WORTH_TELLING]
    if labelled:
        told.append("a second opinion: labelled by somebody else")
    return tuple(told) or ("nothing special: asked for completeness",)
