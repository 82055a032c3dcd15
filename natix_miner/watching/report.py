"""The values that `natix-miner status` is made of. None stands for what could not be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class MinerPart:
    """The process: `why` says why it counts as not running; `since` is unix seconds."""

    url: str | None
    running: bool
    why: str | None = None
    ready: bool | None = None
    since: float | None = None
    version: str | None = None
    profile: str | None = None
    digest: str | None = None
    in_flight: int | None = None
    queries_last_hour: int | None = None


@dataclass(frozen=True, slots=True)
class QueryWindow:
    """Queries of one stretch of time ("hour", "day", "all", or "start" from the metrics).

    `answered` + `no_answer` + `picture_errors` = `queries`; where the two latter cannot be told
    apart both are None. `late` were ready after their deadline."""

    name: Literal["hour", "day", "all", "start"]
    queries: int
    answered: int
    no_answer: int | None = None
    picture_errors: int | None = None
    late: int | None = None

    @property
    def answer_rate(self) -> float | None:
        """Share of the queries that got a probability, in [0, 1]."""
        return self.answered / self.queries if self.queries else None


@dataclass(frozen=True, slots=True)
class ValidatorPart:
    """What one hotkey asked ("-": nobody named; `queries`: ever) and how its validator would pay.

    `reward` is the mean over the last `labelled` queries with a label, `mcc` and `accuracy` those
    of the validator's windows now; None without labels."""

    hotkey: str
    windows: tuple[QueryWindow, ...]
    queries: int
    labelled: int = 0
    reward: float | None = None
    mcc: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class LatencyPart:
    """Seconds from arrival to answer; `source` is "journal" (exact, over `queries` of the newest)
    or "metrics" (from the histogram's buckets, since the start)."""

    source: Literal["journal", "metrics"]
    queries: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class ExpertPart:
    """One expert: shares of its statuses in [0, 1], median seconds, how it stands to the fit."""

    name: str
    asked: int
    statuses: dict[str, float]
    seconds: float | None = None
    agreement: float | None = None
    missing: float | None = None
    reliability: float | None = None
    drifted: bool | None = None
    breaker_open: bool | None = None


@dataclass(frozen=True, slots=True)
class ServerPart:
    """One server of vision-language models."""

    name: str
    up: bool
    state: str | None
    restarts: int | None
    requests: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JournalPart:
    """The journal: `why` says why it could not be read; sizes in bytes, times in unix seconds."""

    path: str | None
    why: str | None = None
    queries: int | None = None
    labelled: int | None = None
    pictures: int | None = None
    used_bytes: int | None = None
    first: float | None = None
    last: float | None = None
    queue: int | None = None
    losses: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChainPart:
    """What the chain says of us: `age_seconds` since the miner last heard it, or (miner not
    running) since the snapshot's file was written; emission in alpha per tempo."""

    netuid: int
    snapshot: str | None = None
    why: str | None = None
    state: str | None = None
    block: int | None = None
    age_seconds: float | None = None
    uid: int | None = None
    registered: bool | None = None
    incentive: float | None = None
    emission: float | None = None
    axon: str | None = None


@dataclass(frozen=True, slots=True)
class SubnetPart:
    """Whether the subnet pays: one of SubnetWord's words and a sentence."""

    word: str
    reason: str | None = None
    validators: int | None = None
    paid_miners: int | None = None
    newest_update_blocks: int | None = None
    largest_share: float | None = None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """All of it, at one moment (`at`, unix seconds). `sentences` say it in plain words, the most
    important first; `looked_at` is how many of the newest journal entries experts, levels and
    latency were read from."""

    at: float
    miner: MinerPart
    windows: tuple[QueryWindow, ...]
    validators: tuple[ValidatorPart, ...]
    latency: LatencyPart | None
    levels: dict[str, int]
    experts: tuple[ExpertPart, ...]
    servers: tuple[ServerPart, ...]
    refusals: dict[str, int]
    journal: JournalPart
    chain: ChainPart
    subnet: SubnetPart
    looked_at: int = 0
    sentences: tuple[str, ...] = ()
