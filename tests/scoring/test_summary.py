"""The printed figures, from rows whose figures are known."""

from __future__ import annotations

import json

import pytest

from natix_miner.scoring import ScoredQuery, summarise


def row(prediction: float, label: int | None, **more: object) -> ScoredQuery:
    values = {
        "name": "x",
        "label": label,
        "prediction": prediction,
        "level": "glance",
        "reason": "sure",
        "total_ms": 10.0,
        **more,
    }
    return ScoredQuery(**values)


def test_the_whole_document():
    rows = [
        row(0.9, 1, expert_ms={"network": 4.0}),
        row(0.2, 0, expert_ms={"network": 2.0, "closer": 6.0}, level="closer", total_ms=30.0),
        row(-1.0, 1, level=None, reason="deadline (still decoding)", late=True, total_ms=7100.0),
        row(0.7, None, expert_ms={"network": 2.0}),
    ]
    found = summarise(rows, settings={"profile": "x"}, rate_per_second=12.5).as_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["n"], found["labelled"], found["answered"], found["late"]) == (4, 3, 3, 1)
    assert found["missing"] == {"deadline": 1}
    assert found["confusion"] == {"tp": 1, "fp": 0, "tn": 1, "fn": 0}
    assert (found["mcc"], found["accuracy"], found["auc"]) == (1.0, 1.0, 1.0)
    assert found["brier"] == pytest.approx((0.01 + 0.04) / 2)
    assert found["reward"]["mean"] == pytest.approx((0.125 + 1.0 + 0.0) / 3)
    assert found["reward"]["windows"] == [100, 10]
    assert found["levels"] == {"glance": 0.5, "closer": 0.25, "no level": 0.25}
    assert found["expert_ms_per_query"] == {"closer": 1.5, "network": 2.0}
    assert found["latency_ms"]["p50"] == 20.0
    assert found["rate_per_second"] == 12.5
    assert found["settings"] == {"profile": "x"}
    assert set(found["intervals"]) == {"mcc", "accuracy", "auc"}


@pytest.mark.parametrize("rows", [[], [row(0.7, None)], [row(-1.0, 1, reason="deadline")]])
def test_without_labels_or_answers_figures_are_null(rows):
    found = summarise(rows).as_dict()
    json.dumps(found, allow_nan=False)
    assert found["mcc"] is None
    assert found["n"] == len(rows)


def test_of_one_label_only_what_it_allows():
    found = summarise([row(0.8, 1), row(0.4, 1)]).as_dict()
    assert (found["accuracy"], found["mcc"], found["auc"]) == (0.5, None, None)
    assert found["intervals"] == {}
