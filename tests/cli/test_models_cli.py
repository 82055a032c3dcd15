"""`natix-miner models` from the outside. Fetching runs the real huggingface_hub over HTTP against a
double of the hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from natix_miner.cli import app
from tests.catalogue.conftest import COMMIT, ROW
from tests.catalogue.hub_double import HubDouble, Repository

ROOT = Path(__file__).parents[2]
WEIGHTS = os.urandom(24_000_000)


def models(*arguments: object) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def fetch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since the library decides at import whether it is offline, and
    tests are. Nothing of the caller's hub settings reaches it."""
    command = [sys.executable, "-m", "natix_miner", "models", "fetch", *map(str, arguments)]
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "TRANSFORMERS_"))
    }
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**keep, "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"},
    )


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    files = {"config.json": b"{}", "model.safetensors": WEIGHTS, "train.py": b"import os"}
    good = Repository(COMMIT, files, large=frozenset({"model.safetensors"}))
    gated = Repository(COMMIT, files, large=frozenset({"model.safetensors"}), gated=True)
    with HubDouble({"org/tiny-vl": good, "org/gated": gated}) as double:
        yield double


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    rows = {
        "tiny-vl": {**ROW, "checkpoints": ROW["checkpoints"][:1]},
        "gated": {**ROW, "checkpoints": [{"format": "bf16", "repository": "org/gated"}]},
        "moved": {**ROW, "checkpoints": [{"format": "bf16", "repository": "org/moved"}]},
        "wrong-pin": {
            **ROW,
            "checkpoints": [
                {"format": "fp8", "repository": "org/tiny-vl", "revision": "b" * 40},
            ],
        },
    }
    path = tmp_path / "catalogue.yaml"
    path.write_text(yaml.safe_dump({"as_of": "2026-11-20", "models": rows}))
    return path


def test_the_shipped_list_in_plain_lines():
    done = models()
    assert done.exit_code == 0, done.stderr
    heads, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert heads[0] == "key"
    assert {len(row) for row in rows} == {len(heads)}
    by_key = {row[0]: row for row in rows}
    assert "fp8 10.6" in by_key["qwen3-vl-8b"][3]
    assert by_key["qwen3-vl-72b"][-1].startswith("does not exist: Qwen3-VL comes as 2B")
    assert by_key["qwen3-vl-72b"][5] == "16.5, 6.5"


def test_what_has_to_be_accepted_is_told():
    rows = {line.split("\t")[0]: line for line in models().stdout.splitlines()}
    assert rows["yolo26-x"].endswith("agpl, pickle, to be accepted: AGPL-3.0")
    assert rows["sam3"].endswith("to be accepted: SAM-License")
    assert "to be accepted" not in rows["qwen3-vl-8b"]
    shown = json.loads(models("show", "yolo26-x", "--json").stdout)
    assert shown["must_accept"] is True


def test_what_the_plans_name_in_plain_lines():
    done = models("--plans")
    assert done.exit_code == 0, done.stderr
    heads, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert heads == [
        "in the plans", "key", "exists", "successor", "adapter", "licence", "bytes", "remark"
    ]  # fmt: skip
    assert {len(row) for row in rows} == {len(heads)}
    by_key = {row[1]: row for row in rows}
    assert by_key["d-fine-x-obj365"][2:7] == [
        "yes", "-", "transformers-detector", "Apache-2.0", "252 MB"
    ]  # fmt: skip
    assert by_key["yolov13-x"][2:6] == ["yes", "yolo26-x", "ultralytics", "AGPL-3.0 (agpl, pickle)"]
    assert by_key["sam3"][5:7] == ["SAM-License (gated, custom-terms)", "3.45 GB"]
    assert by_key["adfnet"][2:7] == ["no", "-", "done by conditions", "-", "-"]
    assert by_key["adfnet"][7].startswith("no such night detector was found")
    assert by_key["roadtoken"][4] == "done by backbone-head, conditions"
    assert by_key["cotracker3"][4] == "none"
    assert "a query is one picture" in by_key["cotracker3"][7]
    assert "qwen3-vl-2b" not in by_key, "the plans do not name it"


def test_what_the_plans_name_as_json():
    found = json.loads(models("--plans", "--json").stdout)["models"]
    by_key = {row["key"]: row for row in found}
    assert by_key["dinov3-vit-h-plus"]["bytes"] == 3_360_000_000
    assert by_key["dinov3-vit-h-plus"]["bytes_evidence"] == "verified"
    assert by_key["auxiliary-validator"]["done_by"] == ["image-classifier"]
    assert by_key["auxiliary-validator"]["bytes"] is None
    assert by_key["auxiliary-validator"]["licence"] is None
    assert by_key["yolo26-x"]["must_accept"] is True
    assert by_key["qwen3-vl-72b"]["successor"][0] == "qwen3.8-27b-fp8"


