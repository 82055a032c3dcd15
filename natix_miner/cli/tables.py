"""A table for people: rich on a terminal, tab-separated lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence

import typer


def show_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, title: str, whole: Container[int] = (0,)
) -> None:
    """Print rows beneath their heads. On a terminal there is a title, and the columns numbered in
    `whole` are not folded where it is narrow."""
    if not sys.stdout.isatty():
        for row in (heads, *rows):
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title))
    for number, head in enumerate(heads):
        table.add_column(head, overflow="fold", no_wrap=number in whole)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)
