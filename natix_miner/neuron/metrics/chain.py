"""Collector of what the chain says of us and of the subnet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from natix_miner.neuron.chain import ChainState
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.subnet_state import SubnetWord, state_of

#: Shown for an age or a uid that there is none of.
NONE = -1.0


class WatchedChain(Protocol):
    """The part of `chain.ChainWatch` that is read here."""

    state: ChainState

    @property
    def snapshot(self) -> ChainSnapshot | None:
        """The snapshot in use."""
        ...

    def age_seconds(self) -> float | None:
        """Seconds since it was confirmed, None when it never was."""
        ...


class ChainCollector(Collector):
    """natix_chain_*, natix_registered, natix_uid, natix_incentive, natix_emission,
    natix_subnet_state and natix_validators_permitted.

    The last two and our own incentive and emission have no sample before there is a snapshot, the
    latter none while we are not registered either: a 0 would be a statement.
    """

    def __init__(self, chain: WatchedChain, own_hotkey: str) -> None:
        self._chain = chain
        self._own_hotkey = own_hotkey

    def collect(self) -> Iterable[Metric]:
        age = self._chain.age_seconds()
        yield _gauge("natix_chain_snapshot_age_seconds", "Since the chain answered", age, NONE)
        states = GaugeMetricFamily(
            "natix_chain_state", "1 for the state of the snapshot in use", labels=["state"]
        )
        for state in ChainState:
            states.add_metric([state.value], float(state is self._chain.state))
        yield states
        snapshot = self._chain.snapshot
        yield from self._ourselves(snapshot)
        yield from _subnet(snapshot)

    def _ourselves(self, snapshot: ChainSnapshot | None) -> Iterator[Metric]:
        own = snapshot.neuron_of(self._own_hotkey) if snapshot else None
        yield _gauge("natix_registered", "1 when our hotkey has a uid", float(own is not None))
        yield _gauge("natix_uid", "Our uid", float(own.uid) if own else None, NONE)
        yield _gauge("natix_incentive", "Our incentive, 0 to 1", own.incentive if own else None)
        yield _gauge(
            "natix_emission", "Our emission, alpha per tempo", own.emission if own else None
        )


def _subnet(snapshot: ChainSnapshot | None) -> Iterator[Metric]:
    state = state_of(snapshot) if snapshot else None
    words = GaugeMetricFamily("natix_subnet_state", "1 for what the subnet does", labels=["state"])
    for word in SubnetWord if state else ():
        words.add_metric([word.value], float(state is not None and word is state.word))
    yield words
    validators = None if state is None else float(state.validators)
    yield _gauge("natix_validators_permitted", "Validators with a permit", validators)


def _gauge(name: str, what: str, value: float | None, otherwise: float | None = None) -> Metric:
    family = GaugeMetricFamily(name, what)
    shown = otherwise if value is None else value
    if shown is not None:
        family.add_metric([], shown)
    return family
