"""What the chain says of the subnet and of us, from a snapshot and from the miner's metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from natix_miner.neuron import ChainSnapshot, RunSettings, read_snapshot
from natix_miner.neuron.subnet_state import SubnetWord, state_of
from natix_miner.watching.report import ChainPart, SubnetPart

if TYPE_CHECKING:
    from natix_miner.watching.samples import Samples


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot file: the snapshot (None: `why` not), and how old the file is in seconds."""

    path: Path
    snapshot: ChainSnapshot | None = None
    age_seconds: float | None = None
    why: str | None = None


def read_kept(settings: RunSettings, now: float) -> Kept:
    """The snapshot that a miner with these settings works with, or kept at its last run."""
    from natix_miner.errors import SnapshotError

    path = settings.chain_snapshot or settings.state_dir / f"chain-{settings.netuid}.json"
    try:
        snapshot = read_snapshot(path)
        age = max(0.0, now - path.stat().st_mtime)
    except FileNotFoundError as error:  # gone between the two
        return Kept(path, why=str(error))
    except SnapshotError as error:
        return Kept(path, why=str(error))
    if snapshot.netuid != settings.netuid:
        return Kept(path, why=f"{path} is of subnet {snapshot.netuid}, not {settings.netuid}")
    return Kept(path, snapshot, age)


def chain_part(kept: Kept, samples: Samples | None, netuid: int) -> ChainPart:
    """Our place on the chain: the metrics first, the snapshot where they are silent."""
    told = samples.one if samples is not None else lambda name: None
    uid = told("natix_uid")
    uid = None if uid is None or uid < 0 else int(uid)
    snapshot = kept.snapshot
    mine = None
    if snapshot is not None and uid is not None:
        mine = next((neuron for neuron in snapshot.neurons if neuron.uid == uid), None)
    registered = told("natix_registered")
    age = told("natix_chain_snapshot_age_seconds")
    if samples is None:
        age = kept.age_seconds
    elif age is not None and age < 0:  # nothing heard from the chain yet
        age = None
    incentive, emission = told("natix_incentive"), told("natix_emission")
    return ChainPart(
        netuid=netuid,
        snapshot=str(kept.path),
        why=kept.why,
        state=None if samples is None else samples.word("natix_chain_state", "state"),
        block=None if snapshot is None else snapshot.block,
        age_seconds=age,
        uid=uid,
        registered=None if registered is None else registered == 1.0,
        incentive=mine.incentive if incentive is None and mine else incentive,
        emission=mine.emission if emission is None and mine else emission,
        axon=None if mine is None else f"{mine.ip}:{mine.port}",
    )


def subnet_part(kept: Kept, samples: Samples | None) -> SubnetPart:
    """Whether the subnet pays: by the snapshot, or else by the word in the metrics."""
    if kept.snapshot is None:
        word = None if samples is None else samples.word("natix_subnet_state", "state")
        validators = None if samples is None else samples.one("natix_validators_permitted")
        return SubnetPart(
            word=word or SubnetWord.UNKNOWN,
            reason=None if word else "there is no snapshot of the chain to tell it from",
            validators=None if validators is None else int(validators),
        )
    state = state_of(kept.snapshot)
    return SubnetPart(
        word=state.word,
        reason=state.reason,
        validators=state.validators,
        paid_miners=state.paid_miners,
        newest_update_blocks=state.newest_update_blocks,
        largest_share=state.largest_share,
    )
