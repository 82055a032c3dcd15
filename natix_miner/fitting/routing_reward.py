"""What a validator pays on average, from how often the answers to each label are right.

In a stream of independent queries with a known share of roadwork, the reward of an answer depends
on two shares alone: of roadwork that is answered with roadwork, of the rest that is answered with
none. So its expectation over all such streams (full windows) can be summed up instead of drawn:
thousands of thresholds are compared without the noise of a bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from natix_miner.scoring.reward import ACCURACY_WINDOW, EXPONENT, MCC_WINDOW

Floats = NDArray[np.float64]

#: Windows whose number of roadwork is rarer than this are left out.
_RARE = 1e-12
#: Places of the table, closer together where answers are mostly right; between them it is linear.
_ERRORS = np.concatenate([np.linspace(0.0, 0.2, 81), np.linspace(0.21, 0.5, 30), [0.6, 0.8, 1.0]])


@dataclass(frozen=True, slots=True)
class Quality:
    """Shares in [0, 1], each an array of one shape or a float: roadwork answered with roadwork,
    the rest answered with none (both of those answered), and queries without an answer."""

    roadwork: Floats
    none: Floats
    silent: Floats


def long_run_reward(quality: Quality, prior: float = 0.5) -> Floats:
    """Mean reward in [0, 1] of an endless stream with `prior` of roadwork, out of a table.

    Silence pays nothing and is otherwise taken to leave the windows as they are.
    """
    from scipy.interpolate import RegularGridInterpolator

    places, table = _table(prior)
    wanted = np.stack([1.0 - quality.roadwork, 1.0 - quality.none], axis=-1)
    found = RegularGridInterpolator((places, places), table)(wanted)
    return np.asarray((1.0 - quality.silent) * found, np.float64)


def exact_reward(roadwork: Floats, none: Floats, prior: float = 0.5) -> Floats:
    """The same without interpolation and without silence, of every pair: (k,) and (l,) to (k, l).

    Of the last 100 pairs it sums over the number of each label and of right answers to each; how
    many of the last 10 are right then follows the hypergeometric distribution, because all orders
    are equally likely.
    """
    from scipy.stats import binom

    paid = np.zeros((len(roadwork), len(none)))
    shares = binom.pmf(np.arange(MCC_WINDOW + 1), MCC_WINDOW, prior)
    for positives in (int(one) for one in np.flatnonzero(shares > _RARE)):
        negatives = MCC_WINDOW - positives
        hits = binom.pmf(np.arange(positives + 1), positives, roadwork[:, None])
        rejections = binom.pmf(np.arange(negatives + 1), negatives, none[:, None])
        paid += shares[positives] * (hits @ _window_reward(positives) @ rejections.T)
    return paid


def _window_reward(positives: int) -> Floats:
    """Mean reward of windows with so many of roadwork, by right answers to either label."""
    negatives = MCC_WINDOW - positives
    tp = np.arange(positives + 1.0)[:, None]
    tn = np.arange(negatives + 1.0)[None, :]
    fn, fp = positives - tp, negatives - tn
    spread = (tp + fp) * positives * negatives * (tn + fn)
    mcc = np.where(spread > 0.0, (tp * tn - fp * fn) / np.sqrt(np.maximum(spread, 1.0)), 0.0)
    short = np.arange(ACCURACY_WINDOW + 1) / ACCURACY_WINDOW
    paid = (0.5 * np.maximum(mcc, 0.0)[..., None] + 0.5 * short) ** EXPONENT
    return np.asarray((paid * _short_windows()[(tp + tn).astype(np.int64)]).sum(axis=-1))


@lru_cache(maxsize=1)
def _short_windows() -> Floats:
    """Chance of each number right in the short window, by the number right in the long one."""
    from scipy.stats import hypergeom

    right = np.arange(MCC_WINDOW + 1)[:, None]
    return np.asarray(
        hypergeom.pmf(np.arange(ACCURACY_WINDOW + 1), MCC_WINDOW, right, ACCURACY_WINDOW)
    )


@lru_cache(maxsize=4)
def _table(prior: float) -> tuple[Floats, Floats]:
    return _ERRORS, exact_reward(1.0 - _ERRORS, 1.0 - _ERRORS, prior)
