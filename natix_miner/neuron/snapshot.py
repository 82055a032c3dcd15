"""What the chain said at one block: who is registered on the subnet and what they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from natix_miner.atomic import write_whole
from natix_miner.errors import SnapshotError


@dataclass(frozen=True, slots=True)
class Neuron:
    """One UID. `stake` in alpha, `incentive` in [0, 1], `emission` in alpha per tempo; `ip` is
    "0.0.0.0" and `port` 0 when it serves no axon; `last_update` is the block at which it set
    weights last, None when that is not told."""

    uid: int
    hotkey: str
    stake: float
    validator_permit: bool
    ip: str
    port: int
    incentive: float
    emission: float
    last_update: int | None = None


@dataclass(frozen=True, slots=True)
class ChainSnapshot:
    """All neurons of one subnet at one block. Never changes; a newer one takes its place.

    `time` is the block's own time in unix seconds, None when nobody asked for it."""

    netuid: int
    block: int
    neurons: tuple[Neuron, ...]
    time: float | None = None
    _by_hotkey: dict[str, Neuron] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = {neuron.hotkey: neuron for neuron in self.neurons}
        object.__setattr__(self, "_by_hotkey", table)

    def neuron_of(self, hotkey: str) -> Neuron | None:
        """The neuron of a hotkey (SS58), or None when it is not registered."""
        return self._by_hotkey.get(hotkey)


class _NeuronRow(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    uid: int = Field(ge=0)
    hotkey: str = Field(min_length=1)
    stake: float = 0.0
    validator_permit: bool
    ip: str = "0.0.0.0"
    port: int = Field(default=0, ge=0, le=65535)
    incentive: float = 0.0
    emission: float = 0.0
    last_update: int | None = Field(default=None, ge=0)


class _SnapshotFile(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    netuid: int = Field(ge=0)
    block: int = Field(ge=0)
    time: float | None = Field(default=None, ge=0)
    neurons: list[_NeuronRow]


def read_snapshot(path: Path) -> ChainSnapshot:
    """A snapshot from a JSON file; raises SnapshotError when it is missing or not one."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SnapshotError(
            f"chain snapshot {path} cannot be read ({error.strerror}); give a JSON file with"
            " netuid, block and neurons"
        ) from error
    try:
        parsed = _SnapshotFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise SnapshotError(
            f"chain snapshot {path} is not valid: {where}: {first['msg']}; it needs netuid, block"
            " and neurons (uid, hotkey, stake, validator_permit, ip, port, incentive, emission)"
        ) from None
    neurons = tuple(Neuron(**row.model_dump()) for row in parsed.neurons)
    return ChainSnapshot(parsed.netuid, parsed.block, neurons, parsed.time)


def write_snapshot(snapshot: ChainSnapshot, path: Path) -> None:
    """Keep a snapshot as JSON; the file is replaced as a whole or not at all. Raises OSError."""
    document = {
        "netuid": snapshot.netuid,
        "block": snapshot.block,
        "time": snapshot.time,
        "neurons": [asdict(neuron) for neuron in snapshot.neurons],
    }
    write_whole(path, json.dumps(document))
