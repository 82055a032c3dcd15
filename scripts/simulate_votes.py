"""Draws votes of correlated, partly missing, miscalibrated experts, as JSON lines.

    python scripts/simulate_votes.py --seed 1 | natix-miner fit --json

The model, for query q of label y in {-1, +1} (roadwork +1) and expert i of cluster c:

    evidence  e[q, c] = s[q] * y + 0.45 * clip[g, c] + 0.6 * shared[q, c]
    seen      x[q, i] = a[i] * e[q, c] + noise[i] * own[q, i]
    said      logit p = slope[i] * x + bias[i] (+ size[i] on large frames)

clip, shared and own are standard normal. Experts of one cluster look at the same thing (colour,
shape, words ...) and err together; clusters err apart. s is 2.3 for easy queries and 0.6 for hard
ones (a fifth). A clip g has 1 to 8 queries of one label and one clip[g, c] for each cluster, so a
random split of queries would be too kind. Slopes go from 0.5 (timid) to 3 (too sure), biases from
-1 to 3: public data of roadwork are mostly positive, and who learnt from them leans that way. Two
experts in ten see next to nothing and shout (slope 4 to 6, bias 2 to 4). A fifth of the votes is
missing, those of some experts more often where there is roadwork (a detector that times out on busy
pictures), so that silence itself tells something. Cheap experts sit in the first level (noise 1.2,
8 ms each), better and dearer ones later (1.0, 40 ms; 0.8, 900 ms); everybody is asked, so that any
cascade can be replayed.

Why fitting wins here: the mean of what the experts say is ruled by those that shout, by the largest
cluster and by biases that do not cancel; the best single expert has noise of its own and is often
missing. Calibration takes out slopes and biases, weights share out within clusters, and clusters
with errors of their own are put together. With slopes of 1 and no biases the mean would be nearly
as good.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = ("glance", "look", "study")
SHARE_OF_EXPERTS = (0.4, 0.3, 0.3)
COST_MS = (8.0, 40.0, 900.0)
NOISE = (1.2, 1.0, 0.8)
CLUSTERS = 4
EASY, HARD, SHARE_HARD = 2.3, 0.6, 0.2
LEAN = 1.0
CLIP, SHARED = 0.45, 0.6
LARGEST_CLIP = 8
SHARE_LARGE = 0.3
STARTED = 1_780_000_000.0


@dataclass(frozen=True)
class Panel:
    """The experts: level and cluster of each, what it sees and how it says it; arrays of (m,)."""

    names: tuple[str, ...]
    level: NDArray[np.int_]
    cluster: NDArray[np.int_]
    sees: Floats
    noise: Floats
    slope: Floats
    bias: Floats
    size_bias: Floats
    missing: Floats
    missing_tells: Floats


def draw_panel(rng: np.random.Generator, experts: int, missing: float) -> Panel:
    """Experts drawn at random; about two in ten of them see next to nothing."""
    bounds = np.cumsum(SHARE_OF_EXPERTS)[:-1] * experts
    level = np.searchsorted(bounds, np.arange(experts) + 0.5)
    cluster = np.arange(experts) % CLUSTERS
    sees = rng.uniform(0.8, 1.2, experts)
    slope = np.exp(rng.uniform(np.log(0.5), np.log(3.0), experts))
    bias = LEAN + rng.uniform(-2.0, 2.0, experts)
    weak = rng.choice(experts, max(1, round(experts / 5)), replace=False)
    sees[weak] = rng.uniform(0.0, 0.1, len(weak))
    slope[weak] = rng.uniform(4.0, 6.0, len(weak))
    bias[weak] = LEAN + rng.uniform(1.0, 3.0, len(weak))
    often = rng.uniform(0.5, 1.5, experts)
    return Panel(
        names=tuple(f"{LEVELS[at]}-{number}" for number, at in enumerate(level)),
        level=level,
        cluster=cluster,
        sees=sees,
        noise=np.array(NOISE)[level],
        slope=slope,
        bias=bias,
        size_bias=np.where(rng.random(experts) < 0.3, rng.uniform(0.5, 1.5, experts), 0.0),
        missing=np.clip(missing * often / often.mean(), 0.0, 1.0),
        missing_tells=np.where(rng.random(experts) < 0.3, 0.5, 0.0),
    )


def clips(rng: np.random.Generator, queries: int) -> NDArray[np.int_]:
    """The clip of each query, (n,)."""
    sizes: list[int] = []
    while sum(sizes) < queries:
        sizes.append(int(rng.integers(1, LARGEST_CLIP + 1)))
    return np.repeat(np.arange(len(sizes)), sizes)[:queries]


def simulate(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The header, then a document for each query."""
    rng = np.random.default_rng(options.seed)
    n, m = options.queries, options.experts
    panel = draw_panel(rng, m, options.missing)
    clip = clips(rng, n)
    label = (rng.random(clip.max() + 1) < options.positive)[clip]
    side = np.where(label, 1.0, -1.0)
    strength = np.where(rng.random(n) < SHARE_HARD, HARD, EASY)
    of_clip = CLIP * rng.standard_normal((clip.max() + 1, CLUSTERS))[clip]
    evidence = (strength * side)[:, None] + of_clip + SHARED * rng.standard_normal((n, CLUSTERS))
    large = rng.random(n) < SHARE_LARGE
    seen = panel.sees * evidence[:, panel.cluster] + panel.noise * rng.standard_normal((n, m))
    said = panel.slope * seen + panel.bias + large[:, None] * panel.size_bias
    probability = 1.0 / (1.0 + np.exp(-np.clip(said, -30.0, 30.0)))
    gone_often = panel.missing * (1.0 + panel.missing_tells * side[:, None])
    gone = rng.random((n, m)) < gone_often
    ms = np.array(COST_MS)[panel.level] * np.exp(0.3 * rng.standard_normal((n, m)))
    dark = rng.random(n) < 0.15
    known = rng.random(n) >= options.unlabelled
    names = panel.names
    yield {
        "levels": [
            [name, [names[i] for i in range(m) if panel.level[i] == number]]
            for number, name in enumerate(LEVELS)
            if np.any(panel.level == number)
        ]
    }
    for q in range(n):
        yield {
            "id": f"q{q:06d}",
            "label": int(label[q]) if known[q] else None,
            "group": f"clip{clip[q]:05d}",
            "opinions": {
                names[i]: None if gone[q, i] else round(float(probability[q, i]), 6)
                for i in range(m)
            },
            "ms": {names[i]: round(float(ms[q, i]), 2) for i in range(m)},
            "size_class": "large-frame" if large[q] else "frame",
            "conditions": {"frame-dark": 1.0} if dark[q] else {},
            "received_at": STARTED + 60.0 * q,
        }


def main() -> int:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--experts", type=int, default=10)
    parser.add_argument("--missing", type=float, default=0.2, help="mean share of missing votes")
    parser.add_argument("--positive", type=float, default=0.5, help="share of clips with roadwork")
    parser.add_argument("--unlabelled", type=float, default=0.0, help="share without a label")
    options = parser.parse_args()
    if options.queries < 1 or options.experts < 1:
        parser.error("--queries and --experts must be at least 1")
    if not all(0.0 <= share <= 1.0 for share in (options.missing, options.positive)):
        parser.error("--missing and --positive are shares in [0, 1]")
    if not 0.0 <= options.unlabelled <= 1.0:
        parser.error("--unlabelled is a share in [0, 1]")
    try:
        for document in simulate(options):
            sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has had enough; Python would complain once more when it closes stdout.
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
