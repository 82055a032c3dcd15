"""`natix-miner serve check`: the servers' commands through the installed vLLM's own parser."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from natix_miner.cli.tables import show_table
from natix_miner.errors import CatalogueError, ProfileError, ServerCommandError

if TYPE_CHECKING:
    from natix_miner.profile import Profile
    from natix_miner.serving.settings import ServerSettings

app = typer.Typer(no_args_is_help=True, help="Servers of vision-language models.")
CONFIGS = Path("configs")
FAULT = 1
#: Exit status when a profile cannot be read, or there is no vLLM to ask.
NOT_DONE = 2
_PORT = 8000  # stands in the commands that are checked; at start a free one is taken


@dataclass(slots=True)
class Row:
    """What is known of one server of one profile.

    `finding`: ok, fault, not-checked (what only another machine can tell), skipped (there is
    nothing to check), unreadable (the profile), no-parser (the engine is not installed, or its
    parser did not come to an end).
    """

    profile: str
    server: str = "-"
    engine: str = "-"
    finding: str = "skipped"
    said: str = ""
    command: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row whose command vLLM is to be asked about."""

    row: Row
    words: tuple[str, ...]
    executable: Path
    local: bool
    settings: ServerSettings


@app.callback()
def _serve() -> None:
    pass


@app.command()
def check(
    profiles: Annotated[
        list[Path] | None, typer.Argument(help="Profiles; all of configs/ by default.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the commands as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Would the servers' commands be taken by the vLLM that is installed? Nothing is started.

    Every command goes through vLLM's own parser; where the model lies on this machine, vLLM's
    configuration is built too. Exit code 0: all pass. 1: a fault. 2: a profile cannot be read, or
    there is no vLLM to ask.

    Example: natix-miner serve check configs/gpu-80g.yaml --show
    """
    paths = profiles or sorted(CONFIGS.glob("*.yaml"))
    if not paths:
        typer.echo(f"natix-miner: no profile in {CONFIGS.absolute()}; name one", err=True)
        raise typer.Exit(NOT_DONE)
    waiting: list[_Waiting] = []
    rows = [row for path in paths for row in _rows_of(path, waiting)]
    version = _ask_vllm(waiting)
    if as_json:
        print(json.dumps({"vllm": version, "servers": [asdict(row) for row in rows]}, indent=2))
    else:
        _tell(rows, version, show)
    findings = {row.finding for row in rows}
    if "fault" in findings:
        raise typer.Exit(FAULT)
    if findings & {"unreadable", "no-parser"}:
        raise typer.Exit(NOT_DONE)


def _rows_of(path: Path, waiting: list[_Waiting]) -> Iterator[Row]:
    from pydantic import ValidationError

    from natix_miner.profile import load_profile

    try:
        profile = load_profile(path)
    except ProfileError as error:
        faulty = isinstance(error.__cause__, ValidationError)
        yield Row(path.name, finding="fault" if faulty else "unreadable", said=str(error))
        return
    if not profile.servers:
        yield Row(path.name, said="no servers")
    for name, settings in profile.servers.items():
        row = Row(path.name, name, settings.engine)
        if settings.remote:
            row.said = f"remote, not checked: {settings.base_url}"
        else:
            _prepare(row, profile, settings, waiting)
        yield row


def _prepare(row: Row, profile: Profile, settings: ServerSettings, waiting: list[_Waiting]) -> None:
    """Make its command; what is wrong with the settings shows without any engine installed."""
    from natix_miner.catalogue import resolve_model
    from natix_miner.serving.command import command_of, environment_of, find_executable

    try:
        executable, missing = find_executable(settings, profile.folder), ""
    except ServerCommandError as error:
        executable, missing = Path(settings.executable or settings.engine), str(error)
    try:
        model = resolve_model(
            settings.model,
            settings.revision,
            catalogue=profile.path(profile.catalogue),
            folder=profile.folder,
        )
        words = command_of(
            settings,
            executable=executable,
            model=model.location,
            revision=model.revision,
            served_name=model.served_name,
            port=_PORT,
        )
        given = environment_of(settings, api_key="", local=model.local)
        row.environment = {name: value for name, value in given.items() if value}
    except (CatalogueError, ServerCommandError) as error:
        row.finding, row.said = "fault", str(error)
        return
    row.command = shlex.join(words)
    if settings.engine != "vllm":
        row.finding, row.said = "not-checked", f"the parser of {settings.engine} is not asked"
    elif missing:
        row.finding, row.said = "no-parser", missing
    else:
        waiting.append(_Waiting(row, tuple(words), executable, model.local, settings))


def _ask_vllm(waiting: list[_Waiting]) -> str | None:
    """Complete the rows; vLLM's version (of each installation), None where it was not asked."""
    from natix_miner.serving.check import NamedCommand, check_commands, interpreter_of

    versions: list[str] = []
    by_interpreter: dict[Path, list[_Waiting]] = {}
    for each in waiting:
        by_interpreter.setdefault(interpreter_of(each.executable), []).append(each)
    for interpreter, here in by_interpreter.items():
        commands = [
            NamedCommand(
                each.row.server,
                each.words,
                each.local,
                bool(each.settings.gpus),
                each.settings.environment,
            )
            for each in here
        ]
        try:
            version, results = check_commands(commands, interpreter)
        except ServerCommandError as error:
            for each in here:
                each.row.finding, each.row.said = "no-parser", str(error)
            continue
        versions.append(version)
        for each, result in zip(here, results, strict=True):
            each.row.finding, each.row.said = result.finding, result.said
    return ", ".join(dict.fromkeys(versions)) or None


def _tell(rows: list[Row], version: str | None, show: bool) -> None:
    show_table(
        ("profile", "server", "engine", "finding", "said"),
        [
            (row.profile, row.server, row.engine, row.finding, " ".join(row.said.split()))
            for row in rows
        ],
        title=f"Commands, as vLLM {version} takes them" if version else "No command was checked",
    )
    for row in rows:
        if row.finding == "no-parser":
            typer.echo(f"natix-miner: {row.profile}, {row.server}: {row.said}", err=True)
        if show and row.command:
            typer.echo(f"\n{row.profile}, {row.server}:\n{_shown(row)}")


def _shown(row: Row) -> str:
    """A command as one would type it; the key, new at every start, is not in it."""
    given = [f"{name}={shlex.quote(value)}" for name, value in row.environment.items()]
    return " ".join([*given, row.command])
