"""The soak itself: what hangs or raises is cut off and told, every row has its turn."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults import soak as soak_module
from tests.faults.frame import FaultRow, Outcome, Scale
from tests.faults.one_row import Run, run_apart
from tests.faults.soak_table import sums


def test_a_row_that_hangs_is_cut_off_and_told():
    begun = time.monotonic()
    run = run_apart("keep-alive-race", Scale(), 0.4)
    assert run.broken == ("gave no figures: cut off after 0 s",)
    assert run.figures == {}
    assert time.monotonic() - begun < 10.0


def test_a_row_that_raises_is_told():
    run = run_apart("no such row", Scale(), 60.0)
    assert run.broken == ("raised KeyError: 'no such row'",)


class SlowTime:
    """Stands for the module time: goes on by what each run takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def soaked(monkeypatch: pytest.MonkeyPatch):
    """A soak of rows that take as long as they are told to, in a time of its own."""
    clock = SlowTime()
    monkeypatch.setattr(soak_module, "time", clock)

    def soak(minutes: float, seconds: dict[str, float]) -> list[tuple[str, Scale]]:
        asked: list[tuple[str, Scale]] = []

        def run_double(name: str, scale: Scale, limit: float) -> Run:
            asked.append((name, scale))
            took = min(seconds[name], limit)
            clock.now += took
            return Run(name, scale.factor, took)

        async def never(scale: Scale, folder: Path) -> Outcome:
            raise AssertionError("rows run in processes of their own")

        monkeypatch.setattr(soak_module, "run_apart", run_double)
        rows = {name: FaultRow(name, "", never) for name in seconds}
        told = [run.row for run in soak_module.soak(rows, minutes)]
        assert told[: len(asked)] == [name for name, _ in asked]
        return asked

    soak.clock = clock
    return soak


def test_all_rows_run_once_then_the_small_ones_in_turn_with_other_seeds(soaked):
    asked = soaked(20.0, {"small": 30.0, "queries-in-a-row": 600.0, "tiny": 10.0})
    assert [name for name, _ in asked[:5]] == ["small", "tiny", "queries-in-a-row", "small", "tiny"]
    assert asked[2][1].factor == 70.0
    assert asked[2][1].until == pytest.approx(1200.0)  # nobody else wants of what is left
    seeds = [scale.seed for name, scale in asked if name == "small"]
    assert len(set(seeds)) == len(seeds) > 5
    assert 1100.0 < soaked.clock.now <= 1200.0


def test_a_short_time_means_small_sizes(soaked):
    asked = dict(soaked(2.0, {"small": 5.0, "queries-in-a-row": 40.0}))
    assert asked["queries-in-a-row"].factor == pytest.approx(0.7)
    assert asked["small"].factor == 1.0


def test_rows_that_hang_do_not_keep_the_soak(soaked):
    endless = float("inf")
    soaked(5.0, {"one": endless, "two": endless, "mutated-jpegs": endless, "three": endless})
    assert soaked.clock.now <= 5.0 * 60.0 + soak_module.GRACE_SECONDS


def test_the_sums_are_those_of_all_runs():
    runs = [
        Run("a", 1.0, 30.0, {"late": 1, "cascade_growth_percent": 0.4}),
        Run("a", 1.0, 30.0, {"late": 2}, ("late answers",)),
        Run("b", 1.0, 30.0, {"double_files_more": 0}),
    ]
    assert sums(runs, 90.0) == [
        "3 runs in 1.5 minutes, 1 broke",
        "late answers in all: 3",
        "growth of resident memory after the warm-up: cascade 0.4 (percent)",
        "more open files at the end than after the warm-up: double 0",
    ]
