"""`natix-miner score`: saved queries through the judge of a profile, paid as a validator would."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.atomic import write_whole
from natix_miner.cli.options import DEFAULT_PROFILE, ProfileOption

if TYPE_CHECKING:
    from natix_miner.profile import Profile
    from natix_miner.scoring import (
        QuerySource,
        ResultsFile,
        ScoredQuery,
        ScoreRun,
        ScoreSettings,
        Summary,
    )
    from natix_miner.scoring.engines import JudgeVersions

INTERRUPTED = 130
RESULTS, SUMMARY, REPORT = "results.jsonl", "summary.json", "report.html"


class Engine(StrEnum):
    """Where queries are judged."""

    LOCAL = "local"
    RAY = "ray"


class Simulate(StrEnum):
    """Which validator's pictures to make of the saved ones."""

    CROPPED = "cropped"
    LETTERBOXED = "letterboxed"
    FULL_FRAME = "full-frame"
    AS_IS = "as-is"


def score(
    queries: Annotated[
        Path,
        typer.Option(
            help="Saved queries: a folder (roadwork/, none/ or manifest.csv), a CSV, JSONL of "
            "synapses, a Parquet export or a journal."
        ),
    ],
    profile: ProfileOption = DEFAULT_PROFILE,
    split: Annotated[
        str | None, typer.Option(help="Only rows of this split (column split of the CSV).")
    ] = None,
    simulate: Annotated[
        Simulate, typer.Option(help="Make the pictures that a validator of this kind sends.")
    ] = Simulate.AS_IS,
    repeats: Annotated[int, typer.Option(min=1, help="Draws of every picture.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of order, simulation and intervals.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many pictures.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Queries judged at once.")] = 8,
    keep_order: Annotated[
        bool,
        typer.Option("--keep-order", help="Judge a folder or CSV as listed, not in a drawn order."),
    ] = False,
    all_levels: Annotated[
        bool,
        typer.Option(
            "--all-levels", help="Enter every level whatever the consensus says, as a fit needs it."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(help=f"Folder for {REPORT}, {SUMMARY} and {RESULTS}."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help=f"Results file to go on with (default: {RESULTS} in --report)."),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(help="Judge in this process, or in workers on a Ray cluster (docs/scale.md)."),
    ] = Engine.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Ray: processes with a judge each (default: as many as fit)."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Ray: auto or HOST:PORT of a cluster (default: one made here)."),
    ] = None,
    worker_cpus: Annotated[
        float | None, typer.Option(min=0.01, help="Ray: CPUs for each worker (default: 1).")
    ] = None,
    worker_gpus: Annotated[
        float | None,
        typer.Option(min=0.0, help="Ray: GPUs for each worker (default: what the profile needs)."),
    ] = None,
) -> None:
    """Judge saved queries and say what the answers would have earned.

    Neither a chain nor a wallet is needed, and the queries stay as they are.

    Exit code 0: done. 2: queries or profile cannot be used. 130: interrupted; with --report or
    --resume the same command goes on where it stopped.

    Example: natix-miner score --queries pictures/ --simulate cropped --report out/score
    """
    from natix_miner.profile import load_profile
    from natix_miner.scoring import ScoreSettings, open_source, summarise
    from natix_miner.scoring.all_levels import with_all_levels
    from natix_miner.scoring.terminal import tell

    on_ray = (workers, ray_address, worker_cpus, worker_gpus)
    if engine is Engine.LOCAL and any(option is not None for option in on_ray):
        raise typer.BadParameter("--workers, --ray-address and --worker-... need --engine ray")
    the_profile = load_profile(profile)
    if all_levels:
        the_profile = with_all_levels(the_profile)
    source = open_source(queries, split)
    settings = ScoreSettings(
        simulate=simulate.value,
        seed=seed,
        repeats=repeats,
        limit=limit,
        concurrency=concurrency,
        deadline_seconds=the_profile.deadline_seconds,
        keep_order=keep_order,
        all_levels=all_levels,
        keep_traces=report is not None,
    )
    about = {
        "queries": str(queries.resolve()),
        "split": split,
        "profile": the_profile.name,
        "profile_path": str(profile.resolve()),
        **settings.about(),
    }
    state = resume or (report / RESULTS if report else None)
    try:
        if engine is Engine.RAY:
            opened = partial(open_source, queries.resolve(), split)
            run = _run_on_ray(the_profile, source, opened, settings, state, about, on_ray)
        else:
            run = asyncio.run(_run(the_profile, source, settings, state, about))
    except KeyboardInterrupt:
        kept = f"; what is done is in {state}, the same command goes on" if state else ""
        typer.echo(f"interrupted{kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    summary = summarise(
        run.rows,
        settings={
            "profile": the_profile.name,
            "simulate": settings.simulate,
            "seed": seed,
            "repeats": repeats,
            "split": split,
        },
        rate_per_second=run.judged / run.seconds if run.judged else None,
        seed=seed,
    )
    for reason, count in source.skipped.items():
        typer.echo(f"left out: {count} ({reason})", err=True)
    if report is not None:
        _write_report(report, run.rows, summary, source, settings)
    if as_json:
        typer.echo(json.dumps(summary.as_dict(), indent=2))
    else:
        tell(summary)
        if report is not None:
            typer.echo(f"report: {report / REPORT}")


