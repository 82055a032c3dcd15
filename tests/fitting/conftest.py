"""Votes to fit on: from the real simulator, or put together by hand."""

from __future__ import annotations

import importlib.util
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from natix_miner.fitting.lines import votes_from_lines
from natix_miner.fitting.votes import Votes

ROOT = Path(__file__).parents[2]


@cache
def _simulator() -> ModuleType:
    path = ROOT / "scripts" / "simulate_votes.py"
    spec = importlib.util.spec_from_file_location("simulate_votes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_votes"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@cache
def _simulated(
    seed: int, queries: int, experts: int, missing: float, positive: float, unlabelled: float
) -> Votes:
    options = Namespace(
        seed=seed,
        queries=queries,
        experts=experts,
        missing=missing,
        positive=positive,
        unlabelled=unlabelled,
    )
    return votes_from_lines(json.dumps(line) for line in _simulator().simulate(options))


@pytest.fixture(scope="session")
def simulated() -> Callable[..., Votes]:
    """Votes of the simulator; the same arguments give the same votes, made once."""

    def make(
        seed: int = 1,
        queries: int = 400,
        experts: int = 6,
        missing: float = 0.2,
        positive: float = 0.5,
        unlabelled: float = 0.0,
    ) -> Votes:
        return _simulated(seed, queries, experts, missing, positive, unlabelled)

    return make


@pytest.fixture(scope="session")
def votes_by_hand() -> Callable[..., Votes]:
    """Votes from columns of probabilities by expert (NaN: missing) and labels; a level each."""

    def make(
        columns: dict[str, Sequence[float]],
        label: Sequence[int],
        *,
        levels: tuple[tuple[str, tuple[str, ...]], ...] | None = None,
        groups: Sequence[str] | None = None,
        size_class: Sequence[str | None] | None = None,
        conditions: dict[str, Sequence[float]] | None = None,
    ) -> Votes:
        n = len(label)
        levels = levels or (("all", tuple(columns)),)
        names = [name for _, experts in levels for name in experts]
        probability = np.array([np.asarray(columns[name], float) for name in names]).T
        return Votes(
            ids=tuple(f"q{number}" for number in range(n)),
            levels=levels,
            probability=probability,
            asked=np.ones(probability.shape, bool),
            trust=np.ones(probability.shape),
            ms=np.ones(probability.shape),
            label=np.array(label, np.int8),
            groups=tuple(groups or (f"g{number}" for number in range(n))),
            size_class=tuple(size_class or (None,) * n),
            conditions={
                name: np.asarray(values, float) for name, values in (conditions or {}).items()
            },
            generation=("",) * n,
            prediction=np.full(n, np.nan),
            total_ms=np.full(n, np.nan),
            received_at=np.full(n, np.nan),
            left_out={},
        )

    return make
