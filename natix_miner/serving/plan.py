"""A plan: which server takes how much of which GPU, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass

from natix_miner.errors import PlanError
from natix_miner.serving.memory import Need


@dataclass(frozen=True, slots=True)
class Share:
    """What one server takes of one GPU, in bytes."""

    server: str
    model: str
    need: Need


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU: `total` bytes, `others` that something else takes, and what servers take."""

    index: int
    total: float
    others: float
    shares: tuple[Share, ...]

    @property
    def used(self) -> float:
        """Bytes taken by all."""
        return self.others + sum(share.need.total for share in self.shares)

    @property
    def left(self) -> float:
        """Bytes left; negative where it does not fit."""
        return self.total - self.used


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a plan does not fit. `certain`: it fails whatever the estimates of activations, graphs
    and context are worth. `remedies` are what would fit."""

    server: str
    message: str
    certain: bool
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InMemory:
    """A server on the CPU: bytes of main memory, by a rough estimate."""

    server: str
    model: str
    weights: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything sits. `elsewhere` are servers that others run."""

    cards: tuple[Card, ...]
    in_memory: tuple[InMemory, ...] = ()
    ram: float | None = None
    elsewhere: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.faults


def refuse_impossible(plan: Plan) -> None:
    """Raise PlanError with every certain fault; to be asked before anything is started."""
    lines = []
    for fault in plan.faults:
        if fault.certain:
            lines.append(f"{fault.server}: {fault.message}")
            lines += [f"  would fit: {remedy}" for remedy in fault.remedies]
    if lines:
        raise PlanError("the servers of this profile cannot run here:\n" + "\n".join(lines))