async def _run(
    profile: Profile,
    source: QuerySource,
    settings: ScoreSettings,
    state: Path | None,
    about: dict[str, Any],
) -> ScoreRun:
    from natix_miner.assembly import build_judge
    from natix_miner.scoring import ResultsFile, score_queries
    from natix_miner.scoring.engines import versions_of
    from natix_miner.scoring.terminal import RunProgress

    judge = build_judge(profile, wait_for_servers=math.inf)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(judge.close)
        await judge.start()
        results: ResultsFile | None = None
        if state is not None:
            decisive = _decisive(profile, versions_of(judge), source, settings)
            results = stack.enter_context(
                ResultsFile(state, decisive, about=about, keep_traces=settings.keep_traces)
            )
            _tell_resumed(results)
        on_row = stack.enter_context(RunProgress(source, settings))
        return await score_queries(judge, source, settings, results=results, on_row=on_row)


def _run_on_ray(
    profile: Profile,
    source: QuerySource,
    opened: Callable[[], QuerySource],
    settings: ScoreSettings,
    state: Path | None,
    about: dict[str, Any],
    on_ray: tuple[int | None, str | None, float | None, float | None],
) -> ScoreRun:
    from natix_miner.assembly import build_judge
    from natix_miner.scoring import ResultsFile
    from natix_miner.scoring.engines import LOCAL, RayEngine, RayOptions, gpus_of
    from natix_miner.scoring.terminal import RunProgress

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    workers, address, cpus, gpus = on_ray
    options = RayOptions(
        address=address or LOCAL,
        workers=workers,
        cpus=1.0 if cpus is None else cpus,
        gpus=gpus_of(profile) if gpus is None else gpus,
    )
    make_judge = partial(build_judge, profile, wait_for_servers=math.inf)
    tell = partial(typer.echo, err=True)
    with (
        RayEngine(make_judge, opened, source, settings, options, tell=tell) as engine,
        ExitStack() as stack,
    ):
        results: ResultsFile | None = None
        if state is not None:
            decisive = _decisive(profile, engine.versions(), source, settings)
            results = stack.enter_context(
                ResultsFile(state, decisive, about=about, keep_traces=settings.keep_traces)
            )
            _tell_resumed(results)
        on_row = stack.enter_context(RunProgress(source, settings))
        run = engine.score(results=results, on_row=on_row)
    if engine.deaths:
        typer.echo(f"workers that died and were replaced: {engine.deaths}", err=True)
    return run


def _decisive(
    profile: Profile, versions: JudgeVersions, source: QuerySource, settings: ScoreSettings
) -> dict[str, Any]:
    """Everything that decides an answer: with another one of these, old results do not count."""
    return {
        "profile": f"{profile.name}:{profile.digest}",
        "consensus": versions.consensus,
        "experts": dict(versions.experts),
        "queries": source.identity(),
        **settings.decisive(),
    }


def _tell_resumed(results: ResultsFile) -> None:
    if results.dropped_bytes:
        typer.echo(
            f"{results.path}: a torn last line ({results.dropped_bytes} bytes) was cut off; "
            "that query is judged again",
            err=True,
        )
    if results.rows:
        typer.echo(f"going on: {len(results.rows)} results are in {results.path}", err=True)


def _write_report(
    folder: Path,
    rows: list[ScoredQuery],
    summary: Summary,
    source: QuerySource,
    settings: ScoreSettings,
) -> None:
    from natix_miner.cli.score_experts import expert_panel
    from natix_miner.scoring.gallery import with_thumbnails
    from natix_miner.scoring.report import write_report

    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / SUMMARY, json.dumps(summary.as_dict(), indent=2) + "\n")
    write_report(
        folder / REPORT,
        with_thumbnails(rows, source, settings),
        summary,
        title=f"Scoring of profile {summary.settings['profile']}",
        subtitle=f"{summary.n} queries, {summary.labelled} of them labelled, pictures "
        f"{settings.simulate}, seed {settings.seed}",
        deadline_ms=settings.deadline_seconds * 1000.0,
        experts=expert_panel(rows, seed=settings.seed),
        seed=settings.seed,
    )
