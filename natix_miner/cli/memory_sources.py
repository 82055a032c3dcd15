"""Labelled pictures for the memory: out of a journal or its export, with all who said what they
show; out of folders, tables and saved synapses."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from natix_miner.experts.memory.building import Labelled
from natix_miner.experts.memory.reliability import Told
from natix_miner.journal import Filter, Journal, read_parquet

if TYPE_CHECKING:
    from natix_miner.journal import Label, Row

#: Who says what folders and tables say.
FILE = "file"


def labelled_pictures(path: Path, split: str | None = None) -> Iterator[Labelled]:
    """The labelled pictures at `path`; `split` as in `open_source`.

    Raises QuerySourceError or JournalError with what to do.
    """
    from natix_miner.scoring.sources import open_source

    source = open_source(path, split)
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix in (".sqlite3", ".sqlite", ".db"):
        yield from _of_journal(path)
    elif suffix == ".parquet":
        yield from _of_export(path)
    else:
        for saved in source:
            told = () if saved.label is None else (Told(saved.label, FILE),)
            yield Labelled(saved.name, told, saved.load)


def _of_journal(path: Path) -> Iterator[Labelled]:
    with Journal(path) as journal:
        for entry in journal.entries(Filter(labelled=True)):
            told = _told(entry.labels())
            yield Labelled(entry.id, told, entry.picture, entry.sha256)


def _of_export(path: Path) -> Iterator[Labelled]:
    for row in read_parquet(path):
        newest = row.newest_label
        if newest is not None and newest.label is not None:
            yield Labelled(row.id, _told(row.labels), partial(_picture, row), row.sha256)


def _told(labels: tuple[Label, ...]) -> tuple[Told, ...]:
    """What still stands: a label taken back says nothing, and nothing before it does."""
    standing: list[Told] = []
    for label in sorted(labels, key=lambda one: one.set_at):
        if label.label is None:
            standing.clear()
        else:
            standing.append(Told(label.label, label.source, label.set_at))
    return tuple(standing)


def _picture(row: Row) -> bytes | None:
    return row.picture
