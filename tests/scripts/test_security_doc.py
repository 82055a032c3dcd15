"""The threat list of docs/security.md: every test it names is there, and so is what it claims of
the code as a whole."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
MODULES = sorted((ROOT / "natix_miner").rglob("*.py"))
#: What executes whatever a file tells it to.
OPEN_READERS = {
    "torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load",
    "cloudpickle.load", "pandas.read_pickle", "shelve.open", "marshal.loads", "yaml.load",
    "yaml.unsafe_load", "eval", "exec",
}  # fmt: skip


@cache
def functions_of(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def called(path: Path, names: set[str]) -> list[ast.Call]:
    """Calls of functions with these last names."""
    calls = [node for node in nodes_of(path) if isinstance(node, ast.Call)]
    return [
        call
        for call in calls
        if getattr(call.func, "attr", getattr(call.func, "id", None)) in names
    ]


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{f}::{n}" for f, n in NAMED])
def test_every_test_that_is_named_exists(file, name):
    assert name in functions_of(ROOT / file)


def test_every_threat_names_a_test():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line]
    threats = [row for row in rows if row.count(" | ") == 2 and not row.startswith("| threat |")]
    assert len(threats) > 40
    assert not [row for row in threats if "`tests/" not in row]


def test_nothing_here_reads_a_pickle_in_the_open_way():
    """Nor runs code from a file in another way."""
    found = [
        f"{path.name}:{call.lineno}"
        for path in MODULES
        if any(name in path.read_text() for name in OPEN_READERS)
        for call in called(path, {name.rpartition(".")[2] for name in OPEN_READERS})
        if ast.unparse(call.func) in OPEN_READERS
    ]
    # That of the catalogue, whose loader is a safe one.
    assert [place.partition(":")[0] for place in found] == ["catalogue.py"]
    from natix_miner.catalogue import catalogue

    assert issubclass(catalogue._Loader, yaml.constructor.SafeConstructor)
    assert not issubclass(catalogue._Loader, yaml.constructor.FullConstructor)


def test_arrays_are_read_without_pickles():
    for path in MODULES:
        if "np.load" not in path.read_text():
            continue
        for call in called(path, {"load"}):
            if ast.unparse(call.func) in {"np.load", "numpy.load"}:
                given = {word.arg: ast.unparse(word.value) for word in call.keywords}
                assert given.get("allow_pickle", "False") == "False", f"{path.name}:{call.lineno}"


def test_nothing_here_trusts_remote_code():
    """`trust_remote_code` is nowhere switched on by the code itself."""
    for path in MODULES:
        if "trust_remote_code" not in path.read_text():
            continue
        for node in nodes_of(path):
            pairs: list[tuple[ast.AST | None, ast.AST]] = []
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                pairs.append((None, node.value))
            if isinstance(node, ast.Dict):
                pairs += [
                    (key, value)
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "trust_remote_code"
                ]
            for _, value in pairs:
                assert not (isinstance(value, ast.Constant) and value.value is True), path.name


def test_what_must_fit_together_is_pinned():
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[=<>!\[ ]", text)[0].lower() for text in project["dependencies"]}
    assert not needed - pinned
