"""Do the servers of a profile fit the GPUs: what sits where, what is left, and why not.

The memory of one server is the formula in `memory`. vLLM has two rules of its own (0.32,
`request_memory` and `determine_available_memory`), and both are checked here:

1. When a server starts, total x gpu_memory_utilization of the GPU must be free, also where
   `kv_cache_memory_bytes` is set. Servers start one after another, in the order of the profile.
2. Without `kv_cache_memory_bytes` the cache is total x gpu_memory_utilization - W - A - G - C, and
   it must hold one sequence of the longest length.

So servers that share a GPU need both settings, and here the share must cover W + K + A + G + C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from natix_miner.serving.memory import GB, ModelSize, cache_needed, need_of
from natix_miner.serving.plan import Card, Fault, InMemory, Plan, Share
from natix_miner.serving.rules import Verdict, cannot, gb, verdict_on
from natix_miner.serving.settings import ServerSettings
from natix_miner.serving.sizes import Unplannable

#: What an engine process on a CPU takes besides weights and cache: measured 1.6 to 1.8 GB.
CPU_PROCESS = 1.7 * GB
#: What vLLM's CPU build takes for its cache when nothing is said.
CPU_CACHE = 4.0 * 2**30


@dataclass(slots=True)
class _Table:
    """A plan while it is filled."""

    totals: list[float]
    others: list[float]
    shares: list[list[Share]] = field(default_factory=list)
    in_memory: list[InMemory] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def card(self, index: int) -> Card:
        return Card(index, self.totals[index], self.others[index], tuple(self.shares[index]))


def plan_of(
    servers: Mapping[str, ServerSettings],
    sizes: Mapping[str, ModelSize | Unplannable],
    gpus_gb: Sequence[float],
    *,
    others_gb: Mapping[int, float] | None = None,
    ram_gb: float | None = None,
) -> Plan:
    """Place the servers, in the order in which they start, on GPUs of so many GB (10^9 bytes).

    `others_gb` is what else takes memory of a GPU, by its index: detectors in the miner's own
    process. `ram_gb` is the main memory, None when it is not to be checked. Pure: reads nothing.
    """
    totals = [size * GB for size in gpus_gb]
    taken = others_gb or {}
    table = _Table(totals, [taken.get(index, 0.0) * GB for index in range(len(totals))])
    table.shares = [[] for _ in totals]
    for index, wanted in taken.items():
        if wanted > 0 and index >= len(totals):
            message = f"{wanted:.1f} GB are wanted on GPU {index}, which is not there"
            table.faults.append(Fault("-", message, True))
    for name, settings in servers.items():
        if settings.remote:
            table.elsewhere.append(name)
            continue
        size = sizes[name]
        if isinstance(size, Unplannable):
            table.faults.append(Fault(name, cannot(settings, size, totals), True))
        elif not settings.gpus:
            table.in_memory.append(_on_cpu(name, settings, size))
        elif len(set(settings.gpus)) < len(settings.gpus):
            table.faults.append(Fault(name, f"names a GPU twice: {list(settings.gpus)}", True))
        elif missing := [index for index in settings.gpus if index >= len(totals)]:
            there = {0: "are no GPUs", 1: "is 1 GPU"}.get(len(totals), f"are {len(totals)} GPUs")
            message = f"wants GPU {', '.join(map(str, missing))}; there {there}"
            table.faults.append(Fault(name, message, True))
        else:
            _place(table, name, settings, size)
    for name, settings in servers.items():
        known = sizes.get(name)
        if settings.gpus and isinstance(known, ModelSize):
            _note(table, name, settings, known)
    _check_ram(table, ram_gb)
    return Plan(
        cards=tuple(table.card(index) for index in range(len(totals))),
        in_memory=tuple(table.in_memory),
        ram=None if ram_gb is None else ram_gb * GB,
        elsewhere=tuple(table.elsewhere),
        faults=tuple(table.faults),
        notes=tuple(table.notes),
    )


def _place(table: _Table, name: str, settings: ServerSettings, size: ModelSize) -> None:
    found: Verdict = None
    for index in settings.gpus:
        before = table.card(index)
        need = need_of(size, settings, before.total)
        found = found or verdict_on(size, settings, need, before)
        table.shares[index].append(Share(name, size.name, need))
    if found is not None:
        table.faults.append(Fault(name, *found))


def _note(table: _Table, name: str, settings: ServerSettings, size: ModelSize) -> None:
    arguments = settings.arguments
    there = [index for index in settings.gpus if index < len(table.totals)]
    shared = any(len(table.shares[index]) > 1 or table.others[index] for index in there)
    if shared and None in (arguments.gpu_memory_utilization, arguments.kv_cache_memory_bytes):
        table.notes.append(
            f"{name} shares a GPU: set both gpu_memory_utilization and kv_cache_memory_bytes"
        )
    if not size.has_shape:
        table.notes.append(f"{name}: only the weights of {size.name} are known; the cache is not")
    wanted, had = cache_needed(size, settings), arguments.kv_cache_memory_bytes
    if had is not None and had < wanted:
        table.notes.append(
            f"{name}: a cache of {gb(had)} holds fewer prompts than may be in flight "
            f"({gb(wanted)} would hold all); the others wait"
        )


def _on_cpu(name: str, settings: ServerSettings, size: ModelSize) -> InMemory:
    cache = settings.arguments.kv_cache_memory_bytes
    taken = size.weights + (CPU_CACHE if cache is None else cache) + CPU_PROCESS
    return InMemory(name, size.name, size.weights, taken)


def _check_ram(table: _Table, ram_gb: float | None) -> None:
    if not table.in_memory:
        return
    table.notes.append("servers on the CPU are checked against main memory, and only roughly")
    wanted = sum(server.bytes for server in table.in_memory)
    if ram_gb is None or wanted <= ram_gb * GB:
        return
    table.faults.append(
        Fault(
            table.in_memory[-1].server,
            f"servers on the CPU want about {gb(wanted)} of {ram_gb:.1f} GB main memory",
            sum(server.weights for server in table.in_memory) > ram_gb * GB,
        )
    )
