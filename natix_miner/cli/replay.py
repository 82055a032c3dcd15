"""`natix-miner replay`: stored queries pooled again, or judged again, and what is different."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from natix_miner.atomic import write_whole
from natix_miner.cli.options import DEFAULT_PROFILE
from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.lab.replay import PoolChoice
    from natix_miner.lab.replay_figures import Again, Replayed
    from natix_miner.stored import StoredSource

DIFFERENT, INTERRUPTED = 1, 130
#: Flips shown on the terminal; --json and --out tell all.
SHOWN = 20


def replay(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A journal, its Parquet export, or a folder or file of results of `score`.",
        ),
    ],
    repool: Annotated[
        Path | None,
        typer.Option(help="Pool the stored opinions with this fitted consensus file."),
    ] = None,
    rejudge: Annotated[
        Path | None,
        typer.Option(help="Judge the stored pictures with this profile instead."),
    ] = None,
    profile: Annotated[
        Path, typer.Option(help="Whose consensus pools where no other option says so.")
    ] = DEFAULT_PROFILE,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many queries.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Differences up to this count as none.")
    ] = 0.0,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Queries judged at once (with --rejudge).")
    ] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write every query that differs to this file, one JSON object a line."),
    ] = None,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Exit with 1 when anything differs.")
    ] = False,
) -> None:
    """Pool stored opinions again (no expert runs), or judge stored pictures again.

    Without --repool and --rejudge the consensus of --profile pools. With the consensus that made
    the stored verdicts every value is the same to the last bit. Exit code 0: done. 1: something
    differs and --fail-on-difference was given. 2: the input cannot be used. 130: interrupted.

    Example: natix-miner replay out/journal/journal.sqlite3 --repool models/mine/consensus.json
    """
    from natix_miner.errors import ConfigurationError
    from natix_miner.stored import open_stored

    if repool is not None and rejudge is not None:
        raise ConfigurationError("--repool and --rejudge are two ways to replay: give one of them")
    with open_stored(source) as stored:
        try:
            if rejudge is not None:
                done = _rejudged(stored, rejudge, limit, concurrency, tolerance)
            else:
                done = _repooled(stored, _choice(repool, profile), limit, tolerance)
        except KeyboardInterrupt:
            typer.echo("interrupted; nothing was written", err=True)
            raise typer.Exit(INTERRUPTED) from None
        kind, skipped = stored.kind, dict(stored.skipped)
    if out is not None:
        _write(out, done.different)
    document = {"source": str(source), "kind": kind, "skipped": skipped, **done.as_dict()}
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        _tell(done, skipped)
    if fail_on_difference and done.different:
        raise typer.Exit(DIFFERENT)


def _choice(fitted: Path | None, profile: Path) -> PoolChoice:
    from natix_miner.consensus import equal_weights, load_fitted
    from natix_miner.lab.replay import PoolChoice
    from natix_miner.profile import load_profile

    if fitted is not None:
        return PoolChoice(load_fitted(fitted))
    loaded = load_profile(profile)
    file = loaded.consensus.fitted
    if file is None:
        return PoolChoice(equal_weights(loaded.expert_names()), loaded.consensus.pool)
    return PoolChoice(load_fitted(loaded.path(file)), loaded.consensus.pool)


def _repooled(
    stored: StoredSource, choice: PoolChoice, limit: int | None, tolerance: float
) -> Replayed:
    from natix_miner.lab.replay import repool

    return repool(stored, choice, limit=limit, tolerance=tolerance)


def _rejudged(
    stored: StoredSource, profile: Path, limit: int | None, concurrency: int, tolerance: float
) -> Replayed:
    from natix_miner.lab.replay_judging import rejudge
    from natix_miner.profile import load_profile

    return asyncio.run(
        rejudge(
            stored, load_profile(profile), limit=limit, concurrency=concurrency, tolerance=tolerance
        )
    )


def _write(path: Path, different: tuple[Again, ...]) -> None:
    from natix_miner.errors import ConfigurationError

    lines = "".join(json.dumps(one.as_dict()) + "\n" for one in different)
    try:
        write_whole(path, lines)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}") from error


def _tell(done: Replayed, skipped: dict[str, int]) -> None:
    told = done.as_dict()
    differences = told["differences"]
    rows = [
        ("queries", f"{told['n']} ({told['labelled']} labelled)"),
        *((f"left out: {reason}", str(n)) for reason, n in {**skipped, **done.left_out}.items()),
        *((f"then by {version or '-'}", str(n)) for version, n in done.stored.items()),
        *(("now by", version) for version in done.given),
        ("queries that differ", str(differences["queries"])),
        *((f"value after {level}", f"{n} differ") for level, n in differences["levels"].items()),
        ("answers that differ", str(differences["answers"])),
        ("decided otherwise", str(differences["decisions"])),
        ("largest difference", f"{differences['largest']:.6g}"),
    ]
    earned = done.earned()
    if earned is not None:
        then, now = (one.as_dict() for one in earned)
        rows.extend(
            (f"{name} then / now", f"{_figure(then[name])} / {_figure(now[name])}") for name in then
        )
    rows.append(("queries a second", f"{told['rate_per_second'] or 0:.0f}"))
    show_table(("what", "how much"), rows, title=f"replay ({done.mode})")
    for remark in done.remarks:
        typer.echo(f"note: {remark}", err=True)
    if done.flips:
        show_table(
            ("id", "label", "then", "now", "name"),
            [_flip(one) for one in done.flips[:SHOWN]],
            title=f"decided otherwise ({min(SHOWN, len(done.flips))} of {len(done.flips)})",
        )


def _flip(one: Again) -> tuple[str, ...]:
    label = {1: "roadwork", 0: "none", None: "-"}[one.label]
    return one.id, label, _answer(one.before), _answer(one.after), one.name


def _answer(prediction: float) -> str:
    return "no answer" if prediction < 0 else f"{prediction:.4f}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
