"""`natix-miner compare A B`: two score runs, journals or fits on the same queries."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from natix_miner.errors import ConfigurationError

if TYPE_CHECKING:
    from natix_miner.lab.compare import Comparison, SideFigures
    from natix_miner.lab.compare_pairs import Side

#: Flips shown on a terminal; elsewhere all of them.
MOST_FLIPS = 40
PAGE, DOCUMENT = "compare.html", "compare.json"
_WORDS = {1: "roadwork", 0: "none", None: "?"}


def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="Scored folder, results file, journal, Parquet export or fitted file."
        ),
    ],
    b: Annotated[
        Path, typer.Argument(metavar="B", help="What is compared with it: the same kind.")
    ],
    queries: Annotated[
        Path | None,
        typer.Option(
            help="For two fitted files: the journal, export or scored folder whose opinions both "
            "pool."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help=f"Folder for {PAGE} (the flips with their pictures) and {DOCUMENT}."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn streams.")] = 0,
    resamples: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Streams drawn for the intervals.")
    ] = 2000,
) -> None:
    """Is B better than A? Reward, errors and time on the same queries, and what changed sides.

    Both are read, neither is changed. Exit code 0: compared, whatever came out. 2: the two cannot
    be compared.

    Example: natix-miner compare out/score-a out/score-b
    """
    from natix_miner.lab.compare import compare as compared

    with ExitStack() as opened:
        first, second, notes = _sides(a, b, queries, opened)
        found = compared(first, second, seed=seed, resamples=resamples, notes=notes)
        document = json.dumps(found.as_dict(), indent=2)
        if report is not None:
            from natix_miner.lab.compare_page import compare_page
            from natix_miner.lab.story_page import write_page

            page = compare_page(found)
            write_page(report / DOCUMENT, document + "\n")
            write_page(report / PAGE, page)
    if as_json:
        typer.echo(document)
        return
    _tell(found)
    if report is not None:
        typer.echo(f"report: {report / PAGE}")


def _sides(
    a: Path, b: Path, queries: Path | None, opened: ExitStack
) -> tuple[Side, Side, list[str]]:
    """Both sides, their pictures readable while `opened` is open, and what has to be said."""
    from natix_miner.lab import compare_sides as sides
    from natix_miner.stored import open_stored

    fits = [path for path in (a, b) if path.suffix.lower() == ".json"]
    if len(fits) == 1:
        raise ConfigurationError(
            f"{fits[0]} is a fitted file and the other is not: compare two fits (with --queries), "
            "or two runs"
        )
    if fits:
        if queries is None:
            raise ConfigurationError(
                "two fits are compared over stored opinions: name them by --queries (a journal, "
                "its export or a scored folder)"
            )
        from natix_miner.consensus import load_fitted

        names = _names(a, b)
        stored = opened.enter_context(open_stored(queries))
        return sides.sides_of_fits(stored, (load_fitted(a), load_fitted(b)), names)
    if queries is not None:
        raise ConfigurationError(
            "--queries goes with two fitted files (.json); runs and journals hold their queries"
        )
    found, notes = [], []
    for path, name in zip((a, b), _names(a, b), strict=True):
        stored = opened.enter_context(open_stored(path))
        found.append(sides.side_of(stored, name))
        notes += [f"{name}: {count} left out ({why})" for why, count in stored.skipped.items()]
    sides.refuse_if_asked_differently(*found)
    return found[0], found[1], [*sides.settings_apart(*found), *notes]


def _names(a: Path, b: Path) -> tuple[str, str]:
    return str(a), str(b)


def _tell(found: Comparison) -> None:
    from natix_miner.cli.tables import show_table

    show_table(
        ("figure", "A", "B", "B - A", "95 % interval"),
        _rows(found),
        title=f"A {found.a.name}\nB {found.b.name}",
    )
    shown = found.flips[:MOST_FLIPS] if sys.stdout.isatty() else found.flips
    if shown:
        show_table(
            ("flip", "query", "A", "B", "label", "generation", "size"),
            [
                (
                    flip.kind,
                    flip.pair.a.name,
                    _answer(flip.pair.a.prediction),
                    _answer(flip.pair.b.prediction),
                    _WORDS[flip.pair.label],
                    flip.pair.a.generation or "-",
                    flip.pair.a.size_class or "-",
                )
                for flip in shown
            ],
            title="Changed sides",
        )
    if len(shown) < len(found.flips):
        typer.echo(f"and {len(found.flips) - len(shown)} more (--json or --report has all)")
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(found.sentence)


def _rows(found: Comparison) -> list[tuple[str, ...]]:
    a, b, pairs = found.a, found.b, found.pairs
    rows = [
        ("queries in common", str(len(pairs.pairs)), str(len(pairs.pairs)), "", ""),
        ("labelled", str(found.labelled), str(found.labelled), "", ""),
        ("only in one", str(pairs.only_a), str(pairs.only_b), "", ""),
        *(
            (f"left out: {why}", str(count), str(count), "", "")
            for why, count in pairs.left_out.items()
        ),
        ("answered", str(a.answered), str(b.answered), "", ""),
        _row("reward of the stream", a.reward, b.reward),
    ]
    for name, word, one, two in (
        ("reward", "reward of drawn streams", _mean(a), _mean(b)),
        ("mcc", "MCC", a.quality.mcc, b.quality.mcc),
        ("accuracy", "accuracy", a.quality.accuracy, b.quality.accuracy),
    ):
        rows.append(_row(word, one, two, found, name))
    for word, one, two in (
        ("AUC", a.quality.auc, b.quality.auc),
        ("Brier", a.quality.brier, b.quality.brier),
        ("calibration error (ECE)", a.quality.ece, b.quality.ece),
    ):
        rows.append(_row(word, one, two))
    for word, one, two in (
        ("p50, ms", a.p50_ms, b.p50_ms),
        ("p99, ms", a.p99_ms, b.p99_ms),
        ("experts, ms a query", a.expert_ms, b.expert_ms),
    ):
        rows.append(_row(word, one, two, digits=1))
    if found.mcnemar is not None:
        test = found.mcnemar
        rows.append(
            (
                "wrong where the other is right",
                str(test.only_a_wrong),
                str(test.only_b_wrong),
                f"{test.only_b_wrong - test.only_a_wrong:+d}",
                f"McNemar p = {test.p:.4g}",
            )
        )
    return rows


def _row(
    word: str,
    a: float | None,
    b: float | None,
    found: Comparison | None = None,
    name: str = "",
    digits: int = 4,
) -> tuple[str, ...]:
    between = "" if a is None or b is None else f"{b - a:+.{digits}f}"
    one = found.differences.get(name) if found is not None else None
    span = f"{one.low:+.4f} to {one.high:+.4f}" if one is not None and between else ""
    return word, _figure(a, digits), _figure(b, digits), between, span


def _mean(side: SideFigures) -> float | None:
    return side.drawn_reward[0] if side.drawn_reward else None


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _answer(prediction: float) -> str:
    return "no answer" if prediction < 0 else f"{prediction:.4f}"
