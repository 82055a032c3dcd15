"""`natix-miner models ...`: the catalogue of models; fetch one, check what was fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.cli.fetch_progress import FetchProgress
from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.catalogue import Catalogue, Model

app = typer.Typer(
    name="models",
    invoke_without_command=True,
)

DEFAULT_CATALOGUE = Path("models/catalogue.yaml")
#: Exit status of `verify` when a file is missing or changed.
NOT_INTACT = 1

CataloguePath = Annotated[Path, typer.Option("--catalogue", help="The list of models.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Into = Annotated[
    Path | None,
    typer.Option(help="Folder for the model's folder; by default beside the catalogue."),
]


@app.callback()
def list_command(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option(help="Only models of this kind.")] = None,
    existing: Annotated[
        bool, typer.Option("--exists/--all", help="Only models that exist.")
    ] = False,
    plans: Annotated[
        bool,
        typer.Option(
            "--plans", help="What the plans name: does it exist, what instead, who loads it."
        ),
    ] = False,
    catalogue: CataloguePath = DEFAULT_CATALOGUE,
    as_json: AsJson = False,
) -> None:
    """The checked list of models: list, show, fetch, verify.

    Without a subcommand the list is shown: what exists, how large it is, by which terms, what loads
    it. No server is asked for that. Exit code 0: shown. 2: the list cannot be read, or options
    contradict each other.

    Example: natix-miner models --kind detector --exists
    """
    if context.invoked_subcommand is not None:
        return
    from natix_miner.catalogue import KINDS

    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"no kind {kind!r}; there are {', '.join(KINDS)}")
    found = _load(catalogue)
    if plans:
        if kind is not None or existing:
            raise typer.BadParameter(
                "--plans shows all that the plans name; leave --kind and --exists"
            )
        _show_plans(found, as_json)
        return
    chosen = {
        key: model
        for key, model in found.models.items()
        if (kind is None or model.kind == kind) and (model.exists or not existing)
    }
    if as_json:
        rows = [_document(found, key) for key in chosen]
        typer.echo(json.dumps({"as_of": found.as_of, "models": rows}, indent=2))
        return
    show_table(
        ("key", "kind", "10^9", "GB by format", "licence", "plans", "adapter", "remarks"),
        [_row(found, key, model) for key, model in chosen.items()],
        title=f"{len(chosen)} models, as of {found.as_of}",
    )


@app.command("show")
def show_command(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key or repository.")],
    catalogue: CataloguePath = DEFAULT_CATALOGUE,
    as_json: AsJson = False,
) -> None:
    """All that is known of one model: sizes, terms, traps, what loads it.

    Read off the list only, no server is asked. Exit code 0: shown. 2: the list cannot be read, or
    has no such model.

    Example: natix-miner models show siglip2-so400m
    """
    found = _load(catalogue)
    row, _ = found.row(key)
    document = _document(found, row)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    show_table(("what", "is"), list(_lines(document)), title=row)


@app.command("fetch")
def fetch_command(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of a checkpoint, or repository.")],
    into: Into = None,
    revision: Annotated[
        str | None, typer.Option(help="A commit instead of the one that the catalogue pins.")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Fetch pickled weights too; they can run code.")
    ] = False,
    allow_remote_code: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Fetch this key's Python code too; read it first."),
    ] = None,
    accept_licence: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Terms that you have read and accept.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="A mirror of the model hub.")] = None,
    catalogue: CataloguePath = DEFAULT_CATALOGUE,
    as_json: AsJson = False,
) -> None:
    """Download a checkpoint, check every file by the hub's digests, list them in the folder.

    The same command goes on where it was interrupted. Pickled weights and code of the repository
    are left out unless asked for. Exit code 0: fetched. 2: refused, or not to be had.

    Example: natix-miner models fetch qwen3-vl-8b
    """
    from natix_miner.catalogue.fetch import Permissions, fetch
    from natix_miner.catalogue.hub import HuggingFaceHub

    entry = _load(catalogue).entry(key)
    permissions = Permissions(
        pickles=allow_pickle,
        remote_code=frozenset(allow_remote_code or ()),
        licences=frozenset(accept_licence or ()),
    )
    folder = catalogue.parent if into is None else into
    with FetchProgress() as progress:
        manifest = fetch(
            entry,
            folder,
            HuggingFaceHub(endpoint),
            permissions,
            revision=revision,
            on_choice=progress.begin,
            on_file=progress.advance,
        )
    where = folder / entry.key
    if as_json:
        typer.echo(json.dumps({"folder": str(where), **manifest.model_dump()}, indent=2))
        return
    size = sum(file.bytes for file in manifest.files.values())
    typer.echo(f"{where}: {len(manifest.files)} files, {size / 1e9:.2f} GB, {manifest.revision}")
    if manifest.left_out:
        typer.echo(f"left out: {', '.join(manifest.left_out)}")
    if not manifest.pinned:
        typer.echo(f"the catalogue pins no revision; say `revision: {manifest.revision}`")


@app.command("verify")
def verify_command(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of a fetched checkpoint.")],
    into: Into = None,
    catalogue: CataloguePath = DEFAULT_CATALOGUE,
    as_json: AsJson = False,
) -> None:
    """Hash a fetched model anew.

    No network is needed, and nothing is mended. Exit code 0: as fetched. 1: files missing or
    changed. 2: it cannot be looked at.

    Example: natix-miner models verify qwen3-vl-8b
    """
    from natix_miner.catalogue.manifest import verify

    entry = _load(catalogue).entry(key)
    where = (catalogue.parent if into is None else into) / entry.key
    found = verify(where)
    if as_json:
        parts = {name: list(getattr(found, name)) for name in ("missing", "changed", "added")}
        typer.echo(json.dumps({"folder": str(where), "intact": found.intact, **parts}, indent=2))
    else:
        for name in ("missing", "changed", "added"):
            for file in getattr(found, name):
                typer.echo(f"{name}: {file}")
        typer.echo(f"{where}: {'as fetched' if found.intact else 'not as fetched'}")
    raise typer.Exit(0 if found.intact else NOT_INTACT)


def _load(path: Path) -> Catalogue:
    from natix_miner.catalogue import load_catalogue

    return load_catalogue(path)


def _show_plans(found: Catalogue, as_json: bool) -> None:
    from natix_miner.cli.models_of_plans import HEADS, documents_of_plans, rows_of_plans

    if as_json:
        rows = documents_of_plans(found)
        typer.echo(json.dumps({"as_of": found.as_of, "models": rows}, indent=2))
        return
    lines = rows_of_plans(found)
    absent = sum(row[2] == "no" for row in lines)
    title = f"{len(lines)} models that the plans name, {absent} of them do not exist"
    show_table(HEADS, lines, title=title, whole=())


def _row(found: Catalogue, key: str, model: Model) -> tuple[str, ...]:
    sizes = [f"{e.checkpoint.format} {_figure(e.gigabytes)}" for e in found.entries(key)]
    if model.asset is not None:
        sizes.append(f"{model.asset.file} {_figure(model.asset.gigabytes)}")
    remarks = [*model.traps, *(["remote code"] if model.remote_code else [])]
    if model.must_accept:
        remarks.append(f"to be accepted: {model.licence.name}")
    if not model.exists:
        remarks = [f"does not exist: {model.why}{found.instead_of(model)}"]
    return (
        key,
        model.kind,
        _figure(model.parameters.total if model.parameters else None),
        ", ".join(sizes) or "-",
        model.licence.name + ("" if model.licence.verified or not model.exists else " ?"),
        ", ".join(f"{claim:g}" for claim in model.plan_claim_gb) or "-",
        model.adapter or "-",
        ", ".join(remarks) or "-",
    )


def _document(found: Catalogue, key: str) -> dict[str, Any]:
    """A row as plain values, with what follows from it."""
    model = found.models[key]
    document = {"key": key, **model.model_dump(mode="json", exclude={"checkpoints"})}
    document["checkpoints"] = [
        {**entry.checkpoint.model_dump(mode="json"), "key": entry.key, "gigabytes": entry.gigabytes}
        for entry in found.entries(key)
    ]
    if model.shape is not None:
        elements = model.shape.cache_elements_per_token()
        document["kv_bytes_per_token"] = {"bf16": 2 * elements, "fp8": elements}
    document["floor_gb"] = model.floor_gigabytes
    document["must_accept"] = model.must_accept
    return document


def _lines(document: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested values as lines; what is not known is left out."""
    lines: list[tuple[str, str]] = []
    for name, value in document.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{before}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value:
                known = {field: found for field, found in part.items() if field != "key"}
                lines += _lines(known, f"{before}{name}.{part['key']}.")
        elif isinstance(value, list):
            lines += [(before + name, ", ".join(map(str, value)))] if value else []
        elif value is not None:
            lines.append((before + name, _figure(value) if type(value) is float else str(value)))
    return lines


def _figure(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
