"""What would fit where a server does not: more memory, a smaller checkpoint, more GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from natix_miner.catalogue import Catalogue, Entry
from natix_miner.errors import CatalogueError, PlanError
from natix_miner.serving.memory import GB, ModelSize, need_of
from natix_miner.serving.plan import Card, Fault, Plan
from natix_miner.serving.planner import plan_of
from natix_miner.serving.settings import ServerSettings
from natix_miner.serving.sizes import Unplannable, size_of, size_of_entry

#: The driver keeps some of every GPU for itself.
LARGEST_SHARE = 0.95
#: More suggestions than these help nobody.
MOST = 4


def plan_servers(
    servers: Mapping[str, ServerSettings],
    gpus_gb: tuple[float, ...],
    catalogue: Catalogue,
    folder: Path,
    *,
    others_gb: Mapping[int, float] | None = None,
    ram_gb: float | None = None,
) -> Plan:
    """The plan of a profile's servers, its faults with what would fit. Reads model folders.

    `folder` is the profile's; the rest is as in `plan_of`.
    """
    sizes = {
        name: size_of(settings, catalogue, folder)
        for name, settings in servers.items()
        if not settings.remote
    }
    plan = plan_of(servers, sizes, gpus_gb, others_gb=others_gb, ram_gb=ram_gb)
    return replace(
        plan,
        faults=tuple(
            replace(fault, remedies=tuple(_remedies(fault, plan, servers, sizes, catalogue))[:MOST])
            for fault in plan.faults
        ),
        notes=plan.notes + tuple(_told_by_catalogue(servers, catalogue, sizes)),
    )


def _remedies(
    fault: Fault,
    plan: Plan,
    servers: Mapping[str, ServerSettings],
    sizes: Mapping[str, ModelSize | Unplannable],
    catalogue: Catalogue,
) -> Iterator[str]:
    settings = servers.get(fault.server)
    if settings is None or not settings.gpus or not plan.cards:
        return
    room = [_room(plan, card, fault) for card in plan.cards]
    gpus = tuple(index for index in settings.gpus if index < len(room)) or (0,)
    size = sizes[fault.server]
    if isinstance(size, ModelSize):
        if said := _fitting(size, settings, gpus, room, plan):
            yield said
        if len(room) > len(gpus) and (said := _spread(size, settings, room, plan)):
            yield said
    for entry in _others(settings.model, size, catalogue):
        try:
            other = size_of_entry(entry)
        except PlanError:  # no size known: nothing can be promised of it
            continue
        said = _fitting(other, settings, gpus, room, plan)
        if said is None and len(room) > len(gpus):
            said = _spread(other, settings, room, plan)
        if said is not None:
            yield f"{entry.key}, {said}"


def _room(plan: Plan, card: Card, fault: Fault) -> float:
    """Bytes that a server may have on a card: what is left without it, and without those after it
    that do not fit either."""
    faulty = [other.server for other in plan.faults]
    gone = set(faulty[faulty.index(fault.server) :])
    return card.left + sum(share.need.total for share in card.shares if share.server in gone)


def _fitting(
    size: ModelSize,
    settings: ServerSettings,
    gpus: tuple[int, ...],
    room: list[float],
    plan: Plan,
) -> str | None:
    """How the model fits these GPUs, None when it does not."""
    arguments = settings.arguments.model_copy(
        update={"tensor_parallel_size": len(gpus), "gpu_memory_utilization": None}
    )
    need = need_of(size, settings.model_copy(update={"arguments": arguments, "gpus": gpus})).total
    if any(need > room[index] for index in gpus):
        return None
    share = max(need / plan.cards[index].total for index in gpus)
    utilization = math.ceil(share * 100.0) / 100.0
    if utilization > LARGEST_SHARE or any(
        utilization * plan.cards[index].total > room[index] for index in gpus
    ):
        return None
    where = "each" if len(gpus) > 1 else f"on GPU {gpus[0]}"
    return f"gpu_memory_utilization {utilization:.2f} ({need / GB:.1f} GB {where})"


def _spread(size: ModelSize, settings: ServerSettings, room: list[float], plan: Plan) -> str | None:
    """The same over all GPUs (a power of two of them, as heads have to divide)."""
    count = 1 << (len(room).bit_length() - 1)
    gpus = tuple(range(count))
    said = _fitting(size, settings, gpus, room, plan)
    return said and f"tensor_parallel_size {count} on gpus {list(gpus)}, {said}"


def _others(model: str, size: ModelSize | Unplannable, catalogue: Catalogue) -> Iterator[Entry]:
    """Smaller checkpoints of the same model, the largest first, then those of its successors."""
    try:
        row, found = catalogue.row(model)
    except CatalogueError:  # a folder, or unknown: nothing is related to it
        return
    here = size.weights / GB if isinstance(size, ModelSize) else math.inf
    yield from _by_size(catalogue.entries(row), here)
    for key in found.instead:
        if key in catalogue.models:
            yield from _by_size(catalogue.entries(key), here)
        else:
            yield catalogue.entry(key)


def _by_size(entries: tuple[Entry, ...], below: float) -> list[Entry]:
    smaller = [entry for entry in entries if (entry.gigabytes or math.inf) < below]
    return sorted(smaller, key=lambda entry: -(entry.gigabytes or 0.0))


def _told_by_catalogue(
    servers: Mapping[str, ServerSettings],
    catalogue: Catalogue,
    sizes: Mapping[str, ModelSize | Unplannable],
) -> Iterator[str]:
    for name, settings in servers.items():
        if settings.remote or isinstance(sizes[name], Unplannable):
            continue
        try:
            entry = catalogue.entry(settings.model)
        except CatalogueError:  # a folder of one's own: its weights are what they are
            continue
        if (settings.revision or entry.checkpoint.revision) is None:
            yield f"{name}: {entry.key} is not pinned to a revision"
        if entry.model.remote_code and not settings.arguments.trust_remote_code:
            yield f"{name}: {entry.key} loads with `trust_remote_code: true` only"
        if "thinking" in entry.model.traps:
            yield f"{name}: {entry.model.name} thinks unless it is told not to"
