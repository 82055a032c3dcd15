"""The table of `natix-miner models --plans`: what the plans name, and what there is of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from natix_miner.catalogue import Catalogue, Model

HEADS = ("in the plans", "key", "exists", "successor", "adapter", "licence", "bytes", "remark")


def rows_of_plans(found: Catalogue) -> list[tuple[str, ...]]:
    """The cells of every model that the plans name, in the catalogue's order."""
    return [_row(found, key) for key in _named(found)]


def documents_of_plans(found: Catalogue) -> list[dict[str, Any]]:
    """The same as plain values; `bytes` are those of the first format, None where nobody knows."""
    return [_document(found, key) for key in _named(found)]


def _named(found: Catalogue) -> list[str]:
    return [key for key, model in found.models.items() if model.in_plans]


def _row(found: Catalogue, key: str) -> tuple[str, ...]:
    model = found.models[key]
    return (
        model.name,
        key,
        "yes" if model.exists else "no",
        ", ".join(model.instead) or "-",
        _adapter(model),
        _licence(model),
        _bytes(found, key),
        model.why or (None if model.adapter else model.note) or "-",
    )


def _adapter(model: Model) -> str:
    if model.exists:
        return model.adapter or "none"
    return f"done by {', '.join(model.done_by)}" if model.done_by else "no expert's work"


def _licence(model: Model) -> str:
    """The name, `?` where it comes from memory, and in brackets what binds or bites."""
    if not model.exists:
        return "-"
    name = model.licence.name + ("" if model.licence.verified else " ?")
    traps = [*model.traps, *(["remote code"] if model.remote_code else [])]
    return f"{name} ({', '.join(traps)})" if traps else name


def _bytes(found: Catalogue, key: str) -> str:
    if not found.models[key].exists:
        return "-"
    size = found.size_of(key)
    if size is None:
        return "?"
    gigabytes, evidence = size
    figure = f"{gigabytes:.3g} GB" if gigabytes >= 1 else f"{gigabytes * 1000:.0f} MB"
    return figure + (" ?" if evidence == "unverified" else "")


def _document(found: Catalogue, key: str) -> dict[str, Any]:
    model = found.models[key]
    size = found.size_of(key) if model.exists else None
    return {
        "name": model.name,
        "key": key,
        "exists": model.exists,
        "why": model.why,
        "successor": list(model.instead),
        "adapter": model.adapter,
        "done_by": list(model.done_by),
        "licence": model.licence.name if model.exists else None,
        "licence_verified": model.exists and model.licence.verified,
        "must_accept": model.must_accept,
        "traps": list(model.traps),
        "bytes": None if size is None else round(size[0] * 1e9),
        "bytes_evidence": None if size is None else size[1],
        "plan_claim_gb": list(model.plan_claim_gb),
    }
