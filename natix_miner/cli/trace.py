"""`natix-miner trace ID`: one query told as a story, on the terminal and as a page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from natix_miner.cli.options import DEFAULT_PROFILE
from natix_miner.errors import ConfigurationError

if TYPE_CHECKING:
    from natix_miner.lab.story import Story
    from natix_miner.profile import Profile
    from natix_miner.stored import StoredQuery


def trace(
    query_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Id of the query, or how it begins; of a scored query its name or "
            "REPEAT-POSITION.",
        ),
    ],
    journal: Annotated[
        Path | None, typer.Option(help="Journal to look in; that of the profile by default.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Scored folder, results file or Parquet export instead of a journal."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            help="The profile that judged: names the journal, tells what every vote added, and "
            f"cuts the experts' views again for --html. The journal is else that of "
            f"{DEFAULT_PROFILE}."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the story with its pictures to this HTML file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The trace as a JSON document.")] = False,
) -> None:
    """Tell how the answer to one query came about.

    Who asked, what the picture was like, what every expert said and added, the pooled value after
    each level, and the time it took. Exit code 0: told. 2: there is no such query.

    Example: natix-miner trace 3f9a --journal out/journal/journal.sqlite3
    """
    from natix_miner.assembly import build_consensus
    from natix_miner.lab.story import tell
    from natix_miner.profile import load_profile

    if journal is not None and results is not None:
        raise ConfigurationError("--journal and --results name two places: give one of them")
    known = load_profile(profile) if profile is not None else None
    place = results or journal
    if place is None:
        known = known or load_profile(DEFAULT_PROFILE)
        place = known.journal.path
    with _found(query_id, place, in_journal=results is None) as query:
        story = tell(query, build_consensus(known) if known is not None else None)
        page = _page(story, known if profile is not None else None) if html is not None else ""
    if as_json:
        typer.echo(query.trace.model_dump_json(indent=2))
    else:
        _print(story)
    if html is not None:
        from natix_miner.lab.story_page import write_page

        typer.echo(f"story: {write_page(html, page)}", err=as_json)


@contextmanager
def _found(query_id: str, place: Path, *, in_journal: bool) -> Iterator[StoredQuery]:
    """The query, its picture readable while this is open."""
    from natix_miner.journal import Journal
    from natix_miner.lab.story_find import find_in_journal, find_stored
    from natix_miner.stored import open_stored

    if in_journal:
        with Journal(place) as opened:
            yield find_in_journal(opened, query_id)
    else:
        with open_stored(place) as stored:
            yield find_stored(stored, query_id)


def _page(story: Story, profile: Profile | None) -> str:
    """The page; with a profile also with the views that its experts cut."""
    from natix_miner.lab.story_page import story_page
    from natix_miner.lab.story_pictures import pictures_of

    if profile is None:
        return story_page(story, pictures_of(story.query))
    from natix_miner.assembly import build_judge

    experts = build_judge(profile).experts
    return story_page(
        story,
        pictures_of(
            story.query,
            experts=experts,
            limits=profile.pictures,
            note=_views_note(story, f"{profile.name}:{profile.digest}"),
        ),
    )


def _views_note(story: Story, version: str) -> str:
    judged_by = story.trace.versions.get("profile")
    if judged_by == version:
        return f"The views as profile {version} cuts them, with the places that the expert named."
    return (
        f"The views as profile {version} would cut them; it was judged by {judged_by or 'another'}."
    )


def _print(story: Story) -> None:
    """Styled on a terminal, plain lines elsewhere."""
    from natix_miner.lab.story_lines import lines_of, plain

    if not sys.stdout.isatty():
        for line in lines_of(story):
            typer.echo(plain(line))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines_of(story):
        console.print(Text.assemble(*line))
