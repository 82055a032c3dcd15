"""--help of every command reads like a page of a manual: what it does, exit codes, an example."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from natix_miner.cli.app import app

ROOT = typer.main.get_command(app)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    inside = getattr(command, "commands", None)
    if inside is None or command.invoke_without_command:
        yield path, command
    for name, one in (inside or {}).items():
        yield from commands(one, (*path, name))


ALL = dict(commands(ROOT))
each = pytest.mark.parametrize("path", ALL, ids=" ".join)


def text_of(command: Any) -> str:
    """The prose of a command's help as one line."""
    return " ".join(f"{command.help or ''} {command.epilog or ''}".split())


def examples_of(command: Any) -> list[str]:
    paragraphs = re.split(r"\n\s*\n", f"{command.help or ''}\n\n{command.epilog or ''}")
    lines = (" ".join(paragraph.split()) for paragraph in paragraphs)
    return [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]


def test_every_command_is_looked_at():
    assert {("run",), ("status",), ("cost",), ("journal", "show"), ("models",)} <= ALL.keys()


@each
def test_it_says_what_it_does_in_sentences(path: tuple[str, ...]):
    prose = text_of(ALL[path]).split("Example: ")[0]
    sentences = re.findall(r"[^.!?]+[.!?](?=\s|$)", prose)
    assert len(sentences) >= 2, prose


@each
def test_every_option_and_argument_has_help(path: tuple[str, ...]):
    without = [p.name for p in ALL[path].params if not (getattr(p, "help", None) or "").strip()]
    assert not without


@each
def test_exit_codes_are_told(path: tuple[str, ...]):
    told = text_of(ALL[path])
    assert re.search(r"[Ee]xit codes?:? \d", told), told


@each
def test_the_example_is_one_that_the_command_takes(path: tuple[str, ...]):
    examples = examples_of(ALL[path])
    assert examples, "no paragraph that begins with 'Example: '"
    for example in examples:
        words = shlex.split(example)
        assert words[: 1 + len(path)] == ["natix-miner", *path], example
        # Parses the words as calling it would, and calls nothing; raises on what is unknown.
        ALL[path].make_context(path[-1], words[1 + len(path) :])


@each
def test_nothing_of_the_help_is_lost_when_it_is_shown(path: tuple[str, ...]):
    """Help is rendered as Markdown, which swallows some signs."""
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert result.exit_code == 0
    shown = re.sub(r"[\s│`*]", "", result.stdout)
    for word in text_of(ALL[path]).split():
        assert re.sub(r"[`*]", "", word) in shown, word


def test_a_group_says_what_is_in_it():
    groups = {name: one for name, one in ROOT.commands.items() if getattr(one, "commands", None)}
    assert {"journal", "models", "memory", "register", "serve"} <= groups.keys()
    assert all((one.help or "").strip() for one in groups.values())
