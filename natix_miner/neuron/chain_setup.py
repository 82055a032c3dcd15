"""From settings to a running watch on the chain, and to what publishes the axon there."""

from __future__ import annotations

import random
from collections.abc import Callable

from natix_miner.clock import Clock
from natix_miner.neuron.chain import ChainWatch, Pace
from natix_miner.neuron.publish import Publisher, check_external_address, discover_external_ip
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.sources import FileSource
from natix_miner.neuron.subtensor import SubtensorSource, endpoints_of
from natix_miner.neuron.wallet import MinerKeys
from natix_miner.sections import NeuronLimits

_FILE_SECONDS = 1.0
_EXTERNAL_IP_SECONDS = 20.0


def start_chain(
    settings: RunSettings,
    limits: NeuronLimits,
    keys: MinerKeys,
    port: int,
    clock: Clock,
    rng: random.Random,
) -> ChainWatch:
    """A started watch: on the snapshot file when there is one, else on the chain.

    `port` is the one that the axon listens on. Raises SnapshotError for a file that is broken now
    (later faults of it are told and waited out), AddressError for an address that is not worth
    publishing.
    """
    if settings.chain_snapshot is not None:
        FileSource(settings.chain_snapshot, settings.netuid).fetch()
        source = FileSource(settings.chain_snapshot, settings.netuid)
        pace = Pace(_FILE_SECONDS, _FILE_SECONDS)
        watch = ChainWatch(source, pace, clock, rng, keys.address)
        watch.refresh_once()
        watch.start()
        return watch
    endpoints = endpoints_of(settings.network, settings.chain_endpoint)
    chain = SubtensorSource(endpoints, settings.netuid, limits.chain_timeout_seconds)
    watch = ChainWatch(
        chain,
        Pace(limits.chain_refresh_seconds),
        clock,
        rng,
        keys.address,
        keep_at=settings.state_dir / f"chain-{settings.netuid}.json",
        after_fetch=_publisher(settings, keys, chain, port, clock),
    )
    watch.use_kept(settings.netuid)
    watch.start()
    return watch


def _publisher(
    settings: RunSettings, keys: MinerKeys, chain: SubtensorSource, port: int, clock: Clock
) -> Callable[[ChainSnapshot], None] | None:
    if not settings.publish_axon:
        return None
    external_port = settings.external_port or port
    given = settings.external_ip

    def external_ip() -> str:
        return given if given is not None else discover_external_ip(_EXTERNAL_IP_SECONDS)

    if given is not None:
        check_external_address(given, external_port, settings.allow_private_address)
    return Publisher(
        chain,
        keys.wallet,
        keys.address,
        external_ip=external_ip,
        external_port=external_port,
        allow_private=settings.allow_private_address,
        clock=clock,
    ).after_fetch
