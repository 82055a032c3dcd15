"""Folds that keep groups together, and row weights that correct the share of roadwork."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import FittingError
from natix_miner.fitting.votes import Floats, Votes

#: A class of frame sizes with fewer of either label is weighted together with the other sizes.
MIN_PER_CELL = 20


def groups_per_class(label: NDArray[np.int8], groups: Sequence[str]) -> dict[int, int]:
    """How many groups hold at least one query of each label."""
    return {
        one: len({group for group, said in zip(groups, label, strict=True) if said == one})
        for one in (0, 1)
    }


def folds_of(
    label: NDArray[np.int8], groups: Sequence[str], folds: int, seed: int
) -> NDArray[np.int_] | None:
    """The number of the fold that holds each query out, (n,), in [0, folds).

    Groups stay whole, and labels are spread evenly. Fewer folds are made where groups are few; None
    where not even two folds leave both labels in what remains.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    places = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    numbers = np.array([places[group] for group in groups])
    alone = len(places) == len(numbers)
    fewest = min(groups_per_class(label, groups).values())
    for count in range(min(folds, fewest), 1, -1):
        splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(
            count, shuffle=True, random_state=seed
        )
        found = np.empty(len(numbers), np.int_)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # groups of one label: nothing to do
            for fold, (_, out) in enumerate(splitter.split(numbers, label, numbers)):
                found[out] = fold
        if all(len(np.unique(label[found != fold])) == 2 for fold in range(count)):
            return found
    return None


def class_weights(label: NDArray[np.int8], prior: float) -> Floats:
    """Weights, (n,), of mean 1, that give roadwork the share `prior`; both labels must occur."""
    share = float(np.mean(label == 1))
    return np.where(label == 1, prior / share, (1.0 - prior) / (1.0 - share))


def row_weights(votes: Votes, prior: float) -> Floats:
    """As `class_weights`, within every size class that has enough of both labels.

    A journal may hold roadwork mostly on large frames; validators draw the label first. Without
    this, the bias of a size class would learn the journal's habits.
    """
    sizes = np.array([size or "" for size in votes.size_class])
    weights = class_weights(votes.label, prior)
    for size in np.unique(sizes):
        here = sizes == size
        if all(np.sum(here & (votes.label == one)) >= MIN_PER_CELL for one in (0, 1)):
            weights[here] = class_weights(votes.label[here], prior)
    return weights / weights.mean()


def check_enough(votes: Votes, *, least: int, per_class: int, groups: int) -> None:
    """Raise FittingError, saying what there is and what is needed, unless both labels are there
    often enough and in enough groups."""
    count = Counter(int(one) for one in votes.label)
    yes, none = count[1], count[0]
    told = f"{yes + none} labelled queries ({yes} roadwork, {none} none)"
    if not yes + none:
        raise FittingError(
            f"none of the {len(votes)} queries has a label: label some first (natix-miner label)"
        )
    if not yes or not none:
        raise FittingError(f"{told}: both labels are needed, label some of the other kind")
    if yes + none < least or min(yes, none) < per_class:
        raise FittingError(f"{told}: a fit needs at least {least}, with {per_class} of each label")
    labelled = votes.labelled()
    found = groups_per_class(labelled.label, labelled.groups)
    if min(found.values()) < groups:
        raise FittingError(
            f"{told} lie in too few groups (roadwork in {found[1]}, none in {found[0]}): at least "
            f"{groups} for each label are needed, or nothing can be held out"
        )
