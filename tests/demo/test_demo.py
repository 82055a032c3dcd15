"""The demo from end to end: real miner process, real signed dendrite in another, real journal."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from natix_miner.demo.demo import QUERIES, run_demo
from natix_miner.journal import Journal

EMBEDDED = Path(__file__).parents[2] / "configs" / "embedded.yaml"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run_demo(EMBEDDED, tmp_path_factory.mktemp("demo") / "out")


def test_the_bundle_holds_both_labels_in_all_three_generations():
    with (QUERIES / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 60
    counts = Counter((row["generation"], row["label"]) for row in rows)
    assert set(counts) == {
        (generation, label)
        for generation in ("cropped", "letterboxed", "full-frame")
        for label in ("roadwork", "none")
    }
    assert min(counts.values()) >= 8


def test_every_query_is_answered_in_time_and_nothing_is_left(result):
    summary = result.summary
    assert summary["queries"] == summary["answered"] >= 60
    assert (summary["late"], summary["children_left"], summary["exit_code"]) == (0, 0, 0)
    assert 0.001 <= summary["prediction_min"] < summary["prediction_max"] <= 0.999
    assert sum(summary["levels"].values()) == pytest.approx(1.0)


def test_the_answers_are_those_of_a_judge_that_sees_something(result):
    assert result.summary["auc"] > 0.7, "drawn pictures must be told apart better than by chance"


def test_summary_and_report_are_written(result):
    folder = result.report.parent
    written = json.loads((folder / "summary.json").read_text())
    wanted = {
        "queries",
        "answered",
        "late",
        "reward_mean",
        "mcc",
        "accuracy",
        "auc",
        "latency_ms",
        "prediction_min",
        "prediction_max",
        "levels",
        "children_left",
    }
    assert wanted <= set(written)
    assert set(written["latency_ms"]) == {"p50", "p99"}
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "data:image/jpeg;base64" in page


def test_the_journal_holds_every_query_with_the_answer_that_went_out(result):
    journal = Journal(result.report.parent / "journal.sqlite3")
    predictions = sorted(entry.prediction for entry in journal.entries())
    journal.close()
    assert predictions == pytest.approx(sorted(row.prediction for row in result.rows))


def test_no_secret_and_no_picture_is_in_any_log(result):
    folder = result.report.parent
    key = json.loads((folder / "wallets" / "demo-miner" / "hotkeys" / "default").read_text())
    text = "".join((folder / name).read_text() for name in ("miner.log", "miner.jsonl"))
    assert "/9j/" not in text, "base64 of a JPEG"
    for field in ("secretSeed", "secretPhrase", "privateKey"):
        secret = str(key.get(field, "")).removeprefix("0x")
        assert not secret or secret not in text
