"""One self-contained HTML page about a run: figures, plots, and the worst answers to look at."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from natix_miner.scoring.gallery import GALLERY_SIZE, worst
from natix_miner.scoring.metrics import Confusion, measure
from natix_miner.scoring.row import ScoredQuery
from natix_miner.scoring.summary import Summary

_TITLES = {
    "reward": "Reward over the stream",
    "reliability": "Reliability",
    "scores": "Probabilities by label",
    "latency": "Time to answer",
}
_NOTES = {
    "reward": "Windows of 100 (correlation) and 10 (accuracy) as the validator keeps them; "
    "early rewards swing because the windows are still short.",
    "reliability": "On the dashed line a probability means what it says. Numbers: answers in the "
    "bin.",
    "scores": "Right of the dashed line counts as roadwork.",
    "latency": "Logarithmic axis.",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure, its interval or a note under it; `alarm` colours it."""

    name: str
    value: str
    note: str = ""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class GroupLine:
    """Decisions of one kind of picture."""

    name: str
    queries: int
    missing: int
    confusion: Confusion
    accuracy: float | None
    mcc: float | None


@dataclass(frozen=True, slots=True)
class ExpertLine:
    """One expert on its own: how often it had a probability, and how well it ranks the labels."""

    name: str
    asked: int
    usable: int
    auc: float | None
    ms: float


@dataclass(frozen=True, slots=True)
class Card:
    """One answer of the gallery."""

    row: ScoredQuery
    picture: str | None
    said: str
    truth: str
    kind: str


def write_report(
    path: Path,
    rows: Sequence[ScoredQuery],
    summary: Summary,
    *,
    title: str = "Scoring report",
    subtitle: str = "",
    deadline_ms: float | None = None,
    gallery: int = GALLERY_SIZE,
) -> Path:
    """Write the page to `path`; its folder is made. Rows are in the order of the stream."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render_report(
        rows, summary, title=title, subtitle=subtitle, deadline_ms=deadline_ms, gallery=gallery
    )
    path.write_text(text, encoding="utf-8")
    return path


def render_report(
    rows: Sequence[ScoredQuery],
    summary: Summary,
    *,
    title: str = "Scoring report",
    subtitle: str = "",
    deadline_ms: float | None = None,
    gallery: int = GALLERY_SIZE,
) -> str:
    """The page as text. It refers to nothing outside itself."""
    import jinja2
    from markupsafe import Markup

    from natix_miner.scoring.plots import all_plots

    template = resources.files("natix_miner.scoring").joinpath("report.html")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = figure
    plots = [
        {"id": name, "title": _TITLES[name], "note": _NOTES[name], "svg": Markup(svg)}
        for name, svg in all_plots(rows, deadline_ms).items()
    ]
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title=title,
        subtitle=subtitle,
        tiles=tiles(summary, deadline_ms),
        plots=plots,
        kinds=group_lines(rows),
        experts=expert_lines(rows),
        levels=summary.levels,
        missing=summary.missing,
        cards=[card(row) for row in worst(rows, gallery)],
        summary=summary,
        settings=summary.settings,
    )


def figure(value: float | None, digits: int = 3) -> str:
    """A figure for people; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def tiles(summary: Summary, deadline_ms: float | None) -> list[Tile]:
    """The headline figures."""
    quality, reward, latency = summary.quality, summary.reward, summary.latency_ms
    found = [
        Tile(
            "mean reward",
            figure(reward.mean if reward else None),
            f"{reward.low:.3f} to {reward.high:.3f}" if reward else "no labels",
        )
    ]
    for name, value in (("MCC", quality.mcc), ("accuracy", quality.accuracy), ("AUC", quality.auc)):
        interval = summary.intervals.get(name.lower())
        note = f"{interval.low:.3f} to {interval.high:.3f}" if interval else "no interval"
        found.append(Tile(name, figure(value), note))
    found.append(Tile("Brier", figure(quality.brier), f"calibration error {figure(quality.ece)}"))
    silent = summary.n - summary.answered
    found += [
        Tile(
            "answered",
            f"{100 * summary.answered / summary.n:.4g} %" if summary.n else "–",
            f"{summary.answered} of {summary.n}",
            silent > 0,
        ),
        Tile(
            "late",
            str(summary.late),
            f"deadline {deadline_ms / 1000:g} s" if deadline_ms is not None else "",
            summary.late > 0,
        ),
        Tile(
            "time to answer",
            f"{figure(latency['p50'], 1)} ms",
            f"p99 {figure(latency['p99'], 1)} ms",
        ),
    ]
    if summary.rate_per_second is not None:
        found.append(Tile("rate", f"{summary.rate_per_second:,.0f} /s", "pictures judged"))
    return found


def group_lines(rows: Iterable[ScoredQuery]) -> list[GroupLine]:
    """Labelled decisions by generation and size class."""
    kinds: dict[str, list[ScoredQuery]] = defaultdict(list)
    for row in rows:
        if row.label is not None:
            words = [word for word in (row.generation, row.size_class) if word]
            kinds[" · ".join(words) or "not a picture"].append(row)
    found = []
    for name, members in sorted(kinds.items()):
        quality = measure([row.prediction for row in members], [row.label or 0 for row in members])
        found.append(
            GroupLine(
                name,
                quality.n,
                quality.missing,
                quality.confusion,
                quality.accuracy,
                quality.mcc,
            )
        )
    return found


def expert_lines(rows: Sequence[ScoredQuery]) -> list[ExpertLine]:
    """Every expert that was asked, on its own."""
    names = sorted({name for row in rows for name in row.votes})
    found = []
    for name in names:
        votes = [(row.votes[name], row.label) for row in rows if name in row.votes]
        usable = [(vote, label) for vote, label in votes if isinstance(vote, float)]
        known = [(vote, label) for vote, label in usable if label is not None]
        quality = measure([vote for vote, _ in known], [label for _, label in known])
        ms = [row.expert_ms[name] for row in rows if name in row.expert_ms]
        mean_ms = sum(ms) / len(ms) if ms else 0.0
        found.append(ExpertLine(name, len(votes), len(usable), quality.auc, mean_ms))
    return found


def card(row: ScoredQuery) -> Card:
    """What the gallery shows of one row."""
    picture = None
    if row.thumbnail is not None:
        picture = "data:image/jpeg;base64," + base64.b64encode(row.thumbnail).decode("ascii")
    said = f"{row.prediction:.3f}" if row.answered else "no answer"
    kind = "wrong" if row.wrong else "right" if row.answered else "silent"
    return Card(row, picture, said, "roadwork" if row.label else "none", kind)
