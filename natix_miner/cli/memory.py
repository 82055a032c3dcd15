"""`natix-miner memory ...`: the index of labelled pictures; build one, tell what is in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.cli.models import DEFAULT_CATALOGUE
from natix_miner.cli.options import DEFAULT_PROFILE
from natix_miner.cli.tables import show_table
from natix_miner.clock import SYSTEM_CLOCK
from natix_miner.errors import ConfigurationError

if TYPE_CHECKING:
    from natix_miner.experts.memory.building import Labelled
    from natix_miner.experts.memory.card import IndexCard

app = typer.Typer(
    name="memory",
    help="The index of labelled pictures that the expert `memory` looks things up in.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("build")
def build_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="JOURNAL",
            help="A journal or its Parquet export; or a folder (roadwork/, none/ or manifest.csv), "
            "a CSV or JSONL of labelled pictures.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the index.")],
    features: Annotated[
        str,
        typer.Option(
            help="What pictures are compared by, as in the profile: colour-shape, embedded, "
            'or a section such as "{type: backbone, model: dinov3-vit-l}".'
        ),
    ] = "colour-shape",
    folder: Annotated[
        Path, typer.Option(help="Where paths in --features count from: the profile's folder.")
    ] = DEFAULT_PROFILE.parent,
    catalogue: Annotated[
        Path, typer.Option(help="The list of models, for a backbone by its key.")
    ] = DEFAULT_CATALOGUE,
    split: Annotated[
        str | None, typer.Option(help="Only rows of this split (column split of a CSV).")
    ] = None,
    reliability: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=VALUE", help="How far labels of a source can be relied upon."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Keep vectors as float16.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the index that is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Describe every labelled picture once and write the index. Beside a running miner, too.

    Exit code 0: written. 2: what was given cannot be read, or has no labels of both kinds.

    Example: natix-miner memory build out/journal/journal.sqlite3 --out models/mine/memory
    """
    from natix_miner.cli.memory_sources import labelled_pictures
    from natix_miner.experts.family import Surroundings
    from natix_miner.experts.memory.building import build_index
    from natix_miner.experts.memory.features import load_features
    from natix_miner.experts.memory.storing import CARD, save_index

    if (out / CARD).exists() and not force:
        raise ConfigurationError(f"{out} holds an index already: give another folder, or --force")
    section = _features(features)
    reliabilities = _reliabilities(reliability or [])
    loaded = load_features("memory", section, Surroundings(folder, catalogue=catalogue))
    index = build_index(
        _counted(labelled_pictures(source, split)),
        loaded,
        features=section.type,
        made_at=SYSTEM_CLOCK.time(),
        reliabilities=reliabilities,
        half=half,
    )
    loaded.close()
    card = save_index(index, out)
    for reason, count in card.left_out.items():
        typer.echo(f"left out: {count} ({reason})", err=True)
    if as_json:
        typer.echo(json.dumps(_document(card, out)))
        return
    typer.echo(
        f"{card.roadwork + card.none} pictures ({card.roadwork} roadwork, {card.none} none) "
        f"in the index {out}"
    )


@app.command("show")
def show_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an index.")],
    as_json: AsJson = False,
) -> None:
    """What is in an index, and what it was made of.

    Reads only. Exit code 0: shown. 2: the folder holds no index.

    Example: natix-miner memory show models/mine/memory
    """
    from natix_miner.experts.memory.storing import load_index

    document = _document(load_index(folder).card, folder)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    show_table(("what", "is"), [(key, _words(value)) for key, value in document.items()], title="")


def _features(text: str) -> Any:
    """The section of a profile that the option stands for."""
    import yaml
    from pydantic import TypeAdapter, ValidationError

    from natix_miner.experts.memory.features import FeaturesSection

    try:
        said = yaml.safe_load(text)
        adapter: TypeAdapter[Any] = TypeAdapter(FeaturesSection)
        return adapter.validate_python({"type": said} if isinstance(said, str) else said)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--features {text!r} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"--features {text!r}: {where + ': ' if where else ''}{first['msg']}"
        ) from None


def _reliabilities(said: list[str]) -> dict[str, float]:
    found = {}
    for one in said:
        source, _, value = one.rpartition("=")
        try:
            found[source] = float(value)
        except ValueError:
            found[source] = -1.0
        if not source or not 0.0 < found[source] <= 1.0:
            raise ConfigurationError(
                f"--reliability {one!r}: write SOURCE=VALUE with a value above 0, at most 1"
            )
    return found


def _document(card: IndexCard, folder: Path) -> dict[str, Any]:
    """The card without the names of all entries."""
    bytes_held = (folder / card.vectors).stat().st_size
    made = datetime.fromtimestamp(card.made_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "folder": str(folder),
        "entries": len(card.ids),
        **card.model_dump(exclude={"ids", "format", "made_at"}),
        "bytes": bytes_held,
        "made at (UTC)": made,
    }


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "-"
    return str(value)


def _counted(pictures: Iterable[Labelled]) -> Iterator[Labelled]:
    """The same, counted on a terminal."""
    if not sys.stderr.isatty():
        yield from pictures
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("describing pictures"), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        for picture in pictures:
            yield picture
            bar.advance(task)
