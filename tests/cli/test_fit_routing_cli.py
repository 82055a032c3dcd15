"""`natix-miner fit --routing` and `--redundancy` from the outside: documents, files, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from natix_miner.cli import app
from tests.browser import open_page

ROOT = Path(__file__).parents[2]
WAYS = ("fit", "--routing", "--folds", "3")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def simulated(path: Path, *options: str) -> Path:
    script = [sys.executable, "scripts/simulate_votes.py", "--seed", "2", *options]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, check=True)
    path.write_bytes(done.stdout)
    return path


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated votes of three levels with what they cost."""
    path = tmp_path_factory.mktemp("votes") / "votes.jsonl"
    return simulated(path, "--queries", "500", "--experts", "7")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The least that a fit and a routing take."""
    path = tmp_path_factory.mktemp("few") / "votes.jsonl"
    return simulated(path, "--queries", "120", "--experts", "3")


@pytest.fixture(scope="module")
def told(lines: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path, Path]:
    """The document, the folder of the report, and the fitted file."""
    folder = tmp_path_factory.mktemp("report") / "new"
    out = folder.parent / "fitted.json"
    done = run(*WAYS, lines, "--redundancy", "--json", "--report", folder, "--out", out)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), folder, out


def test_the_document_has_the_ways_of_routing_and_the_patch(told):
    document, _, out = told
    routing = document["routing"]
    assert document["pools"]["stacking"]
    assert set(routing["all"]) == {"reward", "cost_ms"}
    assert routing["chosen"]["cost_ms"] < routing["all"]["cost_ms"]
    assert set(routing["chosen"]["thresholds"]) == {"look", "study"}
    assert routing["chosen"]["cost_share"] == pytest.approx(
        routing["chosen"]["cost_ms"] / routing["all"]["cost_ms"], abs=1e-4
    )
    assert [point["cost_ms"] for point in routing["curve"]] == sorted(
        point["cost_ms"] for point in routing["curve"]
    )
    levels = yaml.safe_load(routing["patch"])["levels"]
    assert {
        level["name"]: level["enter"].get("unsure_below")
        for level in levels[1:]
        if "enter" in level
    } == {
        name: rule["unsure_below"]
        for name, rule in routing["chosen"]["thresholds"].items()
        if rule["unsure_below"] or rule["disagreement_above"]
    }
    assert out.exists()


def test_the_document_tells_of_redundancy(told):
    redundancy = told[0]["redundancy"]
    assert 1.0 <= redundancy["effective_votes"] <= 7.0
    assert redundancy["effective_votes"] == pytest.approx(told[0]["effective_votes"], abs=1e-4)
    names = redundancy["correlations"]["experts"]
    assert [one["expert"] for one in redundancy["experts"]] == names
    assert len(redundancy["correlations"]["matrix"]) == len(names) == 7
    assert "switched off is who adds nothing" in redundancy["rule"]


def test_the_report_lies_in_its_folder(told):
    document, folder, _ = told
    assert {path.name for path in folder.iterdir()} == {
        "routing.html",
        "routing.svg",
        "routing.json",
        "levels.yaml",
        "redundancy.json",
    }
    assert json.loads((folder / "routing.json").read_text()) == document["routing"]
    assert (folder / "levels.yaml").read_text() == document["routing"]["patch"]
    drawing = ElementTree.parse(folder / "routing.svg").getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--accent" in (folder / "routing.svg").read_text()


def test_the_page_stands_in_a_browser(told, tmp_path):
    document, folder, _ = told
    with open_page() as page:
        page.goto(folder / "routing.html")
        assert page.errors == []
        share = f"{100 * document['routing']['chosen']['cost_share']:.1f} %"
        assert share in page.evaluate("document.querySelector('#headline').innerText")
        rows = page.evaluate("document.querySelectorAll('#ways tbody tr').length")
        assert rows == len(document["routing"]["curve"]) + 3
        width, height = page.evaluate(
            "(box => [box.width, box.height])"
            "(document.querySelector('#plot-routing .large svg').getBoundingClientRect())"
        )
        assert width > 300
        assert height > 100
        assert page.evaluate("document.querySelectorAll('#plot-routing .large path').length") > 20
        page.set_size(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_people_are_shown_tables_and_the_patch(few):
    done = run(*WAYS, few, "--within", "0.05")
    assert done.exit_code == 0, done.output
    said = done.stdout
    assert "\nway\treward\tlost\tcost ms\tof all\tenters look\tenters study\n" in said
    assert "\nchosen\t" in said
    assert "\ngoal\t" in said
    assert yaml.safe_load(said[said.index("\nlevels:") :])["levels"][0]["name"] == "glance"


def test_votes_without_times_are_one_clear_line_and_nothing_is_written(lines, tmp_path):
    bare = tmp_path / "bare.jsonl"
    with bare.open("w") as file:
        for line in lines.read_text().splitlines():
            document = json.loads(line)
            document.pop("ms", None)
            file.write(json.dumps(document) + "\n")
    out, folder = tmp_path / "fitted.json", tmp_path / "report"
    done = run(*WAYS, bare, "--out", out, "--report", folder)
    assert done.exit_code == 2
    assert "no time is told for the experts" in done.output
    assert "Traceback" not in done.output
    assert not out.exists()
    assert not folder.exists()


def test_a_report_without_anything_to_report_is_refused_at_once(lines, tmp_path):
    done = run("fit", lines, "--report", tmp_path / "report")
    assert done.exit_code == 2
    assert "--routing" in done.output


def test_a_folder_that_cannot_be_made_is_told(few, tmp_path):
    (tmp_path / "file").write_text("kept")
    done = run(*WAYS, few, "--report", tmp_path / "file")
    assert done.exit_code == 2
    assert "cannot be written" in done.output
    assert (tmp_path / "file").read_text() == "kept"


def test_votes_of_one_level_are_refused(tmp_path):
    path = tmp_path / "flat.jsonl"
    with path.open("w") as file:
        for number in range(120):
            label = number % 2
            said = {"a": 0.3 + 0.4 * label, "b": 0.5 + 0.003 * (number % 40)}
            file.write(json.dumps({"id": f"q{number}", "label": label, "opinions": said}) + "\n")
    done = run(*WAYS, path)
    assert done.exit_code == 2
    assert "nothing to route" in done.output
