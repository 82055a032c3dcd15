"""`score --all-levels`: every level speaks, and what it said is never taken for the profile's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from natix_miner.cascade.trace import Trace
from natix_miner.cli import app
from natix_miner.profile import load_profile
from natix_miner.scoring.all_levels import with_all_levels
from natix_miner.scoring.results import read_header, read_rows

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "embedded.yaml"
QUERIES = ROOT / "natix_miner" / "demo" / "queries"


def score(*arguments: object) -> Result:
    command = ["score", "--profile", PROFILE, "--queries", QUERIES, "--limit", 12, *arguments]
    return CliRunner().invoke(app, [str(one) for one in command])


def levels_entered(results: Path) -> list[tuple[str, ...]]:
    traces = [Trace.model_validate_json(row.trace) for row in read_rows(results)]
    return [tuple(level.name for level in one.levels if level.entered) for one in traces]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    for name, more in (("opened", ["--all-levels"]), ("plain", [])):
        done = score("--resume", folder / f"{name}.jsonl", *more)
        assert done.exit_code == 0, done.output
    return folder


def test_every_level_is_entered_for_every_query(folder):
    assert set(levels_entered(folder / "opened.jsonl")) == {("glance", "closer")}
    assert ("glance",) in levels_entered(folder / "plain.jsonl")


def test_what_was_said_where_both_asked_is_the_same(folder):
    opened = {row.name: row for row in read_rows(folder / "opened.jsonl")}
    for row in read_rows(folder / "plain.jsonl"):
        for name, vote in row.votes.items():
            assert opened[row.name].votes[name] == pytest.approx(vote, abs=1e-4)


def test_it_is_decisive_for_resuming(folder):
    done = score("--resume", folder / "opened.jsonl")
    assert done.exit_code == 2
    assert "all_levels was True, is False" in " ".join(done.stderr.split())
    again = score("--resume", folder / "opened.jsonl", "--all-levels", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["levels"] == {"closer": 1.0}


def test_the_header_says_where_the_queries_lay(folder):
    about = read_header(folder / "opened.jsonl").about
    assert about["queries"] == str(QUERIES)
    assert about["profile_path"] == str(PROFILE)
    assert (about["profile"], about["limit"], about["all_levels"]) == ("embedded", 12, True)
    assert (about["split"], about["simulate"], about["seed"]) == (None, "as-is", 0)


def test_only_the_entry_rules_of_a_profile_are_opened():
    profile = load_profile(PROFILE)
    opened = with_all_levels(profile)
    assert opened.digest != profile.digest
    assert all(level.enter.unsure_below is None for level in opened.levels)
    assert all(level.enter.disagreement_above is None for level in opened.levels)
    assert [level.needs_seconds for level in opened.levels] == [
        level.needs_seconds for level in profile.levels
    ]
    assert (opened.folder, opened.experts) == (profile.folder, profile.experts)
    assert profile.levels[1].enter.unsure_below is not None
