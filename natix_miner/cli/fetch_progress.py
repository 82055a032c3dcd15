"""Telling how a download goes."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from natix_miner.catalogue.fetch import Choice
    from natix_miner.catalogue.hub import RemoteFile


class FetchProgress:
    """A bar over the bytes on a terminal, a line for each file elsewhere, both on stderr."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._shown: AbstractContextManager[Any] = nullcontext()
        self._task: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._shown = self._bar

    def __enter__(self) -> FetchProgress:
        self._shown.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._shown.__exit__(*error)

    def begin(self, choice: Choice) -> None:
        """Called once it is known what will be fetched."""
        if self._bar is not None:
            total = sum(file.bytes for file in choice.wanted)
            self._task = self._bar.add_task("fetching", total=total)

    def advance(self, file: RemoteFile, fetched: bool) -> None:
        """Called after each file."""
        if self._bar is not None:
            self._bar.update(self._task, advance=file.bytes, description=file.path)
        else:
            typer.echo(f"{'fetched' if fetched else 'is there'}: {file.path}", err=True)
