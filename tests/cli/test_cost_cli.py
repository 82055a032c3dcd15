"""`natix-miner cost` as an operator calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from natix_miner.cli.app import app
from tests.watching.conftest import NOW, row, write_journal


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["cost", *map(str, arguments)], catch_exceptions=False)


def told(*arguments: object) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three queries within an hour: 2 s and 4 s that overlap by a second, and 5 s that end it."""
    rows = [
        row(0, received_at=NOW, total_ms=2000.0),
        row(1, received_at=NOW + 1.0, total_ms=4000.0),
        row(2, received_at=NOW + 3595.0, total_ms=5000.0),
    ]
    return write_journal(tmp_path_factory.mktemp("j") / "journal.sqlite3", rows)


def test_a_journal_is_measured(journal: Path):
    # Busy: 0-5 and 3595-3600 = 10 s of 3600 s. An hour at 0.6 for three queries: 0.2 each.
    found = told("--price-per-hour", 0.6, "--journal", journal)

    assert found["load"]["wall_seconds"] == pytest.approx(3600.0)
    assert found["load"]["busy_seconds"] == pytest.approx(10.0)
    assert found["load"]["measured"] is True
    assert found["load"]["possible_per_day"] == pytest.approx(86400 / (10 / 3))
    (cost,) = found["costs"]
    assert cost["per_query"] == pytest.approx(0.2)
    assert cost["per_busy_query"] == pytest.approx(0.6 * 10 / 3600 / 3)


def test_a_stretch_may_be_given(journal: Path):
    # NOW is 2027-01-15 08:00:00 UTC; the whole day holds the same three queries.
    found = told(
        "--price-per-hour", 0.6, "--journal", journal,
        "--since", "2027-01-15T00:00:00", "--until", "2027-01-16T00:00:00",
    )  # fmt: skip

    assert found["load"]["wall_seconds"] == 86400
    assert found["costs"][0]["per_query"] == pytest.approx(0.6 * 24 / 3)


def test_providers_stand_beside_in_plain_lines(tmp_path: Path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("other: 1.2\n")
    result = run(
        "--price-per-hour", 0.4, "--providers", prices, "--provider", "third=2",
        "--queries-per-day", 1200, "--seconds-per-query", 3, "--tao-price", 400,
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert ["the figures are", "assumed"] in lines
    assert ["this machine", "0.4", "9.60", "0.008", "0.0003333", "0.024"] in lines
    assert [line[0] for line in lines[-2:]] == ["other", "third"]


def test_a_load_beyond_one_machine_is_told():
    result = run("--price-per-hour", 1, "--queries-per-day", 1e5, "--seconds-per-query", 2)
    assert "one machine is not enough" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "say what was asked"),
        (("--queries-per-day", 3), "say what was asked"),
        (
            ("--journal", "j", "--queries-per-day", 3, "--seconds-per-query", 1),
            "say what was asked",
        ),
        (("--queries-per-day", 3, "--seconds-per-query", 1, "--alpha-price", 1), "--tao-price"),
        (("--queries-per-day", 3, "--seconds-per-query", 1, "--tao-price", 0), "above 0"),
        (("--journal", "nowhere.sqlite3"), "there is no journal"),
    ],
)
def test_options_that_do_not_go_together_are_exit_code_2(arguments: tuple, word: str):
    result = run("--price-per-hour", 1, *arguments)

    assert result.exit_code == 2
    assert word in " ".join(result.stderr.split())


def test_an_empty_journal_is_told(tmp_path: Path):
    path = write_journal(tmp_path / "journal.sqlite3", [])
    result = run("--price-per-hour", 1, "--journal", path)

    assert result.exit_code == 2
    assert "no time" in " ".join(result.stderr.split())
