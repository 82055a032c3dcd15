"""`natix-miner fit`: the consensus learnt from labelled opinions; no expert runs again."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from natix_miner.fitting.opening import Opened

STDIN = "-"


class GroupBy(StrEnum):
    """What keeps queries together when data are divided."""

    AUTO = "auto"
    GIVEN = "given"
    HASH = "hash"
    DAY = "day"


class PoolChoice(StrEnum):
    """The pools that are fitted."""

    STACKING = "stacking"
    LOG_ODDS = "log_odds"
    HAND_WEIGHTS = "hand_weights"
    GEOMETRIC_MEAN = "geometric_mean"
    MAJORITY = "majority"
    BEST_SINGLE = "best_single"


def fit(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Journals, their Parquet exports, folders or files of results of `score`; or one "
            ".jsonl of votes, or - (also when left out) for such lines on standard input.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the fitted consensus here; replaced only when all went well."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            help="Fit for the experts and levels of this profile; its weights of today "
            "are the default to beat."
        ),
    ] = None,
    non_negative: Annotated[
        bool, typer.Option("--non-negative", help="The stacking turns no expert round.")
    ] = False,
    pool: Annotated[
        PoolChoice | None, typer.Option(help="Take this pool whatever the figures say.")
    ] = None,
    prior: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share of roadwork in what validators ask.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of folds, streams and intervals.")] = 0,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Of the outer cross-validation.")] = 5,
    group_by: Annotated[
        GroupBy, typer.Option(help="What must stay together: see docs/consensus.md.")
    ] = GroupBy.AUTO,
    routing: Annotated[
        bool,
        typer.Option("--routing", help="Learn when each level is worth entering: docs/routing.md."),
    ] = False,
    within: Annotated[
        float,
        typer.Option(min=0.0, max=0.5, help="Reward that routing may lose against all experts."),
    ] = 0.005,
    deadline: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds for a query in routing (default: the profile's)."),
    ] = None,
    redundancy: Annotated[
        bool,
        typer.Option("--redundancy", help="Say what each expert adds and who repeats whom."),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for the files of --routing and --redundancy.")
    ] = None,
) -> None:
    """Learn calibrations and pool weights from labelled queries, and say which pool pays best.

    No expert runs again, and a running miner takes the new file only when it is told to (SIGHUP).

    All figures are on held-out groups at the share of roadwork that validators ask. Exit code 0:
    fitted, though perhaps the default is kept. 2: the votes cannot be used; nothing is written.

    Example: natix-miner fit out/journal/journal.sqlite3 --out models/mine/consensus.json
    """
    from natix_miner.cli.fit_routing import learn_beyond, show_beyond, write_beyond
    from natix_miner.consensus import save_fitted
    from natix_miner.fitting import FitSettings
    from natix_miner.fitting import fit as fit_votes
    from natix_miner.fitting.arranging import arranged
    from natix_miner.fitting.hand import hand_of
    from natix_miner.fitting.routing import check_routable

    if report is not None and not (routing or redundancy):
        raise typer.BadParameter("--report holds what --routing or --redundancy learn: ask for one")
    settings = FitSettings(
        prior=prior,
        seed=seed,
        folds=folds,
        non_negative=non_negative,
        force=pool.value if pool else None,
    )
    hand, the_profile = None, None
    if profile is not None:
        from natix_miner.profile import load_profile

        the_profile = load_profile(profile)
        hand = hand_of(the_profile)
    named = sources or [STDIN]
    opened = _open(named, group_by.value)
    votes, seen = opened.votes, opened.seen
    if hand is not None:
        votes, seen = arranged(votes, hand.levels, hand.remarks), arranged(seen, hand.levels)
    if routing:
        check_routable(votes)
    done = fit_votes(
        votes,
        settings,
        hand=hand.weights if hand else None,
        seen=seen,
        told={"sources": named, "group_by": group_by.value},
        tell=_tell,
    )
    beyond = learn_beyond(
        done,
        settings,
        routing=routing,
        redundancy=redundancy,
        profile=the_profile,
        within=within,
        deadline=deadline,
    )
    if as_json:
        typer.echo(json.dumps({**done.as_dict(), **beyond.as_dict()}, indent=2))
    else:
        from natix_miner.cli.fit_tables import show_fit

        show_fit(done)
        show_beyond(beyond)
    if report is not None:
        write_beyond(beyond, report)
    if out is not None:
        save_fitted(done.fitted, out)
        typer.echo(f"wrote {out} ({done.fitted.digest()})", err=True)


def _open(sources: list[str], group_by: str) -> Opened:
    from natix_miner.errors import FittingError
    from natix_miner.fitting.opening import open_votes, votes_of_stream

    if STDIN not in sources:
        return open_votes([Path(source) for source in sources], group_by)
    if len(sources) > 1:
        raise FittingError("standard input (-) is fitted alone: leave the other sources out")
    if sys.stdin.isatty():
        raise FittingError(
            "nothing to fit from: name a journal, an export, a scored folder or a .jsonl of votes, "
            "or pipe lines of votes in"
        )
    return votes_of_stream(sys.stdin.buffer, group_by)


def _tell(step: str) -> None:
    """Progress for a person who waits; nothing where nobody looks."""
    if sys.stderr.isatty():
        typer.echo(f"fit: {step}", err=True)
