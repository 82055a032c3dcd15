"""`natix-miner fit` from the outside: documents, files, exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from natix_miner.cascade import Verdict
from natix_miner.cascade.trace import (
    Answer,
    ExpertTrace,
    LevelTrace,
    PictureTrace,
    QueryTrace,
    Trace,
)
from natix_miner.cli import app
from natix_miner.consensus import load_fitted
from natix_miner.journal import Journal, JournalWriter, export_parquet
from natix_miner.query import Query
from natix_miner.scoring import ResultsFile, row_of
from natix_miner.sections import JournalSettings

ROOT = Path(__file__).parents[2]
SIMULATOR = ROOT / "scripts" / "simulate_votes.py"
POOLS = ["stacking", "log_odds", "hand_weights", "geometric_mean", "majority", "best_single"]
QUICK = ("--folds", "2")


def fit(*arguments: object, given: str | None = None):
    return CliRunner().invoke(app, ["fit", *map(str, arguments)], input=given)


@pytest.fixture(scope="module")
def lines() -> str:
    command = [sys.executable, str(SIMULATOR), "--seed", "2", "--queries", "200", "--experts", "4"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def told(lines, tmp_path_factory):
    """One fit with everything, shared by the tests that look at its parts."""
    out = tmp_path_factory.mktemp("fit") / "new" / "fitted.json"
    return fit("--json", "--out", out, *QUICK, given=lines), out


def test_the_must_show_of_lines_through_a_pipe():
    command = f"{sys.executable} {SIMULATOR} --seed 1 | {sys.executable} -m natix_miner fit --json"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    pools = document["pools"]
    assert document["n"] == 2000
    assert list(pools) == POOLS
    for other in ("hand_weights", "best_single"):
        assert pools["stacking"]["mcc"] > pools[other]["mcc"] + 0.05
    assert pools["stacking"]["ece"] <= 0.03
    assert 1.0 < document["effective_votes"] < 10.0


def test_json_is_one_document_with_all_that_is_promised(told):
    done, _ = told
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert {"n", "labelled", "effective_votes", "chosen", "why", "pools"} <= document.keys()
    assert {"decision_shift", "remarks", "seconds"} <= document.keys()
    assert list(document["pools"]) == POOLS
    for figures in document["pools"].values():
        assert {"mcc", "reward", "auc", "log_loss", "ece", "intervals"} <= figures.keys()
        assert set(figures["intervals"]) == {"mcc", "reward", "auc", "log_loss", "ece"}


def test_the_file_holds_what_was_chosen(told, lines):
    done, out = told
    fitted = load_fitted(out)
    assert fitted.method == json.loads(done.stdout)["chosen"]
    assert fitted.fitted_on["sources"] == ["-"]
    assert [path.name for path in out.parent.iterdir()] == ["fitted.json"], "nothing half is left"


def test_people_get_tables(lines):
    done = fit(*QUICK, given=lines)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("pool\treward\tmcc\tauc\tlog loss\tece\n")
    for word in (
        "effective votes\t",
        "decision shift\t",
        "chosen\t",
        "why\t",
        "glance-0\tglance\t",
    ):
        assert word in done.stdout


def test_the_same_from_a_file_of_lines(lines, told, tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_text(lines)
    done = fit(path, "--json", *QUICK)
    mine, theirs = json.loads(done.stdout), json.loads(told[0].stdout)
    assert mine["pools"] == theirs["pools"]


def test_a_pool_can_be_forced_and_weights_kept_from_turning(lines, tmp_path):
    out = tmp_path / "fitted.json"
    done = fit("--pool", "stacking", "--non-negative", "--out", out, "--json", *QUICK, given=lines)
    assert json.loads(done.stdout)["why"].startswith("stacking, as asked for")
    assert all(weight >= 0.0 for pool in load_fitted(out).pools for weight in pool.weights.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "not one line with a query"),
        ("nonsense\n", "line 1 of the votes is not JSON"),
        ('{"id": "1", "label": 1, "opinions": {"a": 0.5}}\n', "1 labelled queries"),
        ('{"id": "1", "opinions": {"a": 0.5}}\n', "none of the 1 queries has a label"),
    ],
)
def test_a_failure_is_one_line_and_leaves_the_file_alone(given, message, tmp_path):
    out = tmp_path / "fitted.json"
    out.write_text("what was there")
    done = fit("--out", out, given=given)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert out.read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["fitted.json"]


def test_a_file_that_cannot_be_written_is_said(lines, tmp_path):
    (tmp_path / "taken").mkdir()
    done = fit("--out", tmp_path / "taken", *QUICK, given=lines)
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


def test_the_profile_says_which_experts_there_are(lines):
    done = fit("--profile", ROOT / "configs" / "embedded.yaml", given=lines)
    assert done.exit_code == 2
    assert "not one expert of the profile has votes" in done.stderr


# Real stored queries: opinions as the miner's journal keeps them.


def _trace(query: Query, said: dict[str, float | None]) -> Trace:
    experts = tuple(
        ExpertTrace(
            name=name,
            status="ok" if value is not None else "timed-out",
            probability=value,
            calibrated=value,
            log_odds=None,
            weight=0.5,
            ms=5.0,
            detail="",
            evidence=(),
        )
        for name, value in said.items()
    )
    level = LevelTrace(
        name="glance",
        entered=True,
        why="",
        experts=experts,
        log_odds=0.0,
        probability=0.5,
        disagreement=0.0,
        ms=5.0,
    )
    return Trace(
        query=QueryTrace.of(query),
        picture=PictureTrace(
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
            sharpness=0.5,
            dark=False,
            blurred=False,
        ),
        levels=(level,),
        answer=Answer(prediction=0.6, reason="all-levels", level="glance"),
        stages_ms={"total": 10.0},
        versions={"experts": dict.fromkeys(said, "1")},
    )


def _picture(number: int) -> bytes:
    """Squares of chance: no two look alike."""
    squares = np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(squares).resize((224, 224), Image.Resampling.NEAREST).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    """Ninety queries, eighty of them labelled, a quarter without a vote of `weak`."""
    rng = np.random.default_rng(4)
    made = []
    for number in range(90):
        side = 1.0 if number % 2 else -1.0
        good, weak = 1.0 / (1.0 + np.exp(-(side * np.array([3.0, 0.5]) + rng.normal(0, 1, 2))))
        query = Query.of(
            _picture(number),
            source="axon",
            query_id=f"{number:032x}",
            label=number % 2 if number < 80 else None,
        )
        said = {"good": float(good), "weak": None if number % 4 == 0 else float(weak)}
        made.append(Verdict(query, 0.6, _trace(query, said)))
    return made


def _journal(path: Path, verdicts: list[Verdict], *, keep_pictures: bool) -> Path:
    settings = JournalSettings(path=path, keep_days=1e6, keep_pictures=keep_pictures)
    with JournalWriter(settings) as writer:
        assert all(writer.record(verdict) for verdict in verdicts)
    return path


def test_a_journal_and_its_export_give_the_same_fit(verdicts, tmp_path):
    journal = _journal(tmp_path / "journal.sqlite3", verdicts, keep_pictures=True)
    with Journal(journal) as opened:
        export_parquet(opened, tmp_path / "export.parquet")
    found = []
    for source in (journal, tmp_path / "export.parquet"):
        out = tmp_path / "fitted.json"
        done = fit(source, "--json", "--out", out)
        assert done.exit_code == 0, done.stderr
        document = json.loads(done.stdout)
        assert (document["n"], document["labelled"]) == (90, 80)
        assert document["pools"]["best_single"]["mcc"] > 0.9
        fitted = load_fitted(out)
        assert fitted.expected["weak"].n == 90, "what to expect is told of unlabelled ones too"
        assert fitted.expected["weak"].missing == pytest.approx(23 / 90)
        found.append(document["pools"])
    assert found[0] == found[1]


def test_several_journals_are_fitted_together(verdicts, tmp_path):
    parts = [verdicts[:50], verdicts[50:]]
    halves = [
        _journal(tmp_path / f"{number}.sqlite3", part, keep_pictures=True)
        for number, part in enumerate(parts)
    ]
    whole = _journal(tmp_path / "whole.sqlite3", verdicts, keep_pictures=True)
    together, alone = (json.loads(fit(*sources, "--json").stdout) for sources in (halves, [whole]))
    assert (together["n"], together["labelled"]) == (90, 80)
    assert together["pools"] == alone["pools"]
    assert "fitted alone" in fit(halves[0], "-").stderr


def test_a_journal_of_one_day_without_pictures_cannot_be_divided(verdicts, tmp_path):
    journal = _journal(tmp_path / "journal.sqlite3", verdicts, keep_pictures=False)
    done = fit(journal)
    assert done.exit_code == 2
    assert "too few groups" in done.stderr


def test_a_scored_folder_is_divided_by_the_groups_it_has(verdicts, tmp_path):
    with ResultsFile(tmp_path / "results.jsonl", {}) as results:
        for number, verdict in enumerate(verdicts[:80]):
            row = row_of(
                verdict,
                name=f"{number}.jpg",
                label=verdict.query.label,
                group=f"drive-{number // 8}",
                position=number,
            )
            results.append(row)
    done = fit(tmp_path, "--group-by", "given", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["labelled"] == 80
    shown = fit(tmp_path, "--group-by", "given", *QUICK)
    assert "groups\t10\n" in shown.stdout
