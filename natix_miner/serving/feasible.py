"""Refusing servers that cannot run on this machine, before any of them is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from natix_miner.catalogue import Catalogue, load_catalogue
from natix_miner.experts.family import ExpertSettings
from natix_miner.serving.cards import gpus_here
from natix_miner.serving.in_process import taken_by_experts
from natix_miner.serving.plan import Plan, refuse_impossible
from natix_miner.serving.remedies import plan_servers
from natix_miner.serving.settings import ServerSettings


def refuse_infeasible(
    servers: Mapping[str, ServerSettings],
    experts: Mapping[str, ExpertSettings],
    *,
    catalogue: Path,
    folder: Path,
    gpus: Callable[[], tuple[float, ...]] = gpus_here,
) -> Plan:
    """The plan of a profile's servers on the GPUs that `gpus` tells of (GB each).

    `folder` is the profile's. A catalogue that is not there is an empty one: models may all be
    folders. Raises PlanError when something is certain not to work (a model that does not exist,
    weights larger than the GPU, a GPU that is not there), CatalogueError for a broken catalogue;
    what only does not fit by estimates stays in the plan's faults.
    """
    known = (
        load_catalogue(catalogue) if catalogue.is_file() else Catalogue(as_of="never", models={})
    )
    plan = plan_servers(
        servers,
        gpus() if any(settings.gpus for settings in servers.values()) else (),
        known,
        folder,
        others_gb=taken_by_experts(experts, known, folder) if servers else None,
    )
    refuse_impossible(plan)
    return plan
