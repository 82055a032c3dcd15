"""`natix-miner publish`: a model's folder to the model hub; a dry run unless told otherwise."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from natix_miner.cli.tables import show_table
from natix_miner.errors import ConfigurationError

if TYPE_CHECKING:
    from natix_miner.registration.model_card import ModelCard, Submission
    from natix_miner.registration.publishing import Package


def publish(
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="Repository of the model hub.")],
    model: Annotated[Path, typer.Option(metavar="DIR", help="Folder that holds the model.")],
    version: Annotated[
        str | None, typer.Option(metavar="X.Y.Z", help="Version; above the last one.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; that of the last card by default.")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What it is; that of the last card by default.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence by the hub's short name, such as apache-2.0.")
    ] = None,
    submitted_by: Annotated[
        str | None, typer.Option(metavar="SS58", help="Hotkey's address instead of the wallet's.")
    ] = None,
    wallet_name: Annotated[str | None, typer.Option(help="Name of the wallet.")] = None,
    wallet_hotkey: Annotated[str | None, typer.Option(help="Name of its hotkey.")] = None,
    wallet_path: Annotated[str | None, typer.Option(help="Folder of the wallets.")] = None,
    upload: Annotated[
        bool, typer.Option("--upload/--dry-run", help="Really publish, or only show.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Publish pickled weights; loading runs code.")
    ] = False,
    endpoint: Annotated[str | None, typer.Option(help="Another model hub.")] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="dotenv file with the wallet; ./miner.env if there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Publish a model: write README.md and model_card.json for it, show every file with its size
    and SHA-256, and, with --upload, put all of it on the model hub in one commit. Optional:
    upstream's documents asked for it until February 2026 and struck it then.

    A dry run is the default; it talks to nobody and changes nothing. model_card.json gets
    model_name, description, version (X.Y.Z), submitted_by (the hotkey's SS58 address) and
    submission_time (unix seconds, now); all are checked. What is not given is taken from the
    model_card.json that lies in DIR. An existing README.md keeps its text.

    Never publishes anything that looks like a secret (keys, wallets, .env files, tokens; no option
    allows it), nor pickles without --allow-pickle, nor a version that is not above the last one
    (in DIR, and with --upload in the repository). The hub's token is that of its own login (hf auth
    login) and is never shown. Files that only the repository has stay there. After an upload,
    README.md and model_card.json are left in DIR as they were published.

    Exit codes: 0 shown or published; 2 refused, by this program or by the hub.

    Example: natix-miner publish --repo owner/roadwork --model out/model --version 1.2.0
    """
    from natix_miner.clock import SYSTEM_CLOCK
    from natix_miner.registration.model_card import make_card, read_local_card, refuse_old_version
    from natix_miner.registration.names import check_repository
    from natix_miner.registration.publishing import pack, submission_of

    check_repository(repo)
    now = SYSTEM_CLOCK.time()
    earlier = read_local_card(model)
    last = None if earlier is None else submission_of(earlier, str(model / "model_card.json"))
    if submitted_by is None:
        flags = {
            "wallet_name": wallet_name,
            "wallet_hotkey": wallet_hotkey,
            "wallet_path": wallet_path,
        }
        submitted_by = _hotkey(flags, env_file)
    card = make_card(
        model_name=_given(name, earlier, "model_name", "--name"),
        description=_given(description, earlier, "description", "--description"),
        version=_given(version, None, "version", "--version"),
        submitted_by=submitted_by,
        submission_time=int(now),
    )
    if last is not None:
        refuse_old_version(card.version, last)
    package = pack(repo, model, card, licence=licence, allow_pickle=allow_pickle)
    if not as_json:
        _show(package)
        _remind(last, now)
    url = None
    if upload:
        url, last = _upload(package, endpoint, private, last)
    if as_json:
        typer.echo(json.dumps(_document(package, last, now, url), indent=2))
    elif url is None:
        typer.echo("dry run: nothing was uploaded; --upload publishes")
    else:
        if last is not None:
            typer.echo(f"before it: {_last_line(last, now)}")
        typer.secho(f"published: {url}", fg="green")


def _upload(
    package: Package, endpoint: str | None, private: bool, last: Submission | None
) -> tuple[str, Submission | None]:
    from natix_miner.registration.publishing import keep_made, upload
    from natix_miner.registration.shelf import HuggingFaceShelf

    url, before = upload(package, HuggingFaceShelf(endpoint), private=private)
    keep_made(package)
    return url, before or last


def _given(value: str | None, earlier: ModelCard | None, field: str, flag: str) -> str:
    if value is not None:
        return value
    if earlier is None:
        raise ConfigurationError(f"{flag} is missing: model_card.json needs {field}")
    return str(getattr(earlier, field))


def _hotkey(flags: dict[str, Any], env_file: Path | None) -> str:
    from natix_miner.neuron.settings import resolve_settings
    from natix_miner.neuron.wallet import open_wallet

    if env_file is None and Path("miner.env").is_file():
        env_file = Path("miner.env")
    settings = resolve_settings(flags, os.environ, env_file)
    return open_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path).address


def _show(package: Package) -> None:
    show_table(
        ("file", "bytes", "SHA-256"),
        [(file.path, str(file.bytes), file.sha256) for file in package.files],
        title=f"{package.repository} {package.card.version}",
    )
    typer.echo(f"{len(package.files)} files, {package.total_bytes} bytes ({_size(package)})")
    typer.echo(package.card.as_json().rstrip())
    for line in _warnings(package):
        typer.secho(line, fg="yellow")


def _warnings(package: Package) -> list[str]:
    from natix_miner.registration.readme import licence_of

    warnings = []
    if package.contents.left_out:
        warnings.append(f"left out: {', '.join(package.contents.left_out)}")
    if package.contents.pickles:
        warnings.append(f"pickles, allowed by you: {', '.join(package.contents.pickles)}")
    if not package.contents.has_weights:
        warnings.append("no file looks like weights (safetensors, ONNX, OpenVINO, GGUF)")
    if licence_of(package.readme) is None:
        warnings.append("no licence is named: nobody may use the model; give --licence")
    return warnings


def _remind(last: Submission | None, now: float) -> None:
    from natix_miner.registration.age import RULE

    typer.echo(RULE)
    typer.echo("no earlier submission is known here" if last is None else _last_line(last, now))


def _last_line(last: Submission, now: float) -> str:
    from natix_miner.registration.age import age_days, word_for

    days = age_days(last.submission_time, now)
    return (
        f"last submission: version {last.version}, {days:.1f} days old, {word_for(days)}"
        f" ({last.where})"
    )


def _size(package: Package) -> str:
    return f"{package.total_bytes / 1e6:.1f} MB"


def _document(
    package: Package, last: Submission | None, now: float, url: str | None
) -> dict[str, Any]:
    from natix_miner.registration.age import RULE, age_days, word_for

    before = None
    if last is not None:
        days = age_days(last.submission_time, now)
        before = {**asdict(last), "age_days": round(days, 2), "by_the_rule": word_for(days)}
    return {
        "repository": package.repository,
        "dry_run": url is None,
        "url": url,
        "card": package.card.model_dump(),
        "files": [asdict(file) for file in package.files],
        "total_bytes": package.total_bytes,
        "warnings": _warnings(package),
        "last_submission": before,
        "rule": RULE,
    }