def test_plans_and_a_filter_do_not_go_together():
    done = models("--plans", "--kind", "detector")
    assert done.exit_code == 2
    assert "leave --kind and --exists" in " ".join(done.stderr.replace("│", " ").split())


def test_the_list_as_json_can_be_filtered():
    done = models("--kind", "vision-language", "--exists", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["models"]
    assert {row["kind"] for row in found} == {"vision-language"}
    assert all(row["exists"] for row in found)
    keys = {row["key"] for row in found}
    assert "qwen3-vl-32b" in keys
    assert "qwen3-vl-72b" not in keys


def test_one_model_with_what_follows_from_its_shape():
    done = models("show", "qwen3-vl-8b-fp8", "--json")
    assert done.exit_code == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["kv_bytes_per_token"] == {"bf16": 147456, "fp8": 73728}
    assert {c["key"]: c["repository"] for c in row["checkpoints"]}["qwen3-vl-8b-fp8"] == (
        "Qwen/Qwen3-VL-8B-Instruct-FP8"
    )
    plain = models("show", "qwen3-vl-8b")
    assert "kv_bytes_per_token.bf16\t147456" in plain.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "qwen3-vl-8c"), "no model 'qwen3-vl-8c' in the catalogue; close to it:"),
        (("fetch", "qwen3-vl-72b"), "Qwen3-VL-72B does not exist"),
        (("fetch", "sam3"), "--accept-licence 'SAM-License'"),
        (("fetch", "internvl3.5-38b-w4"), "--allow-remote-code internvl3.5-38b-w4"),
        (("fetch", "yolo26-x"), "no weights on a model hub: ultralytics"),
        (("verify", "qwen3-vl-8b-fp8", "--into", "no-such-folder"), "nothing was fetched into"),
        (("--catalogue", "no/such.yaml"), "no catalogue of models at no/such.yaml"),
        (("--kind", "oracle"), "no kind 'oracle'"),
    ],
)
def test_what_cannot_be_done_ends_with_two_and_a_reason(arguments, said):
    done = models(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert done.stdout == ""


def test_fetching_and_verifying(catalogue, hub, tmp_path):
    hub.cut_once = {"model.safetensors"}
    wanted = ("tiny-vl", "--endpoint", hub.url, "--catalogue", catalogue)
    done = fetch(*wanted, "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    folder = tmp_path / "tiny-vl-bf16"
    assert manifest["folder"] == str(folder)
    assert manifest["revision"] == COMMIT
    assert manifest["left_out"] == ["train.py"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert not (folder / "train.py").exists()
    # The connection broke in the middle; the second request went on from there.
    ranges = [asked for method, path, asked in hub.requests if method == "GET"
              and path.endswith("model.safetensors")]  # fmt: skip
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=")
    assert int(ranges[1][6:].rstrip("-")) > 1_000_000

    hub.requests.clear()
    again = fetch(*wanted)
    assert again.returncode == 0, again.stderr
    assert hub.downloads() == []
    assert "is there: model.safetensors" in again.stderr

    verify = ("verify", "tiny-vl", "--catalogue", catalogue)
    assert models(*verify).exit_code == 0
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"changed")
    done = models(*verify, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["changed"] == ["model.safetensors"]
    assert fetch(*wanted).returncode == 0
    assert models(*verify).exit_code == 0


def test_weights_that_differ_from_the_hubs_digest_are_refused(catalogue, hub, tmp_path):
    hub.repositories["org/tiny-vl"].claimed_sha256["model.safetensors"] = "0" * 64
    done = fetch("tiny-vl", "--endpoint", hub.url, "--catalogue", catalogue)
    assert done.returncode == 2
    assert "model.safetensors came with another content" in done.stderr
    assert not (tmp_path / "tiny-vl-bf16" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("gated", "org/gated@0123456789abcdef0123456789abcdef01234567 is gated: accept its terms"),
        ("moved", "org/moved@newest: the hub has no such repository"),
        ("wrong-pin", f"org/tiny-vl@{'b' * 40}: the hub has no such revision"),
    ],
)
def test_what_the_hub_refuses_is_told(catalogue, hub, key, said):
    done = fetch(key, "--endpoint", hub.url, "--catalogue", catalogue)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_hub_that_cannot_be_reached_is_told(catalogue):
    done = fetch("tiny-vl", "--endpoint", "http://127.0.0.1:9", "--catalogue", catalogue)
    assert done.returncode == 2
    assert "could not be fetched" in done.stderr
    assert "the same command goes on" in done.stderr
