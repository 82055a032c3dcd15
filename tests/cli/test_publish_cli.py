"""`natix-miner publish` from the outside. Uploading runs the genuine huggingface_hub over HTTP
against a double of the hub on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bittensor_wallet import Keypair, Wallet
from click.testing import Result
from typer.testing import CliRunner

from natix_miner.cli import app
from tests.registration.hub_double import WritableHubDouble

ROOT = Path(__file__).parents[2]
HOTKEY = Keypair.create_from_seed("0x" + "05" * 32).ss58_address
TOKEN = "hf_" + "Double" * 6
WEIGHTS = bytes(range(256)) * 4096
DAY = 86400


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    monkeypatch.chdir(tmp_path)
    return folder


def arguments(model: Path, *more: str, version: str = "1.0.0") -> list[str]:
    return [
        "publish", "--repo", "owner/roadwork", "--model", str(model), "--version", version,
        "--name", "Cone finder", "--description", "Finds cones.", "--submitted-by", HOTKEY, *more,
    ]  # fmt: skip


def publish(model: Path, *more: str, version: str = "1.0.0") -> Result:
    return CliRunner().invoke(app, arguments(model, *more, version=version))


def uploaded(hub: WritableHubDouble, *command: str, token: str | None = TOKEN):
    """In a process of its own, since the library decides at import whether it is offline, and
    tests are. Nothing of the caller's hub settings reaches it."""
    ours = ("HF_", "TRANSFORMERS_")
    keep = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    settings = {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",  # Its storage has no double.
        "HF_HOME": "/nonexistent",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
        **({} if token is None else {"HF_TOKEN": token}),
    }
    return subprocess.run(
        [sys.executable, "-m", "natix_miner", *command, "--endpoint", hub.url],
        capture_output=True,
        text=True,
        timeout=60,
        env=keep | settings,
    )


def earlier_card(folder: Path, version: str, days: float) -> None:
    card = {
        "model_name": "Cone finder",
        "description": "Finds cones.",
        "version": version,
        "submitted_by": HOTKEY,
        "submission_time": int(time.time() - days * DAY),
    }
    (folder / "model_card.json").write_text(json.dumps(card))


def test_a_dry_run_is_the_default_and_changes_nothing(model):
    before = {path: path.read_bytes() for path in model.iterdir()}
    result = publish(model, "--licence", "apache-2.0")
    assert result.exit_code == 0, result.output
    assert "dry run: nothing was uploaded" in result.output
    assert hashlib.sha256(WEIGHTS).hexdigest() in result.output
    assert "full reward for 45 days" in result.output
    assert "no earlier submission is known here" in result.output
    assert {path: path.read_bytes() for path in model.iterdir()} == before
    assert publish(model, "--dry-run").exit_code == 0


def test_json_holds_card_files_and_totals(model):
    result = publish(model, "--json")
    document = json.loads(result.stdout)
    assert document["dry_run"] is True
    assert [file["path"] for file in document["files"]] == [
        "README.md", "config.json", "model.safetensors", "model_card.json",
    ]  # fmt: skip
    assert document["total_bytes"] == sum(file["bytes"] for file in document["files"])
    assert abs(document["card"].pop("submission_time") - time.time()) < 60
    assert document["card"] == {
        "model_name": "Cone finder",
        "description": "Finds cones.",
        "version": "1.0.0",
        "submitted_by": HOTKEY,
    }
    assert document["warnings"] == ["no licence is named: nobody may use the model; give --licence"]


