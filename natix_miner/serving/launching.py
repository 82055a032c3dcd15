"""How each start of a server is prepared: its model found, its command made, its key drawn."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from natix_miner.catalogue import resolve_model
from natix_miner.errors import ConfigurationError
from natix_miner.serving.command import LOOPBACK, command_of, environment_of, find_executable
from natix_miner.serving.settings import ServerSettings
from natix_miner.serving.state import LaunchPlan

_KEY_BYTES = 32
#: What the miner knows and its servers need not: names of wallets and of validators' settings.
_OURS = ("WALLET_", "MINER_", "SUBTENSOR_", "AXON_", "BLACKLIST_", "OTEL_")


@dataclass(frozen=True, slots=True)
class Launching:
    """Where servers are launched from: relative paths count from `folder`, where the profile lies;
    `catalogue` is the file; `environment` is what they inherit, without the miner's own names."""

    folder: Path
    catalogue: Path
    environment: Mapping[str, str]

    @classmethod
    def here(cls, folder: Path, catalogue: Path) -> Launching:
        """With the environment of this process."""
        return cls(folder, catalogue, dict(os.environ))

    def prepare(self, name: str, settings: ServerSettings, port: int) -> LaunchPlan:
        """The plan for one start of a server on a free `port` (not used for a remote one).

        Reads files. Raises CatalogueError, ServerCommandError or ConfigurationError.
        """
        if settings.base_url is not None:
            key = self._key_of(name, settings)
            return LaunchPlan(settings.base_url, settings.model, key)
        model = resolve_model(
            settings.model, settings.revision, catalogue=self.catalogue, folder=self.folder
        )
        key = secrets.token_urlsafe(_KEY_BYTES)
        command = command_of(
            settings,
            executable=find_executable(settings, self.folder),
            model=model.location,
            revision=model.revision,
            served_name=model.served_name,
            port=port,
            api_key=key,
        )
        inherited = {
            variable: value
            for variable, value in self.environment.items()
            if not variable.startswith(_OURS)
        }
        return LaunchPlan(
            f"http://{LOOPBACK}:{port}",
            model.served_name,
            key,
            command,
            inherited | environment_of(settings, api_key=key, local=model.local),
        )

    def _key_of(self, name: str, settings: ServerSettings) -> str | None:
        if settings.api_key_file is None:
            return None
        path = self.folder / settings.api_key_file
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"server {name!r}: its key cannot be read from {path} ({error})"
            ) from error
