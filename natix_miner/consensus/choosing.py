"""Which of the weight sets in a fitted file is used for the opinions at hand."""

from __future__ import annotations

from natix_miner.consensus.fitted import Pool


def choose_pool(pools: tuple[Pool, ...], present: frozenset[str], asked: frozenset[str]) -> Pool:
    """The weight set for the experts that voted (`present`) and all that were `asked`.

    The one that names just the voters; without one, that which names just those that were asked;
    without one, that which covers most of the voters, and of those the one that names fewest
    others; the first of several. Experts that no set names are left out of account: they have no
    weight, or never vote and only tell conditions.
    """
    known = frozenset(name for pool in pools for name in pool.weights)
    present, asked = present & known, asked & known
    for wanted in (present, asked):
        for pool in pools:
            if pool.weights.keys() == wanted:
                return pool

    def fit(pool: Pool) -> tuple[int, int]:
        named = pool.weights.keys()
        return len(named & present), -len(named - present)

    return max(pools, key=fit)