def test_the_hotkey_is_that_of_the_wallet(model, tmp_path):
    wallet = Wallet(name="w", hotkey="h", path=str(tmp_path / "wallets"))
    wallet.create_if_non_existent(
        coldkey_use_password=False, hotkey_use_password=False, suppress=True
    )
    command = arguments(model, "--json", "--wallet-name", "w", "--wallet-hotkey", "h",
                        "--wallet-path", str(tmp_path / "wallets"))  # fmt: skip
    at = command.index("--submitted-by")
    del command[at : at + 2]
    document = json.loads(CliRunner().invoke(app, command).stdout)
    assert document["card"]["submitted_by"] == wallet.hotkeypub.ss58_address


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (10, "10.0 days old, full reward for 35 more days"),
        (60, "60.0 days old, reward falling, zero in 30 days"),
        (91, "91.0 days old, no reward any more"),
        (-2, "lies in the future"),
    ],
)
def test_the_age_of_the_last_submission_is_shown(days, said, model):
    earlier_card(model, "0.9.0", days)
    result = CliRunner().invoke(
        app,
        ["publish", "--repo", "o/n", "--model", str(model), "--version", "1.0.0",
         "--submitted-by", HOTKEY],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "last submission: version 0.9.0" in result.output
    assert said in result.output


@pytest.mark.parametrize("version", ["0.10.0", "0.9.9", "0.2.11"])
def test_a_version_that_is_not_above_the_last_one_is_refused(version, model):
    earlier_card(model, "0.10.0", 1)
    result = publish(model, version=version)
    assert result.exit_code == 2
    assert f"version {version} is not above 0.10.0" in result.stderr
    assert publish(model, version="0.11.0").exit_code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--version", "1.0"), "version: not of the form X.Y.Z"),
        (("--submitted-by", "5Grwva"), "submitted_by: not an SS58 address"),
        (("--name", " "), "model_name: String should have at least 1 character"),
        (("--repo", "roadwork"), "'roadwork' is not a repository"),
        (("--model", "/nonexistent"), "/nonexistent is not a folder"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(change, said, model):
    result = publish(model, *change)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_what_is_missing_is_named(model):
    result = CliRunner().invoke(
        app, ["publish", "--repo", "o/n", "--model", str(model), "--submitted-by", HOTKEY]
    )
    assert result.exit_code == 2
    assert "--name is missing: model_card.json needs model_name" in result.stderr


def test_uploading_puts_all_in_one_commit_with_the_logins_token(model):
    with WritableHubDouble({}, {TOKEN}) as hub:
        result = uploaded(hub, *arguments(model, "--upload", "--private"))
        assert result.returncode == 0, result.stderr
        repository = hub.repositories["owner/roadwork"]
        assert sorted(repository.files) == [
            "README.md", "config.json", "model.safetensors", "model_card.json",
        ]  # fmt: skip
        assert repository.files["model.safetensors"] == WEIGHTS
        assert repository.large == {"model.safetensors"}
        card = json.loads(repository.files["model_card.json"])
        assert (card["version"], card["submitted_by"]) == ("1.0.0", HOTKEY)
        assert hub.visibility == {"owner/roadwork": "private"}
        assert hub.messages == ["Cone finder 1.0.0"]
        assert f"{hub.url}/owner/roadwork/commit/{repository.commit}" in result.stdout
        assert TOKEN not in result.stdout + result.stderr
        for name in ("README.md", "model_card.json"):
            assert (model / name).read_bytes() == repository.files[name]

        # The same from another folder, whose owner does not know of the first: the hub does.
        (model / "model_card.json").unlink()
        again = uploaded(hub, *arguments(model, "--upload"))
        assert again.returncode == 2
        assert "version 1.0.0 is not above 1.0.0, which owner/roadwork/model_card.json" in (
            again.stderr
        )
        above = uploaded(hub, *arguments(model, "--upload", version="1.0.1"))
        assert above.returncode == 0, above.stderr
        assert "before it: last submission: version 1.0.0, 0.0 days old" in above.stdout
        assert hub.parents == [None, repository.commit]


def test_a_hub_that_refuses_the_login_is_told_plainly(model):
    with WritableHubDouble({}, {TOKEN}) as hub:
        result = uploaded(hub, *arguments(model, "--upload"), token=None)
    assert result.returncode == 2
    last = result.stderr.strip().splitlines()[-1]
    assert re.search(r"owner/roadwork did not take the files: .*HTTP 401.*hf auth login", last)
    assert not (model / "model_card.json").exists()
