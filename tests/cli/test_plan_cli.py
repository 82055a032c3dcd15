"""`natix-miner plan` from the outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from natix_miner.cli import app

ROOT = Path(__file__).parents[2]


def plan(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


@pytest.fixture
def profile(tmp_path: Path):
    """Writes a copy of a shipped profile, its servers changed, beside the shipped catalogue."""

    def write(name: str, **servers: dict) -> Path:
        content = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
        content["catalogue"] = str(ROOT / "models" / "catalogue.yaml")
        for server, changes in servers.items():
            content["servers"][server].update(changes)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize(
    ("name", "gpus"),
    [
        ("gpu-24g", "24"),
        ("gpu-80g", "80"),
        ("dual-80g", "80,80"),
        ("dual-80g-235b", "80,80"),
    ],
)
def test_shipped_profiles_fit_their_cards(name, gpus):
    done = plan(ROOT / "configs" / f"{name}.yaml", "--gpus", gpus, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["fits"] is True
    assert found["profile"] == name
    for gpu in found["gpus"]:
        parts = sum(server["gb"] for server in gpu["servers"])
        assert gpu["gb"] - gpu["detectors_gb"] - parts == pytest.approx(gpu["left_gb"], abs=0.05)
        assert gpu["left_gb"] > 4


def test_plain_lines_say_what_sits_where():
    done = plan(ROOT / "configs" / "dual-80g.yaml", "--gpus", "80,80", "--detectors", "12")
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    by_what = {(row[0], row[1]): row for row in rows}
    assert by_what["0", "detectors"][-1] == "12.0"
    assert by_what["1", "precision"][2:4] == ["qwen3-vl-32b-fp8", "35.5"]
    assert done.stdout.splitlines()[-1] == "fits"


def test_what_does_not_fit_ends_with_one_and_says_what_would(profile):
    path = profile("gpu-24g", fast={"model": "qwen3-vl-32b-fp8"})
    done = plan(path, "--gpus", "24")
    assert done.exit_code == 1
    assert "does not fit: fast: the weights of qwen3-vl-32b-fp8 alone are 35.5 GB" in done.stdout
    assert "  would fit: qwen3-vl-8b-" in done.stdout
    found = json.loads(plan(path, "--gpus", "24", "--json").stdout)
    (fault,) = found["faults"]
    assert (found["fits"], fault["server"], fault["certain"]) == (False, "fast", True)


def test_a_model_of_the_plans_that_does_not_exist_is_refused(profile):
    done = plan(profile("dual-80g", precision={"model": "qwen3-vl-72b"}), "--gpus", "80,80")
    assert done.exit_code == 1
    assert "does not fit: precision: Qwen3-VL-72B does not exist" in done.stdout
    assert "at least 38.1 GB (4.16 bit)" in done.stdout


def test_servers_on_the_cpu_are_checked_against_main_memory():
    path = ROOT / "configs" / "embedded-vlm.yaml"
    assert plan(path, "--ram", "16").exit_code == 0
    done = plan(path, "--ram", "1")
    assert done.exit_code == 1
    assert "of 1.0 GB main memory" in done.stdout
    assert "note: servers on the CPU are checked against main memory, and only roughly" in (
        done.stdout
    )


def test_a_profile_without_servers_fits_anywhere():
    done = plan(ROOT / "configs" / "embedded.yaml", "--gpus", "24")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "fits"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no/such/profile.yaml",), "no profile at no/such/profile.yaml"),
        ((ROOT / "configs" / "gpu-24g.yaml", "--gpus", "many"), "takes numbers like 80,80"),
        ((ROOT / "configs" / "gpu-24g.yaml", "--gpus", "-24"), "takes GB of at least 0.1"),
        ((ROOT / "configs" / "gpu-24g.yaml", "--gpus", "nan"), "takes GB of at least 0.1"),
        ((ROOT / "configs" / "gpu-24g.yaml", "--detectors", "-1"), "takes GB of at least 0"),
        ((), "Missing argument"),
    ],
)
def test_bad_input_ends_with_two(arguments, said):
    done = plan(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_a_broken_catalogue_ends_with_two(profile, tmp_path):
    path = profile("gpu-24g")
    shutil.copy(ROOT / "models" / "catalogue.yaml", tmp_path / "catalogue.yaml")
    content = yaml.safe_load(path.read_text())
    content["catalogue"] = "catalogue.yaml"
    path.write_text(yaml.safe_dump(content))
    assert plan(path, "--gpus", "24").exit_code == 0
    (tmp_path / "catalogue.yaml").write_text("models: [")
    done = plan(path, "--gpus", "24")
    assert done.exit_code == 2
    assert "cannot be read as YAML" in done.stderr
