"""`natix-miner judge PICTURE...`: the verdict on pictures, told so that a person understands it."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from natix_miner.cli.options import DEFAULT_PROFILE, ProfileOption

if TYPE_CHECKING:
    from natix_miner.cascade import Trace, Verdict
    from natix_miner.cascade.trace import ExpertTrace
    from natix_miner.judge import Judge
    from natix_miner.profile import Profile

#: Columns of the table where no terminal says how wide it is.
PIPED_WIDTH = 140


def judge(
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.")],
    profile: ProfileOption = DEFAULT_PROFILE,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document a picture, one a line.")
    ] = False,
    save_views: Annotated[
        Path | None,
        typer.Option(
            help="Write what the experts looked at into this folder, and what they found there."
        ),
    ] = None,
) -> None:
    """Is there roadwork in these pictures?

    The judge of the miner says how probable it is, what each expert saw, and how long it took.
    No chain is asked and no journal is written.

    Exit code 0: all judged. 2: at least one is not a picture (the others are judged all the same).
    1: a picture was judged but no expert had a usable opinion.

    Example: natix-miner judge street.jpg --json
    """
    from natix_miner.profile import load_profile

    raise typer.Exit(asyncio.run(_judge_all(pictures, load_profile(profile), as_json, save_views)))


async def _judge_all(
    paths: list[Path], profile: Profile, as_json: bool, save_views: Path | None
) -> int:
    from natix_miner.assembly import build_judge
    from natix_miner.query import Query

    errors = Console(stderr=True, soft_wrap=True)
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    the_judge = build_judge(profile, wait_for_servers=math.inf)
    code = 0
    try:
        await the_judge.start()
        for path in paths:
            try:
                picture = path.read_bytes()
            except OSError as error:
                errors.print(f"{path}: cannot be read: {error.strerror}", style="red", markup=False)
                code = 2
                continue
            query = Query.of(picture, source=f"file:{path.name}", seconds=profile.deadline_seconds)
            verdict = await the_judge.judge(query)
            if as_json:
                print(
                    json.dumps({"file": str(path), **json.loads(verdict.trace.model_dump_json())})
                )
            if verdict.error is not None:
                errors.print(f"{path}: {verdict.error}", style="red", markup=False)
                code = 2
                continue
            if not as_json:
                _tell(console, path, verdict)
            if verdict.probability is None:
                code = code or 1
            if save_views is not None:
                _save_views(the_judge, verdict, profile, path, save_views, errors)
    finally:
        await the_judge.close()
    return code


def _tell(console: Console, path: Path, verdict: Verdict) -> None:
    trace = verdict.trace
    if verdict.probability is None:
        console.print(f"{path}: no answer ({trace.answer.reason})", markup=False)
    else:
        word = "roadwork" if verdict.probability > 0.5 else "no roadwork"
        console.print(
            f"{path}: {word}, probability {verdict.probability:.4f} ({trace.answer.reason} after "
            f"level {trace.answer.level}, {trace.stages_ms['total']:.0f} ms)",
            markup=False,
        )
    if trace.picture is not None:
        picture = trace.picture
        marks = [
            f"{picture.original_width} x {picture.original_height} {picture.format}",
            picture.size_class,
            f"tilted {picture.tilt_degrees:+.1f} degrees" if picture.tilt_degrees else "",
            f"{picture.padding_share:.0%} padding" if picture.padding_share else "",
            "dark" if picture.dark else "",
            "blurred" if picture.blurred else "",
        ]
        console.print("  " + ", ".join(mark for mark in marks if mark), markup=False)
    console.print(_table(trace))


def _table(trace: Trace) -> Table:
    table = Table()
    for head in ("level", "expert", "status", "said", "calibrated", "weight", "ms"):
        table.add_column(head, no_wrap=True)
    table.add_column("why")
    for level in trace.levels:
        if not level.entered:
            table.add_row(level.name, "-", "not entered", "", "", "", "", level.why)
        for expert in level.experts:
            table.add_row(
                level.name,
                expert.name,
                expert.status,
                _number(expert.probability),
                _number(expert.calibrated),
                f"{expert.weight:.2f}",
                f"{expert.ms:.1f}",
                _why(expert),
            )
        if level.entered:
            pooled = f"{level.log_odds:+.2f}" if level.log_odds is not None else "nothing usable"
            table.add_row(
                level.name,
                "consensus",
                pooled,
                _number(level.probability),
                "",
                "",
                f"{level.ms:.1f}",
                level.why,
                style="bold",
                end_section=True,
            )
    return table


def _why(expert: ExpertTrace) -> str:
    """Who answered, and the remark or what was seen."""
    told = ", ".join(f"{name} {value:.2f}" for name, value in expert.conditions.items())
    seen = ", ".join(found.what for found in expert.evidence[:3])
    saw = "; ".join(part for part in (seen, told, expert.detail) if part)
    return f"{expert.by}: {saw}" if expert.by else saw


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _save_views(
    the_judge: Judge,
    verdict: Verdict,
    profile: Profile,
    path: Path,
    folder: Path,
    errors: Console,
) -> None:
    """Every view of every expert, and for those that found something a picture of it."""
    from PIL import Image

    from natix_miner.cli.drawing import drawn
    from natix_miner.images import decode_picture

    frame = decode_picture(verdict.query.picture, profile.pictures)
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        f"{expert.name}.{view.name}": Image.fromarray(view.pixels)
        for expert in the_judge.experts
        for view in expert.views(frame)
    }
    for level in verdict.trace.levels:
        for asked in level.experts:
            if (found := drawn(frame, asked)) is not None:
                made[f"{asked.name}.found"] = found
    for name, image in made.items():
        where = folder / f"{path.stem}.{name}.png"
        image.save(where)
        errors.print(f"wrote {where}", markup=False, highlight=False)
