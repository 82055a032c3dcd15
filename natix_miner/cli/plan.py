"""`natix-miner plan`: do a profile's servers fit the GPUs, and if not, what would."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.serving.plan import Card, Plan

DOES_NOT_FIT = 1


def plan(
    profile: Annotated[Path, typer.Argument(metavar="PROFILE", help="The profile to place.")],
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="GB,GB",
            help="Memory of each GPU in GB of 10^9 bytes, in the order of their indices; those of "
            "this machine by default.",
        ),
    ] = None,
    detectors: Annotated[
        str | None,
        typer.Option(
            metavar="GB[,GB]",
            help="What detectors in the miner's own process take of each GPU; by default what "
            "the profile's experts with `device: cuda:N` weigh.",
        ),
    ] = None,
    ram: Annotated[
        float | None, typer.Option(min=0.1, help="Main memory in GB; this machine's by default.")
    ] = None,
    load: Annotated[
        bool,
        typer.Option(
            "--load",
            help="Also load every expert of the miner's own process, each in a fresh process, and "
            "tell the memory it took.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """What sits on which GPU, what is left, why it does not fit and what would.

    Nothing is started, unless --load asks for it.

    Exit code 0: it fits. 1: it does not. 2: profile or catalogue cannot be read, or (with --load)
    its models' terms are not accepted.

    Example: natix-miner plan configs/dual-80g.yaml --gpus 80,80
    """
    from natix_miner.catalogue import load_catalogue
    from natix_miner.cli.plan_load import documents, load_all, show_loaded
    from natix_miner.profile import load_profile
    from natix_miner.serving.cards import gpus_here
    from natix_miner.serving.in_process import taken_by_experts
    from natix_miner.serving.remedies import plan_servers

    the_profile = load_profile(profile)
    catalogue = load_catalogue(the_profile.path(the_profile.catalogue))
    others = (
        taken_by_experts(the_profile.experts, catalogue, the_profile.folder)
        if detectors is None
        else dict(enumerate(_numbers(detectors, "--detectors", least=0.0)))
    )
    found = plan_servers(
        the_profile.servers,
        gpus_here() if gpus is None else _numbers(gpus, "--gpus", least=0.1),
        catalogue,
        the_profile.folder,
        others_gb=others,
        ram_gb=_ram_gb() if ram is None else ram,
    )
    loaded = load_all(the_profile, catalogue) if load else []
    if as_json:
        document = {"profile": the_profile.name, **_document(found)}
        document |= {"loaded": documents(loaded)} if load else {}
        typer.echo(json.dumps(document, indent=2))
    else:
        if load:
            show_loaded(the_profile.name, loaded)
        _tell(the_profile.name, found)
    raise typer.Exit(0 if found.fits else DOES_NOT_FIT)


def _numbers(text: str, option: str, *, least: float) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"{option} takes numbers like 80,80, not {text!r}") from None
    if any(not least <= number < 1e6 for number in numbers):
        raise typer.BadParameter(f"{option} takes GB of at least {least:g}, not {text!r}")
    return numbers


def _ram_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _tell(name: str, found: Plan) -> None:
    for card in found.cards:
        show_table(
            ("GPU", "what", "model", "weights", "cache", "pass", "fixed", "sum"),
            _rows(card),
            title=f"{name}: GPU {card.index}, {_gb(card.total)} GB",
            whole={0, 1, 3, 4, 5, 6, 7},
        )
    if found.in_memory:
        show_table(
            ("where", "what", "model", "about GB"),
            [("CPU", share.server, share.model, _gb(share.bytes)) for share in found.in_memory],
            title=f"{name}: main memory",
        )
    for server in found.elsewhere:
        typer.echo(f"{server}: served elsewhere, not planned")
    for note in found.notes:
        typer.echo(f"note: {note}")
    for fault in found.faults:
        typer.echo(f"does not fit: {fault.server}: {fault.message}")
        for remedy in fault.remedies:
            typer.echo(f"  would fit: {remedy}")
    if found.fits:
        typer.echo("fits")


def _rows(card: Card) -> list[tuple[str, ...]]:
    index = str(card.index)
    rows: list[tuple[str, ...]] = [
        (
            index,
            share.server,
            share.model,
            _gb(share.need.weights),
            _gb(share.need.cache),
            _gb(share.need.activations),
            _gb(share.need.graphs + share.need.context),
            _gb(share.need.total),
        )
        for share in card.shares
    ]
    if card.others:
        rows.insert(0, (index, "detectors", "-", "-", "-", "-", "-", _gb(card.others)))
    rows.append((index, "together", "", "", "", "", "", _gb(card.used)))
    rows.append((index, "left", "", "", "", "", "", _gb(card.left)))
    return rows


def _document(found: Plan) -> dict[str, Any]:
    return {
        "fits": found.fits,
        "gpus": [
            {
                "index": card.index,
                "gb": _number(card.total),
                "detectors_gb": _number(card.others),
                "servers": [
                    {
                        "server": share.server,
                        "model": share.model,
                        "weights_gb": _number(share.need.weights),
                        "cache_gb": _number(share.need.cache),
                        "activations_gb": _number(share.need.activations),
                        "graphs_gb": _number(share.need.graphs),
                        "context_gb": _number(share.need.context),
                        "gb": _number(share.need.total),
                    }
                    for share in card.shares
                ],
                "left_gb": _number(card.left),
            }
            for card in found.cards
        ],
        "cpu": [
            {"server": share.server, "model": share.model, "about_gb": _number(share.bytes)}
            for share in found.in_memory
        ],
        "elsewhere": list(found.elsewhere),
        "faults": [
            {
                "server": fault.server,
                "message": fault.message,
                "certain": fault.certain,
                "would_fit": list(fault.remedies),
            }
            for fault in found.faults
        ],
        "notes": list(found.notes),
    }


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}"


def _number(size: float) -> float:
    return round(size / 1e9, 2)
