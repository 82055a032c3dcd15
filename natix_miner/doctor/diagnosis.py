"""All checks of one miner in their order, each with what it depends on.

What one check finds out (the profile, the keys, the chain's word) is there for those after it;
where it could not be found out, they are skipped and say which row tells why."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from natix_miner.clock import SYSTEM_CLOCK, Clock
from natix_miner.doctor import judging, machine, network, places
from natix_miner.doctor.chain import Ask, ask_chain
from natix_miner.doctor.chain_word import OFFLINE, ChainWord
from natix_miner.doctor.examine import Check
from natix_miner.doctor.journal import check_journal
from natix_miner.doctor.models import check_models
from natix_miner.doctor.profiles import (
    check_planner,
    check_profile,
    gpus_of_experts,
    gpus_of_servers,
)
from natix_miner.doctor.row import Finding, Status, skipped
from natix_miner.doctor.wallet import check_wallet
from natix_miner.neuron.publish import discover_external_ip
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.wallet import MinerKeys, open_wallet
from natix_miner.profile import NeuronLimits, Profile, load_profile

_NOT_ACCEPTED = "terms of its models are not accepted, see the row profile"
_EXTERNAL_IP_SECONDS = 20.0
#: Seconds for hashing fetched models: about 100 GB from a fast disk.
_HASH_SECONDS = 900.0
_LOAD_SECONDS = 300.0
#: What rotated logs come to: ten of 50 MB.
_LOG_BYTES = 0.5e9


@dataclass(frozen=True, slots=True)
class Options:
    """How to look. `pictures` is the folder of the trial queries, `constraints` the file with the
    versions that were tested together."""

    pictures: Path
    offline: bool = False
    start_servers: bool = False
    constraints: Path = Path("constraints.txt")


class Diagnosis:
    """The checks of one miner with these settings. `ask` stands for the chain's connections."""

    def __init__(
        self,
        settings: RunSettings,
        options: Options,
        *,
        clock: Clock = SYSTEM_CLOCK,
        ask: Ask | None = None,
    ) -> None:
        self._settings = settings
        self._options = options
        self._word = ChainWord(settings, options.offline, clock, ask or ask_chain(settings.netuid))
        self._profile: Profile | None = None
        self._accepted = False
        self._servers_up = False
        self._keys: MinerKeys | None = None
        self._external: str | None = settings.external_ip

    def checks(self) -> tuple[Check, ...]:
        """In the order of the table. They share what they find out: run each once, in order."""
        settings = self._settings
        return (
            Check("python", _python),
            Check("packages", partial(_packages, self._options.constraints)),
            Check("profile", self._look_at_profile),
            Check("gpu", self._with_profile(_gpu), 90.0),
            Check("disk", self._disk),
            Check("wallet", self._wallet),
            Check(
                "port",
                lambda: network.check_port(settings.axon_host, settings.axon_port, "--axon-port"),
            ),
            Check(
                "metrics-port",
                lambda: network.check_metrics_port(settings.metrics_host, settings.metrics_port),
            ),
            Check("external-address", self._external_address, _EXTERNAL_IP_SECONDS + 15.0),
            Check("reachable", self._reachable),
            Check("chain", self._chain, 600.0),
            Check("clock", self._word.clock),
            Check("registration", lambda: self._word.registration(self._keys)),
            Check("subnet", self._word.subnet),
            Check("models", self._with_profile(check_models), _HASH_SECONDS),
            Check("planner", self._with_profile(check_planner), 60.0),
            Check("servers", self._with_profile(self._servers), self._patience()),
            Check("deadline", self._with_profile(self._deadline), _LOAD_SECONDS + self._patience()),
            Check("journal", self._journal),
            Check("log-file", lambda: places.check_writable_file(settings.log_file, "--log-file")),
            Check(
                "state-dir", lambda: places.check_writable_folder(settings.state_dir, "--state-dir")
            ),
        )

    def _patience(self) -> float:
        return 3600.0 if self._options.start_servers else 60.0

    def _with_profile(self, look: Callable[[Profile], Finding]) -> Callable[[], Finding]:
        def checked() -> Finding:
            if self._profile is None:
                return skipped("the profile cannot be used, see the row profile")
            return look(self._profile)

        return checked

    def _look_at_profile(self) -> Finding:
        self._profile = load_profile(self._settings.profile)
        finding = check_profile(self._profile)
        self._accepted = True
        return finding

    def _disk(self) -> Finding:
        settings, profile = self._settings, self._profile
        wanted = {"state": (settings.state_dir, 0.0)}
        if settings.log_file is not None:
            wanted["log"] = (settings.log_file, _LOG_BYTES)
        if profile is not None:
            wanted["models"] = (profile.path(profile.catalogue).parent, 0.0)
        if profile is not None and profile.journal.enabled:
            path = settings.journal or profile.journal.path
            held = path.stat().st_size if path.is_file() else 0
            growth = max(0.0, profile.journal.keep_gigabytes * 1e9 - held)
            wanted["journal"] = (path, growth)
        return places.check_disk(wanted)

    def _wallet(self) -> Finding:
        settings = self._settings
        self._keys = open_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
        folder = Path(settings.wallet_path).expanduser() / settings.wallet_name
        publishes = settings.publish_axon and settings.chain_snapshot is None
        return check_wallet(self._keys, folder, settings.wallet_hotkey, publishes)

    def _external_address(self) -> Finding:
        settings = self._settings
        why_not = ""
        if self._external is None:
            if settings.chain_snapshot is not None:
                why_not = "a snapshot file stands for the chain: nothing is published"
            elif not settings.publish_axon:
                why_not = "--no-publish-axon: nothing is published"
            elif self._options.offline:
                why_not = f"{OFFLINE}; give --external-ip to have it checked"
            else:
                self._external = discover_external_ip(_EXTERNAL_IP_SECONDS)
        port = settings.external_port or settings.axon_port or 1
        return network.check_external_ip(
            self._external, port, settings.allow_private_address, why_not
        )

    def _reachable(self) -> Finding:
        settings = self._settings
        port = settings.external_port or settings.axon_port
        return network.check_reachable(
            settings.axon_host, port, self._external, network.own_address
        )

    def _chain(self) -> Finding:
        limits = self._profile.neuron if self._profile else NeuronLimits()
        return self._word.look(limits.chain_timeout_seconds)

    def _servers(self, profile: Profile) -> Finding:
        if not self._accepted:
            return skipped(_NOT_ACCEPTED)
        finding = judging.check_servers(profile, self._options.start_servers)
        self._servers_up = finding.status is Status.OK
        return finding

    def _deadline(self, profile: Profile) -> Finding:
        if not self._accepted:
            return skipped(_NOT_ACCEPTED)
        return judging.check_deadline(profile, self._options.pictures, self._servers_up)

    def _journal(self) -> Finding:
        path = self._settings.journal
        if self._profile is not None:
            if not self._profile.journal.enabled:
                return skipped("the profile keeps none")
            path = path or self._profile.journal.path
        if path is None:
            return skipped("the profile cannot be used, see the row profile")
        return check_journal(path)


def _python() -> Finding:
    return machine.check_python(platform.python_version(), machine.requires_python_here())


def _packages(constraints: Path) -> Finding:
    return machine.check_packages(
        machine.requirements_here(), machine.version_of, machine.read_constraints(constraints)
    )


def _gpu(profile: Profile) -> Finding:
    servers, experts = gpus_of_servers(profile), gpus_of_experts(profile)
    return machine.check_gpu(servers, experts, machine.gpus_told, _torch_gpus)


def _torch_gpus() -> int:
    import torch

    return int(torch.cuda.device_count())
