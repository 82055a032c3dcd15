"""The data flows one way: which room may import which, checked on every module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "natix_miner"

#: Rooms from the bottom up; a module may import its own row and those above it in this list.
ROWS = (
    {"__init__", "errors", "clock", "log_odds", "sections", "breaker", "torch_stack", "atomic"},
    {"catalogue"},
    {"query"},
    {"images"},
    {"scenes"},
    {"training"},
    {"experts"},
    {"consensus"},
    {"cascade"},
    {"judge"},
    {"serving"},
    {"profile"},
    {"assembly"},
    {"journal"},
    {"scoring"},
    {"stored"},
    {"fitting"},
    {"lab"},
    {"neuron"},
    {"doctor", "registration", "watching"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}
#: Nothing from the decoded picture to the verdict may know the network, the chain or a database.
PURE = {"images", "experts", "consensus", "cascade"}
FORBIDDEN = {"bittensor", "httpx", "fastapi", "starlette", "uvicorn", "sqlite3", "openai"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_imports_a_room_that_stands_later_in_the_line(path):
    room = room_of(path)
    assert room in RANK, f"say in ROWS where the room {room!r} stands"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "natix_miner" and len(parts) > 1 and parts[1] in RANK:
            assert RANK[parts[1]] <= RANK[room], f"{room} may not import {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if room_of(p) in PURE],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_judging_knows_neither_network_nor_chain_nor_database(path):
    assert not {name.split(".")[0] for name in imported(path)} & FORBIDDEN


def test_the_check_itself_sees_imports():
    assert "natix_miner.judge.Judge" in imported(PACKAGE / "assembly.py")
