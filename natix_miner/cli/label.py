"""`natix-miner label`: a page that asks a person what pictures show, and labels as files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.errors import ConfigurationError, JournalError

if TYPE_CHECKING:
    from natix_miner.consensus import FittedConsensus
    from natix_miner.journal import Journal
    from natix_miner.lab.labelling import Session


def label(
    journal: Annotated[
        Path, typer.Argument(metavar="JOURNAL", help="The SQLite file of the journal.")
    ],
    who: Annotated[
        str | None, typer.Option(help="Who labels: your login name unless given.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 0,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="Pictures to ask before choosing anew.")
    ] = 200,
    seed: Annotated[int, typer.Option(help="Decides which pictures are drawn at random.")] = 0,
    random: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of pictures drawn at random.")
    ] = 0.1,
    again: Annotated[bool, typer.Option("--again", help="Ask what you skipped once more.")] = False,
    fitted: Annotated[
        Path | None, typer.Option(help="Fitted file: ask where an expert is far off its fit.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Profile whose fitted file is taken for that.")
    ] = None,
    show_opinion: Annotated[
        bool, typer.Option("--show-opinion", help="Show the miner's answer before yours.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    compare: Annotated[
        bool, typer.Option("--compare", help="How far the labels of people and validators agree.")
    ] = False,
    export_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all labels to a CSV file.")
    ] = None,
    import_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put the labels of a CSV file in.")
    ] = None,
    export_fiftyone: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write labelled pictures for FiftyOne.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the CSV FILE.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --compare, --export or --import: print JSON.")
    ] = False,
) -> None:
    """Label the pictures of a journal on a local page, those first that are worth it most.

    Keys: r, 1 or right for roadwork; n, 0 or left for none; s or space to skip; u or backspace to
    undo. Works beside a running miner; every answer is in the journal at once. Ctrl-C ends it; the
    next time it goes on where you were. With --compare, --export-csv, --import-csv or
    --export-fiftyone no page is opened. The page is served to this machine only. Exit code 0:
    ended. 2: one line says what was wrong.

    Example: natix-miner label out/journal/journal.sqlite3
    """
    from natix_miner.cli import label_files as files
    from natix_miner.journal import Journal

    others = {
        "--compare": compare,
        "--export-csv": export_csv is not None,
        "--import-csv": import_csv is not None,
        "--export-fiftyone": export_fiftyone is not None,
    }
    asked = [name for name, wanted in others.items() if wanted]
    if len(asked) > 1:
        raise ConfigurationError(f"{' and '.join(asked)} do not go together: give one of them")
    if as_json and not asked:
        raise ConfigurationError(f"--json goes with {', '.join(others)} only")
    with Journal(journal) as opened:
        if compare:
            files.print_comparison(opened, as_json)
        elif export_csv is not None:
            files.write_csv(opened, export_csv, force, as_json)
        elif import_csv is not None:
            files.read_csv(opened, import_csv, who, as_json)
        elif export_fiftyone is not None:
            files.write_fiftyone(opened, export_fiftyone, as_json)
        else:
            _page(
                opened,
                _name(who),
                {"limit": limit, "seed": seed, "random_share": random, "again": again},
                _fitted(fitted, profile),
                port=port,
                show_opinion=show_opinion,
                open_page=open_page,
            )


def _page(
    journal: Journal,
    who: str,
    settings: dict[str, Any],
    fitted: FittedConsensus | None,
    *,
    port: int,
    show_opinion: bool,
    open_page: bool,
) -> None:
    from natix_miner.journal.connection import writing
    from natix_miner.lab.labelling import Session, choose
    from natix_miner.lab.labelling.notes import Notes
    from natix_miner.lab.labelling.serve import serve_page
    from natix_miner.lab.labelling.server import LabelPage

    try:
        with writing(journal.path):
            pass  # one that cannot be written is told now, not after the first picture
    except JournalError as error:
        raise JournalError(
            f"{error}: labels are written into the journal, so it must lie where you may write"
        ) from error
    with _reading(journal) as progress:
        chosen = partial(choose, who=who, fitted=fitted, progress=progress, **settings)
        session = Session(journal, Notes(journal.path), who, chosen)
    typer.echo(_found(session))
    if not session.waiting:
        typer.echo("nothing is left to label here")
        return

    def ready(address: str) -> None:
        typer.echo(f"label as {who}: {address}")
        typer.echo("only this machine and only this address; Ctrl-C ends it")
        sys.stdout.flush()
        if open_page and sys.stdout.isatty() and _has_screen():
            import webbrowser

            webbrowser.open(address)

    serve_page(LabelPage(session, show_opinion=show_opinion), port, ready)
    done = session.progress()
    typer.echo(
        f"\n{done.answered_now} answered now; in all {done.roadwork} roadwork, {done.none} none, "
        f"{done.skipped} skipped by {who}"
    )


def _has_screen() -> bool:
    """Without a screen a text browser would take the terminal, and it runs no scripts."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _found(session: Session) -> str:
    counted = session.counted
    left_out = {
        "labelled by you": counted.done,
        "skipped by you": counted.skipped,
        "showing the same picture as another": counted.copies,
        "whose picture is not kept": counted.not_kept,
        "that are no picture": counted.no_picture,
        "with a trace of another format": counted.unreadable,
    }
    told = "; ".join(f"{count} {why}" for why, count in left_out.items() if count)
    return f"{counted.waiting} of {counted.entries} queries may be asked" + (
        f" (left out: {told})" if told else ""
    )


def _name(who: str | None) -> str:
    from natix_miner.lab.labelling import check_name

    if who is not None:
        return check_name(who)
    import getpass

    try:
        return check_name(getpass.getuser())
    except (OSError, KeyError, ImportError) as error:
        raise ConfigurationError("this machine does not tell who you are: give --who") from error


def _fitted(fitted: Path | None, profile: Path | None) -> FittedConsensus | None:
    if fitted is not None and profile is not None:
        raise ConfigurationError("give --fitted or --profile, not both")
    if profile is not None:
        from natix_miner.profile import load_profile

        loaded = load_profile(profile)
        if loaded.consensus.fitted is None:
            raise ConfigurationError(f"{profile} names no fitted file: leave --profile out")
        fitted = loaded.path(loaded.consensus.fitted)
    if fitted is None:
        return None
    from natix_miner.consensus import load_fitted

    return load_fitted(fitted)


@contextmanager
def _reading(journal: Journal) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("choosing", total=journal.counts().queries)
        yield lambda read: bar.update(task, completed=read)
