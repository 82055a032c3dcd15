"""The demo from end to end: start, ask, stop, score, report."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natix_miner.cascade import NO_ANSWER, Verdict
from natix_miner.demo.processes import MinerProcess, run_validator
from natix_miner.demo.validator import SampleQuery, sample_queries
from natix_miner.demo.wallets import MINER, VALIDATOR, make_snapshot, make_wallet
from natix_miner.journal import Journal
from natix_miner.profile import Profile, load_profile
from natix_miner.query import Query
from natix_miner.scoring import ScoredQuery, row_of, summarise
from natix_miner.scoring.gallery import thumbnail
from natix_miner.scoring.report import write_report

QUERIES = Path(__file__).parent / "queries"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """`rows` in the order of arrival at the miner, `seconds` as the validator measured each one,
    `summary` as written to summary.json."""

    rows: list[ScoredQuery]
    seconds: list[float]
    summary: dict[str, Any]
    report: Path


def run_demo(profile_path: Path, out: Path) -> DemoResult:
    """Run everything; writes summary.json, report.html and the logs of both processes to `out`."""
    profile = load_profile(profile_path)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    miner_wallet = make_wallet(out / "wallets", MINER)
    validator_wallet = make_wallet(out / "wallets", VALIDATOR)
    hotkey = miner_wallet.hotkey.ss58_address
    make_snapshot(out / "chain.json", hotkey, validator_wallet.hotkey.ss58_address)
    with MinerProcess(profile_path, out) as miner:
        lines = run_validator(out, hotkey, miner.port, QUERIES)
    answers = {line["file"]: line for line in map(json.loads, lines)}
    rows, seconds = _rows(answers, out / "journal.sqlite3")
    figures = summarise(rows, settings={"profile": profile.name, "queries": "bundled"})
    told = figures.as_dict()
    given = [row.prediction for row in rows if row.answered]
    summary = {
        "queries": len(rows),
        "answered": told["answered"],
        "late": sum(row.late for row in rows),
        "reward_mean": told["reward"]["mean"],
        "mcc": told["mcc"],
        "accuracy": told["accuracy"],
        "auc": told["auc"],
        "latency_ms": _latency(seconds),
        "prediction_min": min(given, default=None),
        "prediction_max": max(given, default=None),
        "levels": told["levels"],
        "children_left": miner.children_left,
        "exit_code": miner.exit_code,
        "start_seconds": round(miner.start_seconds, 3),
        "expert_ms_per_query": told["expert_ms_per_query"],
        "missing": told["missing"],
        "experts": _experts(rows, profile),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    report = write_report(
        out / "report.html",
        rows,
        figures,
        title="Demo",
        subtitle=f"{len(rows)} drawn sample queries through a real axon, profile {profile.name}",
        deadline_ms=profile.deadline_seconds * 1000.0,
    )
    return DemoResult(rows=rows, seconds=seconds, summary=summary, report=report)


def _rows(answers: dict[str, Any], journal_path: Path) -> tuple[list[ScoredQuery], list[float]]:
    """What the validator was told, joined with the traces of the miner's journal by digest."""
    journal = Journal(journal_path)
    try:
        entries = {entry.sha256: entry for entry in journal.entries()}
    finally:
        journal.close()
    rows, seconds = [], []
    for position, sample in enumerate(sample_queries(QUERIES)):
        picture = (QUERIES / sample.file).read_bytes()
        told = answers.get(sample.file, {"prediction": NO_ANSWER, "seconds": 0.0})
        query = Query.of(picture, source="demo", label=sample.label)
        entry = entries.get(query.sha256)
        if entry is None:
            row = _unseen(sample, position, str(told.get("message", "not asked")))
        else:
            trace = entry.read_trace()
            probability = None if told["prediction"] < 0 else float(told["prediction"])
            row = row_of(
                Verdict(query=query, probability=probability, trace=trace),
                name=sample.file,
                label=sample.label,
                group=sample.generation,
                generation=sample.generation,
                position=position,
            )
        rows.append(dataclasses.replace(row, thumbnail=thumbnail(picture)))
        seconds.append(float(told["seconds"]))
    return rows, seconds


def _unseen(sample: SampleQuery, position: int, message: str) -> ScoredQuery:
    """A query that never reached the miner's judge."""
    return ScoredQuery(
        name=sample.file,
        label=sample.label,
        prediction=NO_ANSWER,
        level=None,
        reason=message,
        total_ms=0.0,
        group=sample.generation,
        generation=sample.generation,
        position=position,
    )


def _experts(rows: list[ScoredQuery], profile: Profile) -> dict[str, dict[str, float | None]]:
    """Of each expert: how many queries it was asked, answered, and the share it would have decided
    rightly by itself (after calibration)."""
    told = {}
    for name in sorted(profile.expert_names()):
        asked = [row for row in rows if name in row.votes]
        votes = [(row.votes[name], row.label) for row in asked]
        right = [(vote > 0.5) == bool(label) for vote, label in votes if isinstance(vote, float)]
        told[name] = {
            "asked": len(asked),
            "answered": len(right),
            "accuracy": round(sum(right) / len(right), 4) if right else None,
        }
    return told


def _latency(seconds: list[float]) -> dict[str, float]:
    import numpy as np

    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return {"p50": round(float(p50) * 1000.0, 2), "p99": round(float(p99) * 1000.0, 2)}
