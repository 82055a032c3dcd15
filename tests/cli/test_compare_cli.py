"""`natix-miner compare` over real score runs, journals and fitted files."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from natix_miner.assembly import build_judge
from natix_miner.cli import app
from natix_miner.consensus import equal_weights, load_fitted, save_fitted
from natix_miner.journal import Journal, JournalWriter, export_parquet
from natix_miner.profile import load_profile
from natix_miner.query import Query
from natix_miner.sections import JournalSettings

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "configs" / "embedded.yaml"
FITTED = ROOT / "models" / "embedded" / "consensus.json"
DEMO = ROOT / "natix_miner" / "demo" / "queries"
NAMES = [
    f"{kind}-{n:02}.jpg" for kind in ("cropped", "letterboxed", "full-frame") for n in range(4, 9)
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def truth(name: str) -> int:
    lines = (DEMO / "manifest.csv").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split(",")[1] == "roadwork")


@pytest.fixture(scope="module")
def colour_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile with the weakest expert alone, out of the shipped one."""
    made = yaml.safe_load(PROFILE.read_text())
    made |= {"name": "colour-only", "consensus": {}}
    made["experts"] = {"colour": made["experts"]["colour"]}
    made["experts"]["colour"]["model"] = str(ROOT / "models" / "embedded" / "colour_shape.json")
    made["levels"] = [{"name": "glance", "experts": ["colour"]}]
    path = tmp_path_factory.mktemp("profile") / "colour.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        kind = folder / ("roadwork" if truth(name) else "none")
        kind.mkdir(exist_ok=True)
        shutil.copy(DEMO / name, kind / name)
    return folder


@pytest.fixture(scope="module")
def runs(
    pictures: Path, colour_only: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name, profile in (("a", PROFILE), ("b", colour_only)):
        ok("score", "--profile", profile, "--queries", pictures, "--report", folder / name)
    return folder / "a", folder / "b"


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory, colour_only: Path) -> tuple[Path, Path]:
    """The same pictures in the journals of two miners, under ids of their own."""
    folder = tmp_path_factory.mktemp("journals")

    async def judge(profile_path: Path, journal: Path) -> None:
        profile = load_profile(profile_path)
        the_judge = build_judge(profile)
        await the_judge.start()
        with JournalWriter(JournalSettings(path=journal, keep_days=1e6)) as writer:
            for name in NAMES[:9]:
                picture = (DEMO / name).read_bytes()
                query = Query.of(picture, source="axon", label=truth(name))
                writer.record(await the_judge.judge(query))
        await the_judge.close()

    paths = folder / "a.sqlite3", folder / "b.sqlite3"
    asyncio.run(judge(PROFILE, paths[0]))
    asyncio.run(judge(colour_only, paths[1]))
    return paths


