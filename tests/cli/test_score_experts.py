"""What the report is told of the experts, from rows of voters whose dependence is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from natix_miner.cascade.trace import (
    Answer,
    ExpertTrace,
    LevelTrace,
    PictureTrace,
    QueryTrace,
    Trace,
)
from natix_miner.cli.score_experts import expert_panel
from natix_miner.errors import QuerySourceError
from natix_miner.log_odds import expit
from natix_miner.scoring import ScoredQuery

PICTURE = PictureTrace(
    format="JPEG",
    original_width=224,
    original_height=224,
    width=224,
    height=224,
    size_class="validator-square",
    padding_share=0.0,
    black_corner_share=0.0,
    tilt_degrees=0.0,
    brightness=0.5,
    sharpness=0.1,
    dark=False,
    blurred=False,
)


def row(position: int, label: int | None, votes: dict[str, float], group: str = "") -> ScoredQuery:
    experts = tuple(
        ExpertTrace(
            name=name,
            status="ok",
            probability=expit(vote),
            calibrated=expit(vote),
            log_odds=vote,
            weight=1.0,
            ms=5.0,
            detail="",
            evidence=(),
        )
        for name, vote in votes.items()
    )
    log_odds = sum(votes.values())
    level = LevelTrace(
        name="a",
        entered=True,
        why="always entered",
        experts=experts,
        log_odds=log_odds,
        probability=expit(log_odds),
        disagreement=None,
        ms=5.0,
    )
    trace = Trace(
        query=QueryTrace(
            id=f"0-{position}",
            sha256=f"{position:064x}",
            source="file:x",
            asked_by=None,
            received_at=1.0,
            bytes=1,
            deadline_ms=7000.0,
        ),
        picture=PICTURE,
        levels=(level,),
        answer=Answer(prediction=expit(log_odds), reason="all-levels", level="a"),
        stages_ms={"total": 6.0},
        versions={},
    )
    return ScoredQuery(
        name=f"picture-{position}",
        label=label,
        prediction=expit(log_odds),
        level="a",
        reason="all-levels",
        total_ms=6.0,
        group=group,
        position=position,
        trace=trace.model_dump_json(),
    )


def some_rows(n: int = 240, seed: int = 0, group: str = "drive-{}") -> list[ScoredQuery]:
    """Two that err together, a third on its own, and one that only guesses."""
    rng = np.random.default_rng(seed)
    rows = []
    for position in range(n):
        label = position % 2
        truth, shared = 2.0 * label - 1.0, rng.normal()
        votes = {
            "twin": truth + 1.2 * shared + 0.3 * rng.normal(),
            "other-twin": truth + 1.2 * shared + 0.3 * rng.normal(),
            "alone": 1.5 * truth + rng.normal(),
            "guess": rng.normal(),
        }
        rows.append(row(position, label, votes, group.format(position // 4)))
    return rows


def test_who_errs_together_is_told_and_who_adds_something():
    panel = expert_panel(some_rows(), seed=0)
    figures = panel.figures
    assert list(figures) == ["twin", "other-twin", "alone", "guess"]
    # Of the three others one is its twin (correlation 1.44 / 1.53), two are independent.
    assert figures["twin"].correlation == pytest.approx(1.44 / 1.53 / 3, abs=0.1)
    assert figures["guess"].correlation == pytest.approx(0.0, abs=0.1)
    assert figures["alone"].adds > 0.05
    assert figures["alone"].adds_low <= figures["alone"].adds <= figures["alone"].adds_high
    assert abs(figures["guess"].adds) < 0.02
    assert panel.effective_votes is not None
    assert 2.0 < panel.effective_votes < 4.0
    assert not any("look-alikes" in remark for remark in panel.remarks)


def test_without_groups_it_says_what_that_means():
    panel = expert_panel(some_rows(group=""), seed=0)
    assert panel.figures["alone"].adds is not None
    assert any("look-alikes" in remark for remark in panel.remarks)


def test_what_cannot_be_told_is_left_out_and_why_is_said():
    few = expert_panel(some_rows(4), seed=0)
    assert all(one.adds is None for one in few.figures.values())
    assert any("cannot be told" in remark for remark in few.remarks)
    nobody = expert_panel([ScoredQuery("x", 1, -1.0, None, "not-a-picture", 0.0)], seed=0)
    assert nobody.figures == {}
    assert len(nobody.remarks) == 1
    unlabelled = expert_panel([row(0, None, {"x": 1.0})], seed=0)
    assert unlabelled.figures == {}


def test_a_single_expert_has_nobody_to_agree_with():
    rows = [row(n, n % 2, {"x": 2.0 * (n % 2) - 1.0}) for n in range(40)]
    panel = expert_panel(rows, seed=0)
    assert (panel.figures, panel.remarks) == ({}, ())


def test_a_broken_trace_is_told():
    broken = dataclasses.replace(some_rows(1)[0], trace="{}")
    with pytest.raises(QuerySourceError, match="cannot be read"):
        expert_panel([broken], seed=0)
