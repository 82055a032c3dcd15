"""One self-contained HTML page about a run: figures, plots, and the answers worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from natix_miner.atomic import write_whole
from natix_miner.errors import ConfigurationError
from natix_miner.scoring.gallery import GALLERY_SIZE, UNSURE_SIZE, gallery_of
from natix_miner.scoring.report.cards import cards_of
from natix_miner.scoring.report.experts import ExpertPanel
from natix_miner.scoring.report.facts import Facts, facts_of
from natix_miner.scoring.report.kinds import divisions_of
from natix_miner.scoring.report.stopping import stops_of
from natix_miner.scoring.report.tables import expert_lines, figure, tiles, time_lines
from natix_miner.scoring.reward import DEFAULT_RESAMPLES
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.summary import Summary

#: All plots that a page can have; which of them there are depends on the rows.
PLOTS = ("reward", "windows", "reliability", "scores", "cost", "latency")


def write_report(
    path: Path,
    rows: Sequence[ScoredQuery],
    summary: Summary,
    *,
    title: str = "Scoring report",
    subtitle: str = "",
    deadline_ms: float | None = None,
    gallery: int = GALLERY_SIZE,
    unsure: int = UNSURE_SIZE,
    experts: ExpertPanel | None = None,
    seed: int = 0,
) -> Path:
    """Write the page to `path`, whole or not at all; its folder is made.

    Arguments as in `render_report`. Raises ConfigurationError when the page cannot be written.
    """
    text = render_report(
        rows,
        summary,
        title=title,
        subtitle=subtitle,
        deadline_ms=deadline_ms,
        gallery=gallery,
        unsure=unsure,
        experts=experts,
        seed=seed,
    )
    try:
        write_whole(path, text)
    except OSError as error:
        raise ConfigurationError(
            f"the report {path} cannot be written ({error.strerror}): name another folder"
        ) from error
    return path


def render_report(
    rows: Sequence[ScoredQuery],
    summary: Summary,
    *,
    title: str = "Scoring report",
    subtitle: str = "",
    deadline_ms: float | None = None,
    gallery: int = GALLERY_SIZE,
    unsure: int = UNSURE_SIZE,
    experts: ExpertPanel | None = None,
    seed: int = 0,
) -> str:
    """The page as text. It refers to nothing outside itself and holds no script.

    Rows are in the order of the stream; what comes from their traces is left out where they have
    none. `gallery` and `unsure` bound the answers shown, `experts` is what a fit says of the
    experts, `seed` that of the resampled streams. Raises QuerySourceError for a broken trace.
    """
    from natix_miner.scoring.report.answer_plots import answer_plots
    from natix_miner.scoring.report.cost_plots import cost_plot, latency_plot
    from natix_miner.scoring.report.stream_plots import stream_plots

    facts = facts_of(rows)
    labelled = [row for row in rows if row.label is not None]
    resamples = summary.reward.resamples if summary.reward else DEFAULT_RESAMPLES
    stops = stops_of(facts, seed=seed, resamples=resamples)
    levels = list(dict.fromkeys(level.name for one in facts for level in one.levels))
    plots = [
        *stream_plots(labelled, summary.reward, seed=seed),
        *answer_plots([row for row in labelled if row.answered]),
        *cost_plot(stops),
        *latency_plot(rows, levels, deadline_ms),
    ]
    by_row = {(one.row.repeat, one.row.position, one.row.name): one for one in facts}
    errors, open_ones = gallery_of(rows, gallery, unsure)
    panel = experts or ExpertPanel()
    return _rendered(
        title=title,
        subtitle=subtitle,
        summary=summary,
        tiles=tiles(summary, deadline_ms),
        plots=dict.fromkeys(PLOTS) | {one.id: one for one in plots},
        divisions=divisions_of(facts),
        stops=stops,
        experts=expert_lines(facts, panel),
        panel=panel,
        times=time_lines(facts, deadline_ms),
        errors=cards_of(_found(by_row, errors)),
        error_count=sum(row.wrong or not row.answered for row in labelled),
        unsure=cards_of(_found(by_row, open_ones)),
        deadline_ms=deadline_ms,
    )


def _found(by_row: dict[tuple[int, int, str], Facts], rows: Sequence[ScoredQuery]) -> list[Facts]:
    return [by_row[row.repeat, row.position, row.name] for row in rows]


def _rendered(**context: object) -> str:
    import jinja2
    from markupsafe import Markup

    folder = resources.files("natix_miner.scoring.report")
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
    )
    environment.filters["figure"] = figure
    environment.filters["percent"] = lambda share, digits=1: f"{100.0 * share:.{digits}f} %"
    environment.filters["signed"] = lambda value: f"{value:+.2f}"
    # Only what this package draws itself is put in as it is.
    environment.filters["drawing"] = Markup
    return environment.get_template("page.html").render(**context)
