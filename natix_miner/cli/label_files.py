"""What `natix-miner label` does without a page: compare labels, write and read them as files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.journal import Journal
    from natix_miner.lab.labelling import Comparison

#: Conflicts that are listed on a terminal; --json has all.
SHOWN_CONFLICTS = 20


def print_comparison(journal: Journal, as_json: bool) -> None:
    """Who has labelled how much, how far each two agree, and where they do not."""
    from natix_miner.lab.labelling import compare_labels
    from natix_miner.lab.labelling.notes import Notes

    found = compare_labels(journal, Notes(journal.path))
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
        return
    if not found.sources:
        typer.echo("nobody has labelled anything in this journal")
        return
    words = {0: "none", 1: "roadwork"}
    show_table(
        ("source", "pictures", "roadwork", "none"),
        [
            (name, str(s.n), str(s.roadwork), str(s.n - s.roadwork))
            for name, s in found.sources.items()
        ],
        title=f"{journal.path}: labels",
    )
    if found.pairs:
        show_table(
            ("source", "and", "both", "agreement", "kappa"),
            [
                (
                    pair.a,
                    pair.b,
                    str(pair.n),
                    "-" if pair.agreement is None else f"{pair.agreement:.3f}",
                    "-" if pair.kappa is None else f"{pair.kappa:.3f}",
                )
                for pair in found.pairs
            ],
            title="Agreement (kappa: beyond chance)",
            whole=(0, 1),
        )
    if found.conflicts:
        show_table(
            ("id", "labels"),
            [
                (c.id, ", ".join(f"{name} {words[value]}" for name, value in c.labels.items()))
                for c in found.conflicts[:SHOWN_CONFLICTS]
            ],
            title=f"Conflicts: {min(len(found.conflicts), SHOWN_CONFLICTS)} of "
            f"{len(found.conflicts)}",
        )
    if found.drawn.n:
        typer.echo(
            f"of {found.drawn.n} pictures drawn at random people called {found.drawn.roadwork} "
            "roadwork"
        )


def _as_json(found: Comparison) -> dict[str, Any]:
    return {
        "sources": {name: asdict(source) for name, source in found.sources.items()},
        "pairs": [{**asdict(pair), "agreement": pair.agreement} for pair in found.pairs],
        "conflicts": [
            {"id": c.id, "sha256": c.sha256, "labels": dict(c.labels)} for c in found.conflicts
        ],
        "drawn": asdict(found.drawn),
    }


def write_csv(journal: Journal, out: Path, force: bool, as_json: bool) -> None:
    """All labels into a CSV file."""
    from natix_miner.lab.labelling import export_csv

    rows = export_csv(journal, out, force=force)
    _tell({"rows": rows, "out": str(out)}, f"{rows} labels written to {out}", as_json)


def read_csv(journal: Journal, source: Path, who: str | None, as_json: bool) -> None:
    """The labels of a CSV file into the journal; `who` stands in where a row names no source."""
    from natix_miner.lab.labelling import check_name, import_csv

    done = import_csv(journal, source, None if who is None else check_name(who))
    _tell(
        asdict(done),
        f"{done.added} labels added; {done.known} were in the journal already",
        as_json,
    )


def write_fiftyone(journal: Journal, out: Path, as_json: bool) -> None:
    """The labelled pictures into a folder that FiftyOne reads."""
    from natix_miner.lab.labelling import export_fiftyone

    done = export_fiftyone(journal, out)
    _tell(
        {**asdict(done), "out": str(out)},
        f"{done.pictures} labelled pictures written to {out} (left out: {done.copies} copies, "
        f"{done.not_kept} not kept)",
        as_json,
    )


def _tell(values: dict[str, Any], line: str, as_json: bool) -> None:
    typer.echo(json.dumps(values) if as_json else line)
