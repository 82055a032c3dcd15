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
    assert found["gpus"][0]["detectors_gb"] > 2, "levels 0 to 2 are on the first GPU"
    assert "loaded" not in found
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


def test_experts_are_loaded_one_by_one_and_measured():
    done = plan(ROOT / "configs" / "embedded.yaml", "--load")
    assert done.exit_code == 0, done.output
    heads, *rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert heads[:5] == ["expert", "type", "device", "computed MB", "resident MB"]
    by_name = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert set(by_name) == {"network", "colour", "closer-network"}
    network = by_name["network"]
    assert (network["computed MB"], network["on the GPU MB"]) == ("0.9", "-")
    assert 1 < float(network["resident MB"]) < 400
    assert network["remark"] == "-"
    assert done.stdout.splitlines()[-1] == "fits"


def test_what_cannot_be_loaded_is_told_in_its_row_and_the_others_are_loaded(tmp_path):
    path = tmp_path / "mixed.yaml"
    embedded = ROOT / "models" / "embedded"
    experts = {
        "colour": {"type": "colour-shape", "model": str(embedded / "colour_shape.json")},
        "network": {"type": "embedded-network", "model": "none.onnx"},
    }
    levels = [{"name": "only", "experts": list(experts)}]
    path.write_text(yaml.safe_dump({"name": "mixed", "experts": experts, "levels": levels}))
    shipped = {"catalogue": str(ROOT / "models" / "catalogue.yaml")}
    path.write_text(path.read_text() + yaml.safe_dump(shipped))
    done = plan(path, "--load", "--json")
    assert done.exit_code == 0, done.output
    found = {row["expert"]: row for row in json.loads(done.stdout)["loaded"]}
    assert "no network at" in found["network"]["error"]
    assert found["network"]["resident_mb"] is None
    assert found["colour"]["error"] is None
    assert found["colour"]["seconds"] > 0
    assert found["colour"]["on_gpu_mb"] is None


def test_experts_that_ask_servers_are_not_loaded(profile):
    done = plan(profile("embedded-vlm"), "--load", "--json", "--ram", "16")
    # The copy lies elsewhere: its files are not found, and that is told for each.
    found = json.loads(done.stdout)["loaded"]
    assert {row["expert"] for row in found} == {"network", "colour", "closer-network"}
    assert all(row["error"] for row in found)


def test_terms_are_asked_for_before_anything_is_loaded(tmp_path):
    path = tmp_path / "bound.yaml"
    content = {
        "name": "bound",
        "catalogue": str(ROOT / "models" / "catalogue.yaml"),
        "experts": {"concepts": {"type": "sam3", "model": "sam3"}},
        "levels": [{"name": "only", "experts": ["concepts"]}],
    }
    path.write_text(yaml.safe_dump(content))
    assert plan(path).exit_code == 0, "without --load nothing is loaded"
    done = plan(path, "--load")
    assert done.exit_code == 2
    assert "accept_licences: [SAM-License]" in done.stderr


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
