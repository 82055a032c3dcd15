"""The chain's word, asked once, and the rows that are read off it."""

from __future__ import annotations

from natix_miner.clock import Clock
from natix_miner.doctor import subnet
from natix_miner.doctor.chain import Ask, ChainFacts, facts_of_file, look_at_chain
from natix_miner.doctor.row import Finding, ok, skipped
from natix_miner.errors import ConfigurationError
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.subtensor import endpoints_of
from natix_miner.neuron.wallet import MinerKeys

OFFLINE = "--offline: nothing is asked over the network"


class ChainWord:
    """What a snapshot file or the chain itself says. `look` first; the other rows say so where it
    told nothing."""

    def __init__(self, settings: RunSettings, offline: bool, clock: Clock, ask: Ask) -> None:
        self._settings = settings
        self._offline = offline
        self._clock = clock
        self._ask = ask
        self._facts: ChainFacts | None = None

    def look(self, seconds: float) -> Finding:
        """Ask, each call for at most `seconds`. Raises ChainError, ConfigurationError."""
        settings = self._settings
        if settings.chain_snapshot is not None:
            self._facts = facts_of_file(settings.chain_snapshot, settings.netuid)
            block = self._facts.snapshot.block
            return ok(f"file {settings.chain_snapshot} stands for the chain, block {block}")
        if self._offline:
            return skipped(OFFLINE)
        endpoints = endpoints_of(settings.network, settings.chain_endpoint)
        if not endpoints:
            raise ConfigurationError("--chain-endpoint names no endpoint; give one")
        finding, self._facts = look_at_chain(
            endpoints, settings.netuid, self._ask, seconds, self._clock
        )
        return finding

    def clock(self) -> Finding:
        """This machine's clock against that of the block."""
        if self._facts is None or self._facts.snapshot.time is None:
            return subnet.check_clock_offline(subnet.synchronised_here())
        return subnet.check_clock(self._facts)

    def registration(self, keys: MinerKeys | None) -> Finding:
        """Whether the hotkey is on the subnet."""
        if self._facts is None:
            return self._nothing()
        if keys is None:
            return skipped("no hotkey, see the row wallet")
        return subnet.check_registration(keys.address, self._facts)

    def subnet(self) -> Finding:
        """Whether the subnet lives."""
        return subnet.check_subnet(self._facts.snapshot) if self._facts else self._nothing()

    def _nothing(self) -> Finding:
        offline = self._offline and self._settings.chain_snapshot is None
        return skipped(OFFLINE if offline else "the chain did not tell, see the row chain")
