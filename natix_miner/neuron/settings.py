"""Every option of `natix-miner run`, from flag, environment or env file, checked once.

A flag wins over the environment, the environment over the env file, that over the default. The
names in the environment are those that operators of this subnet know from their miner.env."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from natix_miner.errors import ConfigurationError
from natix_miner.neuron.secret_files import value_of


class RunSettings(BaseModel):
    """How one miner process runs. Frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Path = Path("configs/embedded.yaml")
    wallet_name: str = Field(default="default", min_length=1)
    wallet_hotkey: str = Field(default="default", min_length=1)
    wallet_path: str = Field(default="~/.bittensor/wallets", min_length=1)
    netuid: int = Field(default=72, ge=0, le=65535)
    network: str = Field(default="finney", min_length=1)
    chain_endpoint: str | None = None
    chain_snapshot: Path | None = None
    axon_host: str = Field(default="0.0.0.0", min_length=1)
    axon_port: int = Field(default=8091, ge=0, le=65535)
    external_ip: str | None = None
    external_port: int | None = Field(default=None, ge=1, le=65535)
    allow_private_address: bool = False
    publish_axon: bool = True
    force_validator_permit: bool = True
    max_body_megabytes: PositiveFloat | None = None
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    journal: Path | None = None
    otlp_endpoint: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_file: Path | None = Path("out/miner/miner.jsonl")
    state_dir: Path = Path("out/miner")


@dataclass(frozen=True, slots=True)
class Option:
    """How one field of RunSettings is called outside."""

    field: str
    variables: tuple[str, ...]

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return "--" + self.field.replace("_", "-")


#: First name: the one operators know. Others: aliases that are read too.
OPTIONS: tuple[Option, ...] = (
    Option("profile", ("MINER_PROFILE",)),
    Option("wallet_name", ("WALLET_NAME",)),
    Option("wallet_hotkey", ("WALLET_HOTKEY",)),
    Option("wallet_path", ("WALLET_PATH",)),
    Option("netuid", ("NETUID",)),
    Option("network", ("SUBTENSOR_NETWORK",)),
    Option("chain_endpoint", ("SUBTENSOR_CHAIN_ENDPOINT",)),
    Option("chain_snapshot", ("MINER_CHAIN_SNAPSHOT",)),
    Option("axon_host", ("MINER_AXON_HOST",)),
    Option("axon_port", ("MINER_AXON_PORT",)),
    Option("external_ip", ("AXON_EXTERNAL_IP",)),
    Option("external_port", ("AXON_EXTERNAL_PORT",)),
    Option("allow_private_address", ("MINER_ALLOW_PRIVATE_ADDRESS",)),
    Option("publish_axon", ("MINER_PUBLISH_AXON",)),
    Option("force_validator_permit", ("BLACKLIST_FORCE_VALIDATOR_PERMIT",)),
    Option("max_body_megabytes", ("MINER_MAX_BODY_MEGABYTES",)),
    Option("metrics_port", ("MINER_METRICS_PORT",)),
    Option("metrics_host", ("MINER_METRICS_HOST",)),
    Option("journal", ("MINER_JOURNAL",)),
    Option("otlp_endpoint", ("OTEL_EXPORTER_OTLP_ENDPOINT",)),
    Option("log_level", ("MINER_LOG_LEVEL",)),
    Option("log_file", ("MINER_LOG_FILE",)),
    Option("state_dir", ("MINER_STATE_DIR",)),
)


def read_env_file(path: Path) -> dict[str, str]:
    """The assignments of a dotenv file (`NAME=value`, quotes, `export`, comments); nothing is
    substituted. Raises ConfigurationError when it cannot be read."""
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8") as stream:
            values = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"env file {path} cannot be read ({error}); give another --env-file"
        ) from error
    return {name: value for name, value in values.items() if value is not None}


def resolve_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], env_file: Path | None
) -> RunSettings:
    """One RunSettings from all three places.

    `flags` holds the fields given on the command line (None: not given). An empty variable counts
    as not set, and NAME_FILE names a file that holds the value of NAME. Variables that are not ours
    are left alone: the environment is full of them.

    Raises ConfigurationError that names the flag or variable, its value and where it stood.
    """
    from_file = read_env_file(env_file) if env_file is not None else {}
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for option in OPTIONS:
        flag = flags.get(option.field)
        if flag is not None:
            values[option.field], origin[option.field] = flag, option.flag
            continue
        for place, where in ((environment, "in the environment"), (from_file, f"in {env_file}")):
            found = next(filter(None, (value_of(name, place) for name in option.variables)), None)
            if found is not None:
                values[option.field] = found[0]
                origin[option.field] = f"{found[1]} {where}"
                break
    try:
        return RunSettings(**values)
    except ValidationError as error:
        faults = [
            f"{origin.get(str(fault['loc'][0]), fault['loc'][0])}: {fault['msg']}"
            f" (it is {fault['input']!r})"
            for fault in error.errors(include_url=False)
        ]
        raise ConfigurationError("; ".join(faults)) from None