def test_two_runs_as_one_json_document(runs: tuple[Path, Path]) -> None:
    found = json.loads(ok("compare", *runs, "--json", "--resamples", 300, "--seed", 4))
    assert (found["pairs"], found["labelled"], found["seed"], found["resamples"]) == (
        15,
        15,
        4,
        300,
    )
    assert found["unpaired"] == {"a": 0, "b": 0}
    for letter, folder in zip("ab", runs, strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        side = found[letter]
        for name in ("mcc", "accuracy", "auc", "brier", "ece", "confusion", "answered"):
            assert side[name] == summary[name], name
        assert side["reward"] == pytest.approx(summary["reward"]["mean"])
        assert side["p50_ms"] == pytest.approx(summary["latency_ms"]["p50"])
        assert side["expert_ms"] == pytest.approx(sum(summary["expert_ms_per_query"].values()))
    wrong = [set(), set()]
    for number, folder in enumerate(runs):
        for line in (folder / "results.jsonl").read_text().splitlines()[1:]:
            row = json.loads(line)
            if (row["prediction"] > 0.5) != bool(row["label"]):
                wrong[number].add(row["name"])
    assert found["mcnemar"]["only_a_wrong"] == len(wrong[0] - wrong[1])
    assert found["mcnemar"]["only_b_wrong"] == len(wrong[1] - wrong[0])
    assert {flip["name"] for flip in found["flips"]} == wrong[0] ^ wrong[1]
    reward = found["difference"]["reward"]
    assert reward["low"] < reward["mean"] < reward["high"]
    sure = reward["low"] > 0 or reward["high"] < 0
    assert (found["verdict"] != "no-difference") == sure


def test_plain_lines_end_with_the_verdict_in_a_sentence(runs: tuple[Path, Path]) -> None:
    lines = ok("compare", *runs, "--resamples", 200).splitlines()
    assert lines[0].split("\t") == ["figure", "A", "B", "B - A", "95 % interval"]
    figures = dict(line.split("\t", 1) for line in lines[1:] if "\t" in line)
    assert figures["labelled"].split("\t")[:2] == ["15", "15"]
    assert "McNemar p = " in figures["wrong where the other is right"]
    assert lines[-1].endswith(".")
    assert "15 labelled queries" in lines[-1]
    assert ok("compare", *runs, "--resamples", 200).splitlines() == lines


def test_a_run_against_itself_shows_no_difference(runs: tuple[Path, Path]) -> None:
    found = json.loads(ok("compare", runs[0], runs[0] / "results.jsonl", "--json"))
    assert found["verdict"] == "no-difference"
    assert found["flips"] == []
    assert found["mcnemar"]["p"] == 1.0


def test_the_report_holds_page_and_document_with_the_pictures(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    told = ok("compare", *runs, "--report", tmp_path / "out", "--resamples", 200)
    assert told.splitlines()[-1] == f"report: {tmp_path / 'out' / 'compare.html'}"
    page = (tmp_path / "out" / "compare.html").read_text()
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert page.count("data:image/jpeg;base64,") == len(document["flips"]) > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "compare.html",
        "compare.json",
    ]


def test_journals_and_their_exports_are_paired_by_picture(
    journals: tuple[Path, Path], tmp_path: Path
) -> None:
    found = json.loads(ok("compare", *journals, "--json", "--resamples", 100))
    assert (found["pairs"], found["labelled"]) == (9, 9)
    export = tmp_path / "b.parquet"
    with Journal(journals[1]) as opened:
        export_parquet(opened, export)
    again = json.loads(ok("compare", journals[0], export, "--json", "--resamples", 100))
    assert {**again, "b": None, "notes": None} == {**found, "b": None, "notes": None}


def test_a_run_and_a_journal_share_the_pictures_that_both_judged(
    runs: tuple[Path, Path], journals: tuple[Path, Path]
) -> None:
    found = json.loads(ok("compare", runs[0], journals[0], "--json", "--resamples", 100))
    assert (found["pairs"], found["unpaired"]) == (9, {"a": 6, "b": 0})
    assert found["flips"] == []


def test_two_fits_pool_the_same_stored_opinions(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """The shipped fit comes to the stored answers again; equal weights to others."""
    fitted = load_fitted(FITTED)
    save_fitted(equal_weights(fitted.experts()), tmp_path / "equal.json")
    found = json.loads(
        ok("compare", FITTED, tmp_path / "equal.json", "--queries", runs[0], "--json")
    )
    summary = json.loads((runs[0] / "summary.json").read_text())
    assert found["a"]["mcc"] == summary["mcc"]
    assert found["a"]["brier"] == pytest.approx(summary["brier"], abs=1e-12)
    assert found["a"]["reward"] == pytest.approx(summary["reward"]["mean"])
    assert found["b"]["brier"] != found["a"]["brier"]
    assert found["a"]["p50_ms"] is None
    assert any("every stored opinion is pooled" in note for note in found["notes"])


def test_a_fit_of_other_experts_is_refused_and_one_of_more_is_told(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    save_fitted(equal_weights(frozenset({"stranger"})), tmp_path / "stranger.json")
    save_fitted(equal_weights(frozenset({"network", "late"})), tmp_path / "more.json")
    refused = run("compare", FITTED, tmp_path / "stranger.json", "--queries", runs[0])
    assert refused.exit_code == 2
    assert "was fitted for the experts ['stranger']" in refused.stderr
    told = ok("compare", FITTED, tmp_path / "more.json", "--queries", runs[0])
    assert "has no weight for closer-network, colour" in told
    assert "has weights for late, which nobody asked" in told


def test_runs_with_another_simulation_are_refused(
    runs: tuple[Path, Path], pictures: Path, tmp_path: Path
) -> None:
    ok("score", "--queries", pictures, "--simulate", "cropped", "--limit", 2, "--report", tmp_path)
    refused = run("compare", runs[0], tmp_path, "--report", tmp_path / "out")
    assert refused.exit_code == 2
    assert "simulate is 'as-is'" in refused.stderr
    assert "Score both with the same" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_queries_that_only_one_run_has_are_counted(
    runs: tuple[Path, Path], pictures: Path, tmp_path: Path
) -> None:
    ok("score", "--queries", pictures, "--limit", 10, "--report", tmp_path / "ten")
    found = json.loads(ok("compare", runs[0], tmp_path / "ten", "--json", "--resamples", 100))
    assert (found["pairs"], found["unpaired"]) == (10, {"a": 5, "b": 0})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{a}", "{tmp}/nowhere"], "there is nothing at"),
        (["{a}", "{tmp}"], "holds no results.jsonl"),
        (["{a}", "{fitted}"], "is a fitted file and the other is not"),
        (["{fitted}", "{fitted}"], "--queries"),
        (["{fitted}", "{tmp}/none.json", "--queries", "{a}"], "no fitted consensus at"),
        (["{fitted}", "{tmp}/torn.json", "--queries", "{a}"], "is no fitted consensus"),
        (["{a}", "{b}", "--queries", "{a}"], "--queries goes with two fitted files"),
        (["{a}", "{tmp}/empty.jsonl"], "empty.jsonl"),
        (["{a}", "{b}", "--report", "{fitted}"], "cannot be written"),
        (["{a}", "{b}", "--resamples", "7"], "--resamples"),
        (["{a}"], "Missing argument"),
    ],
)
def test_bad_input_ends_with_two_and_a_clear_word(
    runs: tuple[Path, Path], tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "torn.json").write_text(FITTED.read_text()[:300])
    (tmp_path / "empty.jsonl").write_text("")
    names = {"a": runs[0], "b": runs[1], "tmp": tmp_path, "fitted": FITTED}
    before = FITTED.read_bytes()
    result = run("compare", *(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert FITTED.read_bytes() == before
