"""The expert table and the times, from rows whose figures are known."""

from __future__ import annotations

import pytest
from sklearn.metrics import roc_auc_score

from natix_miner.log_odds import expit
from natix_miner.scoring import summarise
from natix_miner.scoring.report import ExpertFigures, ExpertPanel
from natix_miner.scoring.report.facts import facts_of
from natix_miner.scoring.report.tables import expert_lines, tiles, time_lines


def some_rows(make_row):
    said = [(1, 2.0, "timed-out"), (0, 1.0, -1.0), (1, 0.5, 0.5), (0, -2.0, "timed-out")]
    return [
        make_row(
            n,
            label,
            expit(x),
            [("a", x, {"x": (x, 4.0 + n)}), ("b", x, {"y": (y, 40.0)})],
        )
        for n, (label, x, y) in enumerate(said)
    ]


def test_every_expert_is_told_in_the_order_of_the_cascade(make_row):
    rows = some_rows(make_row)
    x, y = expert_lines(facts_of(rows), ExpertPanel())
    assert (x.name, x.level, x.asked, x.missing, x.reasons) == ("x", "a", 4, 0, "")
    assert x.ms == pytest.approx(5.5)
    assert x.auc == pytest.approx(roc_auc_score([1, 0, 1, 0], [2.0, 1.0, 0.5, -2.0]))
    assert (y.name, y.level, y.asked, y.missing, y.reasons) == ("y", "b", 4, 2, "timed-out 2")
    assert y.auc == 1.0


def test_the_weight_is_that_of_the_traces_unless_a_fit_tells_another(make_row):
    facts = facts_of(some_rows(make_row))
    x, y = expert_lines(facts, ExpertPanel())
    assert (x.figures, y.figures) == (ExpertFigures(weight=0.5), ExpertFigures(weight=0.5))
    told = ExpertFigures(weight=0.8, correlation=0.3, adds=0.02, adds_low=-0.01, adds_high=0.05)
    panel = ExpertPanel({"x": told, "y": ExpertFigures(correlation=0.3)})
    x, y = expert_lines(facts, panel)
    assert x.figures == told
    assert y.figures == ExpertFigures(weight=0.5, correlation=0.3)


def test_times_are_told_by_stage_and_against_the_deadline(make_row):
    rows = some_rows(make_row)
    lines = time_lines(facts_of(rows), 7000.0)
    assert [line.name for line in lines] == [
        "waiting for the judge", "decoding", "the levels", "arrival to verdict",
    ]  # fmt: skip
    levels, whole = lines[2:]
    assert (levels.p50, levels.most) == (45.5, 47.0)
    assert whole.most == 50.0
    assert whole.share == pytest.approx(whole.p99 / 7000.0)
    assert time_lines(facts_of(rows), None)[0].share is None
    assert time_lines([], 7000.0) == []


def test_headline_figures_are_those_of_the_summary(make_row):
    summary = summarise(some_rows(make_row), rate_per_second=3.21)
    shown = {tile.name: tile for tile in tiles(summary, 7000.0)}
    assert summary.reward is not None
    assert shown["mean reward"].value == f"{summary.reward.mean:.3f}"
    assert shown["MCC"].value == f"{summary.quality.mcc:.3f}"
    assert shown["answered"].value == "100 %"
    assert shown["late"].note == "deadline 7 s"
    assert shown["rate"].value == "3.2 /s"
    assert not any(tile.alarm for tile in shown.values())
