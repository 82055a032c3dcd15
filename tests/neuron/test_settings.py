"""Flag over environment over file over default, and errors that say where the value stood."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from natix_miner.errors import ConfigurationError
from natix_miner.neuron.settings import OPTIONS, RunSettings, resolve_settings

OPERATORS_FILE = """\
# what operators of this subnet have
export NETUID=323
SUBTENSOR_NETWORK="test"
SUBTENSOR_CHAIN_ENDPOINT='wss://test.example:443'   # comment
WALLET_NAME=from-file
WALLET_HOTKEY=hot
MINER_AXON_PORT=9000
BLACKLIST_FORCE_VALIDATOR_PERMIT=False
IMAGE_DETECTOR_DEVICE=cpu
"""


@pytest.fixture
def env_file(tmp_path):
    path = tmp_path / "miner.env"
    path.write_text(OPERATORS_FILE)
    return path


def test_defaults_stand_where_nothing_is_said():
    settings = resolve_settings({}, {}, None)
    assert settings == RunSettings()
    assert (settings.netuid, settings.network, settings.axon_port) == (72, "finney", 8091)
    assert settings.force_validator_permit


def test_the_file_that_operators_have_is_understood(env_file):
    settings = resolve_settings({}, {}, env_file)
    assert settings.netuid == 323
    assert settings.network == "test"
    assert settings.chain_endpoint == "wss://test.example:443"
    assert (settings.wallet_name, settings.wallet_hotkey) == ("from-file", "hot")
    assert settings.axon_port == 9000
    assert settings.force_validator_permit is False


def test_flag_beats_environment_beats_file(env_file):
    environment = {"WALLET_NAME": "from-environment", "NETUID": "72", "WALLET_HOTKEY": ""}
    flags = {"wallet_name": "from-flag", "netuid": None}

    settings = resolve_settings(flags, environment, env_file)

    assert settings.wallet_name == "from-flag"
    assert settings.netuid == 72
    assert settings.wallet_hotkey == "hot"  # an empty variable is none


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        ({"axon_port": "many"}, {}, ["--axon-port", "'many'"]),
        ({}, {"MINER_AXON_PORT": "70000"}, ["MINER_AXON_PORT in the environment", "'70000'"]),
        ({}, {"BLACKLIST_FORCE_VALIDATOR_PERMIT": "perhaps"}, ["BLACKLIST_FORCE", "'perhaps'"]),
        ({"netuid": "-1"}, {}, ["--netuid", "'-1'"]),
        ({"log_level": "loud"}, {}, ["--log-level", "'loud'"]),
    ],
)
def test_a_wrong_value_is_named_with_its_place(flags, environment, said):
    with pytest.raises(ConfigurationError) as error:
        resolve_settings(flags, environment, None)
    for part in said:
        assert part in str(error.value)


def test_a_wrong_value_in_the_file_is_named_with_the_file(env_file):
    env_file.write_text("MINER_AXON_PORT=axon\n")
    with pytest.raises(ConfigurationError, match=r"MINER_AXON_PORT in .*miner\.env"):
        resolve_settings({}, {}, env_file)


def test_a_missing_file_is_named():
    with pytest.raises(ConfigurationError, match=r"env file /nowhere/miner\.env"):
        resolve_settings({}, {}, Path("/nowhere/miner.env"))


def test_every_option_has_a_flag_a_variable_and_a_line_in_the_documents():
    from natix_miner.cli.run import run

    text = (Path(__file__).parent.parent.parent / "docs" / "running.md").read_text()
    flags = set(inspect.signature(run).parameters) - {"env_file"}
    assert {option.field for option in OPTIONS} == set(RunSettings.model_fields) == flags
    for option in OPTIONS:
        assert f"`{option.flag}`" in text
        assert f"`{option.variables[0]}`" in text
