"""`natix-miner journal ...`: look into a journal, label it, take it elsewhere, make it smaller."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.errors import JournalError

if TYPE_CHECKING:
    from natix_miner.journal import Journal, JournalEntry
    from natix_miner.journal.parquet import Progress

app = typer.Typer(
    name="journal",
    help="What was asked, answered and true: show, label, export, import, prune.",
    no_args_is_help=True,
)

#: Exit status for a wrong path, a file that is no journal, a label of no query.
WRONG_INPUT = 2

JournalPath = Annotated[
    Path, typer.Argument(metavar="JOURNAL", help="The SQLite file of the journal.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Truth(StrEnum):
    """What a picture really showed."""

    ROADWORK = "roadwork"
    NONE = "none"
    CLEAR = "clear"  # nobody knows after all


_LABELS = {Truth.ROADWORK: 1, Truth.NONE: 0, Truth.CLEAR: None}
_WORDS = {1: "roadwork", 0: "none", None: ""}


@app.command("export")
def export_command(
    journal: JournalPath,
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="The file to write.")],
    labelled: Annotated[bool, typer.Option(help="Only entries with a label.")] = False,
    since: Annotated[
        datetime | None, typer.Option(help="Only entries received at or after this time (UTC).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT when it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write queries, verdicts, traces, labels and pictures to one Parquet file.

    The journal stays as it is, and a miner may go on writing it.

    Exit code 0: written. 2: the journal cannot be read, or OUT is there already.

    Example: natix-miner journal export out/journal/journal.sqlite3 queries.parquet --labelled
    """
    from natix_miner.journal import Filter, export_parquet

    with _clear_errors():
        if out.exists() and not force:
            raise JournalError(f"{out} is there already: give another path, or --force")
        which = Filter(since=_unix(since), labelled=labelled)
        with _open(journal) as opened:
            total = opened.counts(which).queries
            with _progress("exporting", total) as progress:
                rows = export_parquet(opened, out, which=which, progress=progress)
        size = out.stat().st_size
    _tell(
        {"rows": rows, "bytes": size, "out": str(out)},
        f"{rows} entries written to {out} ({size / 1e6:.1f} MB)",
        as_json,
    )


