"""`natix-miner serve check` on profiles, right and wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from natix_miner.cli import app

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def check(*words):
    return CliRunner().invoke(app, ["serve", "check", *map(str, words)])


def rows_of(done):
    return json.loads(done.stdout)["servers"]


@pytest.fixture
def changed(tmp_path):
    """Makes the shipped profile, beside links to what it names, with another server section."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (tmp_path / "models").symlink_to(ROOT / "models")
    (folder / "prompts").symlink_to(ROOT / "configs" / "prompts")

    def change(name="changed", arguments=None, **settings):
        profile = yaml.safe_load((ROOT / "configs" / "embedded-vlm.yaml").read_text())
        section = profile["servers"]["tiny"]
        section["arguments"].update(arguments or {})
        section.update(settings)
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(profile))
        return path

    return change


@pytest.fixture
def no_vllm(tmp_path, monkeypatch):
    """A machine where none is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.vllm
@pytest.mark.timeout(240)
def test_every_shipped_profile_passes_the_installed_parser(vllm_installed):
    done = check(*CONFIGS, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0, told
    assert told["vllm"].startswith("0.")
    by_server = {(row["profile"], row["server"]): row for row in told["servers"]}
    for path in CONFIGS:
        servers = yaml.safe_load(path.read_text()).get("servers", {"-": {}})
        for server, settings in servers.items():
            row = by_server.pop((path.name, server))
            nothing_to_parse = server == "-" or "base_url" in settings
            assert row["finding"] == ("skipped" if nothing_to_parse else "ok"), row
            if server == "tiny":
                assert "with its model's configuration" in row["said"]
                assert "--kv-cache-memory-bytes 67108864" in row["command"]
    assert not by_server


@pytest.mark.parametrize(
    "arguments", [{"extra": ["--speculative-model", "x"]}, {"speculative_model": "x"}]
)
def test_the_speculative_model_of_older_guides_is_refused_with_todays_spelling(changed, arguments):
    done = check(changed(arguments=arguments), ROOT / "configs" / "embedded.yaml", "--json")
    faulty, other = rows_of(done)
    assert done.exit_code == 1
    assert faulty["finding"] == "fault"
    assert "servers.tiny" in faulty["said"]
    assert "--speculative-model does not exist in vLLM" in faulty["said"]
    assert "--speculative-config" in faulty["said"]
    assert (other["profile"], other["said"]) == ("embedded.yaml", "no servers")


def test_what_cannot_work_is_a_fault_without_any_engine(changed, no_vllm):
    done = check(
        changed("a", arguments={"quantization": "bitsandbytes"}),
        changed("b", arguments={}, environment={"VLLM_API_KEY": "mine"}),
        changed("c", model="../models/nowhere"),
        changed("d", engine="sglang"),
        "--json",
    )
    rows = rows_of(done)
    assert done.exit_code == 1
    assert [row["finding"] for row in rows] == ["fault"] * 4
    for row, said in zip(
        rows,
        ("taken out of vLLM", "VLLM_API_KEY is drawn", "no model folder", "sglang has no setting"),
        strict=True,
    ):
        assert said in row["said"]


def test_profiles_without_servers_need_no_vllm(no_vllm):
    done = check(ROOT / "configs" / "embedded.yaml", "--json")
    assert done.exit_code == 0
    assert [row["finding"] for row in rows_of(done)] == ["skipped"]


def test_a_remote_server_is_named_and_not_checked(changed, no_vllm):
    path = changed()
    profile = yaml.safe_load(path.read_text())
    profile["servers"]["tiny"] = {"model": "x", "base_url": "http://10.0.0.5:8000"}
    path.write_text(yaml.safe_dump(profile))
    done = check(path, "--json")
    (row,) = rows_of(done)
    assert done.exit_code == 0
    assert (row["finding"], row["command"]) == ("skipped", "")
    assert row["said"] == "remote, not checked: http://10.0.0.5:8000"


def test_another_engines_parser_is_not_asked_and_that_is_said(changed, no_vllm):
    path = changed()
    profile = yaml.safe_load(path.read_text())
    profile["servers"]["tiny"] = {"model": "../models/tiny-vlm", "engine": "lmdeploy"}
    path.write_text(yaml.safe_dump(profile))
    done = check(path, "--json")
    (row,) = rows_of(done)
    assert done.exit_code == 0
    assert (row["engine"], row["finding"]) == ("lmdeploy", "not-checked")
    assert "--api-keys" not in row["command"]


def test_without_vllm_it_says_how_to_install_it_and_still_shows_the_command(changed, no_vllm):
    done = check(changed(environment={"NOTE": "two words"}), "--show")
    assert done.exit_code == 2
    assert "scripts/install_vllm.sh" in done.stderr
    assert "NOTE='two words'" in done.stdout
    assert """--limit-mm-per-prompt '{"image":1,"video":0}'""" in done.stdout
    assert "VLLM_API_KEY" not in done.stdout


def test_a_profile_that_cannot_be_read_is_another_exit_code(tmp_path, no_vllm):
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    done = check(tmp_path / "nowhere.yaml", broken, ROOT / "configs" / "embedded.yaml", "--json")
    assert done.exit_code == 2
    assert [row["finding"] for row in rows_of(done)] == ["unreadable", "unreadable", "skipped"]


def test_a_vllm_that_does_not_run_is_no_success(changed, tmp_path):
    vllm = tmp_path / "vllm"
    vllm.write_text("#!/bin/sh\n")
    (tmp_path / "python").write_text("#!/bin/sh\necho 'no torch' >&2\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    done = check(changed(executable=str(vllm)))
    assert done.exit_code == 2
    assert "code 3" in done.stderr
    assert "no torch" in done.stderr


def test_a_folder_without_profiles_is_no_success(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = check()
    assert done.exit_code == 2
    assert "no profile in" in done.stderr


def test_outside_a_terminal_there_is_a_line_for_each_server(changed, no_vllm):
    done = check(changed(arguments={"extra": ["--task", "x"]}), ROOT / "configs" / "embedded.yaml")
    head, faulty, other = done.stdout.splitlines()
    assert head.split("\t") == ["profile", "server", "engine", "finding", "said"]
    assert faulty.split("\t")[3] == "fault"
    assert "--runner" in faulty
    assert other.split("\t")[3:] == ["skipped", "no servers"]
