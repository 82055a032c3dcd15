"""Rows with traces made by hand, and the report of a real run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from natix_miner.scoring import ScoredQuery

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Scored:
    """A folder that `natix-miner score --report` has written."""

    folder: Path
    summary: dict[str, Any]

    @property
    def page(self) -> Path:
        return self.folder / "report.html"


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """Bundled queries through the embedded judge, by the real command."""
    from typer.testing import CliRunner

    from natix_miner.cli.app import app

    folder = tmp_path_factory.mktemp("scored")
    told = CliRunner().invoke(
        app,
        [
            "score",
            *("--queries", str(ROOT / "natix_miner" / "demo" / "queries")),
            *("--profile", str(ROOT / "configs" / "embedded.yaml")),
            *("--limit", "24", "--seed", "3", "--report", str(folder), "--json"),
        ],
    )
    assert told.exit_code == 0, told.output
    return Scored(folder, json.loads((folder / "summary.json").read_text()))


@pytest.fixture
def make_row() -> Callable[..., ScoredQuery]:
    """A row with a trace: `levels` are (name, log-odds after it or None for not entered,
    {expert: (log-odds of its vote or a status, ms)})."""

    def make(
        position: int,
        label: int | None,
        prediction: float,
        levels: list[tuple[str, float | None, dict[str, tuple[float | str, float]]]],
        picture: dict[str, Any] | None = None,
        conditions: dict[str, float] | None = None,
        **more: Any,
    ) -> ScoredQuery:
        from natix_miner.cascade.trace import (
            Answer,
            ExpertTrace,
            LevelTrace,
            PictureTrace,
            QueryTrace,
            Trace,
        )
        from natix_miner.log_odds import expit

        votes: dict[str, float | str] = {}
        times: dict[str, float] = {}
        traced, last, pooled = [], None, None
        for name, log_odds, said in levels:
            experts = []
            for expert, (vote, ms) in said.items():
                usable = not isinstance(vote, str)
                probability = expit(vote) if usable else None
                votes[expert] = probability if usable else vote
                times[expert] = ms
                experts.append(
                    ExpertTrace(
                        name=expert,
                        status="ok" if usable else vote,
                        probability=probability,
                        calibrated=probability,
                        log_odds=vote if usable else None,
                        weight=0.5 if usable else 0.0,
                        ms=ms,
                        detail="" if usable else "<b>why</b>",
                        evidence=(),
                        conditions=conditions or {},
                    )
                )
            entered = bool(said)
            last = name if entered else last
            pooled = log_odds if entered else pooled
            traced.append(
                LevelTrace(
                    name=name,
                    entered=entered,
                    why="always entered" if entered else "sure enough",
                    experts=tuple(experts),
                    log_odds=pooled,
                    probability=None if pooled is None else expit(pooled),
                    disagreement=None,
                    ms=max((ms for _, ms in said.values()), default=0.0),
                )
            )
        seen = {
            "format": "JPEG",
            "original_width": 224,
            "original_height": 224,
            "width": 224,
            "height": 224,
            "size_class": "validator-square",
            "padding_share": 0.0,
            "black_corner_share": 0.0,
            "tilt_degrees": 0.0,
            "brightness": 0.5,
            "sharpness": 0.1,
            "dark": False,
            "blurred": False,
            **(picture or {}),
        }
        total = sum(level.ms for level in traced)
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
            picture=PictureTrace(**seen),
            levels=tuple(traced),
            answer=Answer(prediction=prediction, reason="sure", level=last),
            stages_ms={"waiting": 1.0, "decode": 2.0, "judge": total, "total": total + 3.0},
            versions={},
        )
        row = ScoredQuery(
            name=f"picture-{position}",
            label=label,
            prediction=prediction,
            level=last,
            reason="sure",
            total_ms=total + 3.0,
            size_class=seen["size_class"],
            votes=votes,
            expert_ms=times,
            position=position,
            trace=trace.model_dump_json(),
        )
        return replace(row, **more)

    return make