@app.command("import")
def import_command(
    journal: JournalPath,
    source: Annotated[Path, typer.Argument(metavar="IN.parquet", help="An export of a journal.")],
    create: Annotated[
        bool, typer.Option("--create", help="Make JOURNAL when it is not there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the entries of an export into a journal; entries it holds already are skipped.

    A miner may be writing it meanwhile.

    Exit code 0: done. 2: one of the two cannot be used.

    Example: natix-miner journal import all.sqlite3 queries.parquet --create
    """
    from natix_miner.journal import import_parquet
    from natix_miner.journal.parquet import rows_in

    with _clear_errors():
        total = rows_in(source) if source.is_file() else 0
        with _progress("importing", total) as progress:
            done = import_parquet(journal, source, create=create, progress=progress)
    _tell(
        asdict(done),
        f"{done.added} entries added, {done.skipped} skipped (their ids were there already)",
        as_json,
    )


@app.command("label")
def label_command(
    journal: JournalPath,
    query_id: Annotated[str, typer.Argument(metavar="QUERY_ID", help="Id, or how it begins.")],
    truth: Annotated[Truth, typer.Argument(help="What the picture really showed.")],
    source: Annotated[str, typer.Option(help="Who says so.")] = "set",
    as_json: AsJson = False,
) -> None:
    """Say what was true for one query; earlier labels are kept in the history.

    A miner may be writing the journal meanwhile.

    Exit code 0: labelled. 2: there is no such query, or more than one, or no journal.

    Example: natix-miner journal label out/journal/journal.sqlite3 3f9a roadwork
    """
    with _clear_errors(), _open(journal) as opened:
        entry = opened.set_label(query_id, _LABELS[truth], source)
    _tell(_summary(entry), f"{entry.id}: label {_WORDS[entry.label] or 'cleared'}", as_json)


@app.command("show")
def show_command(
    journal: JournalPath,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many entries.")] = 20,
    labelled: Annotated[bool, typer.Option(help="Only entries with a label.")] = False,
    asked_by: Annotated[str | None, typer.Option(help="Only this hotkey's queries.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only entries received at or after this time (UTC).")
    ] = None,
    traces: Annotated[bool, typer.Option("--traces", help="With --json: whole traces.")] = False,
    as_json: AsJson = False,
) -> None:
    """The last entries, oldest of them first.

    Reads only, also while a miner writes. Exit code 0: shown. 2: the journal cannot be read.

    Example: natix-miner journal show out/journal/journal.sqlite3 --last 50
    """
    from natix_miner.journal import Filter

    with _clear_errors(), _open(journal) as opened:
        which = Filter(since=_unix(since), labelled=labelled, asked_by=asked_by)
        entries = list(opened.entries(which, limit=last, newest_first=True))[::-1]
    if as_json:
        typer.echo(json.dumps([_summary(entry, trace=traces) for entry in entries], indent=2))
        return
    _table(
        ("time (UTC)", "id", "who", "prediction", "level", "why", "ms", "label"),
        [_shown(entry) for entry in entries],
        title=f"{journal}: last {len(entries)}",
    )


@app.command("info")
def info_command(journal: JournalPath, as_json: AsJson = False) -> None:
    """How much a journal holds, since when, from whom.

    Reads only, also while a miner writes. Exit code 0: shown. 2: the journal cannot be read.

    Example: natix-miner journal info out/journal/journal.sqlite3
    """
    with _clear_errors(), _open(journal) as opened:
        counts = opened.counts()
    if as_json:
        # A list, as JSON has no key for "nobody named".
        askers = [{"hotkey": who, "queries": n} for who, n in counts.asked_by.items()]
        typer.echo(json.dumps({**asdict(counts), "asked_by": askers}, indent=2))
        return
    _table(
        ("what", "how much"),
        [
            ("queries", str(counts.queries)),
            ("answered", str(counts.answered)),
            ("late", str(counts.late)),
            ("labelled", str(counts.labelled)),
            ("pictures", str(counts.pictures)),
            ("first (UTC)", _time(counts.first)),
            ("last (UTC)", _time(counts.last)),
            ("size", f"{counts.used_bytes / 1e6:.1f} MB"),
            ("free inside", f"{counts.free_bytes / 1e6:.1f} MB"),
            *((f"asked by {who or '-'}", str(n)) for who, n in counts.asked_by.items()),
        ],
        title=str(journal),
    )


@app.command("prune")
def prune_command(
    journal: JournalPath,
    keep_days: Annotated[
        float | None, typer.Option(min=0.0, help="Remove unlabelled entries older than this.")
    ] = None,
    keep_gigabytes: Annotated[
        float | None, typer.Option(min=0.0, help="Remove the oldest until this is enough.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove old entries and give the space back; labelled entries stay longest.

    What is removed is gone: export it first if it may be wanted. A running miner prunes by itself,
    by its profile.

    Exit code 0: done. 2: nothing was said of how much to keep, or the journal cannot be written.

    Example: natix-miner journal prune out/journal/journal.sqlite3 --keep-days 14
    """
    from natix_miner.journal import Retention
    from natix_miner.journal.retention import prune

    with _clear_errors():
        if keep_days is None and keep_gigabytes is None:
            raise JournalError("say how much to keep: --keep-days, --keep-gigabytes or both")
        done = prune(journal, Retention(keep_days, keep_gigabytes))
    _tell(
        {"entries": done.entries, "pictures": done.pictures, "pages": done.pages},
        f"{done.entries} entries and {done.pictures} pictures removed, "
        f"{done.pages} pages given back",
        as_json,
    )


@contextmanager
def _clear_errors() -> Iterator[None]:
    """A JournalError becomes one line on stderr and an exit status."""
    try:
        yield
    except JournalError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(WRONG_INPUT) from error


def _open(path: Path) -> Journal:
    from natix_miner.journal import Journal

    return Journal(path)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Progress | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda rows: bar.update(task, advance=rows)


def _tell(values: dict[str, Any], line: str, as_json: bool) -> None:
    typer.echo(json.dumps(values) if as_json else line)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]], *, title: str) -> None:
    """A rich table on a terminal, tab-separated lines elsewhere."""
    if not sys.stdout.isatty():
        for row in (heads, *rows):
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title))
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)


def _shown(entry: JournalEntry) -> tuple[str, ...]:
    return (
        _time(entry.received_at),
        entry.id[:12],
        (entry.asked_by or entry.source)[:14],
        "no answer" if entry.prediction < 0 else f"{entry.prediction:.4f}",
        entry.level or "-",
        entry.error or entry.reason,
        "-" if entry.total_ms is None else f"{entry.total_ms:.1f}",
        _WORDS[entry.label],
    )


def _summary(entry: JournalEntry, *, trace: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: getattr(entry, name)
        for name in entry.__dataclass_fields__
        if not name.startswith("_") and name != "trace"
    }
    values["time"] = _time(entry.received_at)
    if trace:
        values["trace"] = json.loads(entry.trace)
    return values


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.replace(tzinfo=UTC).timestamp()
