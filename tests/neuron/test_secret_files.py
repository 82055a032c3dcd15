"""Secrets from files, in the way of Docker, Kubernetes and Vault's agent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from natix_miner.errors import ConfigurationError
from natix_miner.neuron.secret_files import SECRETS, fill_in_secrets, value_of
from natix_miner.neuron.settings import OPTIONS, resolve_settings


@pytest.fixture
def secret(tmp_path):
    """As Kubernetes mounts it: a link through a folder that is exchanged as a whole."""
    (tmp_path / "..2026_11_21").mkdir()
    (tmp_path / "..2026_11_21" / "token").write_text("hf_secret\n")
    (tmp_path / "..data").symlink_to("..2026_11_21")
    (tmp_path / "token").symlink_to("..data/token")
    return tmp_path / "token"


def test_the_content_of_the_file_is_the_value(secret):
    assert value_of("HF_TOKEN", {"HF_TOKEN_FILE": str(secret)}) == ("hf_secret", "HF_TOKEN_FILE")
    assert value_of("HF_TOKEN", {"HF_TOKEN": " plain "}) == ("plain", "HF_TOKEN")
    assert value_of("HF_TOKEN", {"HF_TOKEN": "", "HF_TOKEN_FILE": ""}) is None


def test_both_at_once_is_refused_without_showing_either(secret):
    with pytest.raises(ConfigurationError, match="both HF_TOKEN and HF_TOKEN_FILE") as refused:
        value_of("HF_TOKEN", {"HF_TOKEN": "plain", "HF_TOKEN_FILE": str(secret)})
    assert "plain" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"", "is empty"), (b" \n", "is empty"), (b"\xffsecret", "no text"),
     (b"x" * 70_000, "larger than")],
    ids=["missing", "empty", "blank", "binary", "large"],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_without_showing_what_it_holds(tmp_path, content, said):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as refused:
        value_of("HF_TOKEN", {"HF_TOKEN_FILE": str(path)})
    assert "HF_TOKEN_FILE" in str(refused.value)
    assert b"secret" not in (content or b"") or "secret" not in str(refused.value)


def test_libraries_find_the_secrets_where_they_look(secret):
    environment = {"HF_TOKEN_FILE": str(secret), "PATH": "/bin"}
    env_file = {"OTEL_EXPORTER_OTLP_HEADERS_FILE": str(secret)}
    assert fill_in_secrets(environment, env_file) == {"hf_secret"}
    assert environment["HF_TOKEN"] == "hf_secret"
    assert environment["OTEL_EXPORTER_OTLP_HEADERS"] == "hf_secret"
    assert fill_in_secrets(environment, env_file) == {"hf_secret"}  # twice is no contradiction


def test_the_environment_wins_over_the_env_file(secret):
    environment = {"HF_TOKEN": "from-environment"}
    fill_in_secrets(environment, {"HF_TOKEN_FILE": str(secret)})
    assert environment["HF_TOKEN"] == "from-environment"


def test_every_option_can_come_from_a_file(tmp_path):
    path = tmp_path / "endpoint"
    path.write_text("wss://chain.example/key-of-the-provider\n")
    name = "SUBTENSOR_CHAIN_ENDPOINT_FILE"
    assert resolve_settings({}, {name: str(path)}, None).chain_endpoint == path.read_text().strip()
    env_file = tmp_path / "miner.env"
    env_file.write_text(f"{name}={path}\n")
    assert resolve_settings({}, {}, env_file).chain_endpoint == path.read_text().strip()


def test_no_name_of_a_file_is_the_name_of_another_option():
    names = [name for option in OPTIONS for name in option.variables] + list(SECRETS)
    assert not {f"{name}_FILE" for name in names} & set(names)


def test_a_command_tells_of_a_bad_file_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "natix_miner", "models", "list"],
        env={**os.environ, "HF_TOKEN_FILE": str(tmp_path / "none")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("natix-miner: HF_TOKEN_FILE: ")
    assert "Traceback" not in done.stderr
