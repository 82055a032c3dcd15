"""Writes docs/configuration.md from the settings models: every option of `natix-miner run`, every
key of a profile, of every family of experts. Nothing in it is written by hand.

What a key means stands where it is defined: in the help of its flag, in the docstring of its
section, or in a comment `#:` above it. A key with none of these has an empty cell.

Run: python scripts/write_configuration.py [--check]   (exit code 1: the file is not up to date)
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

FILE = Path(__file__).parents[1] / "docs" / "configuration.md"
HEAD = """\
# Configuration

*Written by `scripts/write_configuration.py` from the settings models: change those, not this page.*

Two places hold settings. **Options of the process** (wallet, network, ports, files) are flags,
variables of the environment or lines of `miner.env`; [running.md](running.md) tells them in use.
**The profile** is one YAML file that says how pictures are judged and what the axon allows;
[profiles.md](profiles.md) tells how to write one. Both refuse names that they do not know. Relative
paths of options count from the working directory, those of a profile from where its file lies,
`journal.path` and `serving.folder` excepted: those count from the working directory.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_options(), *_profile(), *_experts()]).rstrip() + "\n"


def _options() -> Iterator[str]:
    from natix_miner.neuron.settings import OPTIONS, RunSettings

    kinds = _kinds(RunSettings)
    meanings = _help_of_run()
    yield "## Options of `natix-miner run`\n"
    yield (
        "A flag wins over the environment, that over the env file, that over the default. In\n"
        "place of a variable NAME, NAME_FILE may name a file that holds its value.\n"
    )
    yield from _table(
        ("flag", "variable", "value", "default", "meaning"),
        [
            (
                f"`{option.flag}`",
                ", ".join(f"`{name}`" for name in option.variables),
                kinds[option.field],
                _default(RunSettings.model_fields[option.field]),
                meanings.get(option.field, ""),
            )
            for option in OPTIONS
        ],
    )


def _help_of_run() -> dict[str, str]:
    import typer.main

    from natix_miner.cli.app import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {str(p.name): getattr(p, "help", None) or "" for p in commands["run"].params}


def _profile() -> Iterator[str]:
    from natix_miner.profile import Profile

    yield "## The profile\n"
    yield from _sections(Profile, "", known={})


def _experts() -> Iterator[str]:
    from natix_miner.experts.family import ExpertSettings, families

    kinds = {kind: family.settings for kind, family in sorted(families().items())}
    yield "## Experts\n"
    yield (
        "Sections under `experts`, by their `type`. Keys that several types take stand in the\n"
        "shared tables; a type's own table repeats one where its default differs.\n"
    )
    shared = dict.fromkeys([ExpertSettings])
    for settings in kinds.values():
        shared |= dict.fromkeys(_shared_by(settings))
    known: dict[type[BaseModel], str] = {}
    for base in shared:
        yield f"### shared: {_shared_name(base)}\n"
        yield from _body(base, show_shared=False)
        yield from _nested(base, f"{_shared_name(base)}: ", known, _own_names(base))
    for kind, settings in kinds.items():
        yield f"### `type: {kind}`\n"
        yield from _body(settings, skip={"type"})
        yield from _nested(settings, f"{kind}: ", known, _own_names(settings))


def _shared_by(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The classes with keys that a model is made from, the most general first."""
    from natix_miner.sections import Section

    return [
        base
        for base in reversed(model.__mro__)
        if issubclass(base, BaseModel)
        and base not in (BaseModel, Section, model)
        and _own_names(base)
    ]


def _own_names(model: type[BaseModel]) -> set[str]:
    """The keys that a class defines itself, or defines anew."""
    return set(inspect.get_annotations(model)) & set(model.model_fields)


def _shared_name(model: type[BaseModel]) -> str:
    """`ByViewSettings` is told as "by view"."""
    name = model.__name__.removesuffix("Settings")
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def _sections(
    model: type[BaseModel], path: str, known: dict[type[BaseModel], str]
) -> Iterator[str]:
    yield f"### `{path}`\n" if path else "### at the top\n"
    yield from _body(model)
    yield from _nested(model, f"{path}." if path else "", known)


def _nested(
    model: type[BaseModel],
    prefix: str,
    known: dict[type[BaseModel], str],
    only: set[str] | None = None,
) -> Iterator[str]:
    """The sections that the fields (or `only` some) of a model hold; one that was told already is
    pointed to."""
    from natix_miner.experts.family import ExpertSettings

    for name, info in model.model_fields.items():
        if info.exclude or (only is not None and name not in only):
            continue
        held = list(_models_in(info.annotation))
        for inner, way in held:
            if inner is ExpertSettings:
                continue
            which = f" ({inner.model_fields['type'].default})" if len(held) > 1 else ""
            path = f"{prefix}{name}{way}{which}"
            if inner in known:
                yield f"### `{path}`\n\nThe same keys as `{known[inner]}`.\n"
                continue
            known[inner] = path
            yield from _sections(inner, path, known)


def _models_in(annotation: Any, way: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """The models within an annotation, each with how one gets there: `[]` in a list, `.NAME` in a
    mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, way
        return
    origin = typing.get_origin(annotation)
    step = "[]" if origin in (tuple, list) else ".NAME" if origin is dict else ""
    for part in typing.get_args(annotation):
        yield from _models_in(part, way + step)


def _body(
    model: type[BaseModel],
    *,
    skip: frozenset[str] | set[str] = frozenset(),
    show_shared: bool = True,
) -> Iterator[str]:
    """What a section is for, then its keys."""
    if model.__doc__:
        yield f"{inspect.cleandoc(model.__doc__)}\n"
    shared = _shared_by(model)
    if shared and show_shared:
        names = ((name, name.replace(" ", "-")) for name in map(_shared_name, shared))
        links = ", ".join(f"[{name}](#shared-{anchor})" for name, anchor in names)
        yield f"Takes the shared keys of {links}.\n"
    kinds, notes = _kinds(model), _notes(model)
    fields = {
        name: info
        for name, info in model.model_fields.items()
        if not info.exclude and name not in skip and not _said_by(name, info, shared)
    }
    if not fields:
        yield "No keys of its own.\n"
        return
    told = any(info.description or notes.get(name) for name, info in fields.items())
    rows = [
        (
            f"`{info.alias or name}`",
            kinds[info.alias or name],
            _default(info),
            *((info.description or notes.get(name, ""),) if told else ()),
        )
        for name, info in fields.items()
    ]
    yield from _table(("key", "value", "default", *(("meaning",) if told else ())), rows)


def _said_by(name: str, info: FieldInfo, shared: list[type[BaseModel]]) -> bool:
    """True when a shared table says the very same of a key."""
    there = [base.model_fields[name] for base in shared if name in _own_names(base)]
    return bool(there) and (there[-1].annotation, _default(there[-1])) == (
        info.annotation,
        _default(info),
    )


def _kinds(model: type[BaseModel]) -> dict[str, str]:
    """What each key takes, from the JSON schema that pydantic makes of the model."""
    schema = model.model_json_schema(mode="validation")
    named = schema.get("$defs", {})
    return {name: _kind(part, named) for name, part in schema.get("properties", {}).items()}


_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}


def _kind(part: dict[str, Any], named: dict[str, Any]) -> str:
    if "$ref" in part:
        inner = named[part["$ref"].rsplit("/", 1)[1]]
        return "section" if inner.get("type") == "object" else _kind(inner, named)
    if "anyOf" in part or "oneOf" in part:
        kinds = [_kind(one, named) for one in part.get("anyOf") or part["oneOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "nothing"))
    if "enum" in part:
        return ", ".join(f"`{word}`" for word in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    kind = part.get("type")
    if kind == "null":
        return "nothing"
    if kind == "array":
        return f"list of {_kind(part['items'], named)}" if "items" in part else _fixed(part, named)
    if kind == "object":
        inner = next(iter(part.get("patternProperties", {}).values()), None)
        inner = inner or part.get("additionalProperties")
        return (
            f"mapping of {_kind(inner, named)}" if isinstance(inner, dict) and inner else "mapping"
        )
    word = "path" if part.get("format") == "path" else _WORDS.get(str(kind), kind or "anything")
    return " ".join([str(word), *_bounds(part)])


def _fixed(part: dict[str, Any], named: dict[str, Any]) -> str:
    kinds = [_kind(one, named) for one in part.get("prefixItems", ())]
    return f"list of ({', '.join(kinds)})" if kinds else "list"


def _bounds(part: dict[str, Any]) -> Iterator[str]:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = {key: f"{part[key]:g}" for key in signs if key in part}
    if "minimum" in bounds and "exclusiveMinimum" in bounds and part["minimum"] > 0:
        del bounds["exclusiveMinimum"]
    if bounds.keys() == {"minimum", "maximum"}:
        yield f"from {bounds['minimum']} to {bounds['maximum']}"
    elif bounds:
        yield " and ".join(f"{signs[key]} {bound}" for key, bound in bounds.items())
    if "pattern" in part:
        yield f"like `{part['pattern']}`"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    if value is None or value == () or value == {} or value == []:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | frozenset | list):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, str) and value != value.strip():
        return f"`{value!r}`"
    return f"`{value}`"


def _notes(model: type[BaseModel]) -> dict[str, str]:
    """The comments `#:` above the fields of a model and of the models it is made from."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is BaseModel or not issubclass(base, BaseModel):
            continue
        source = textwrap.dedent(inspect.getsource(base))
        lines = source.splitlines()
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.ClassDef)
        for node in body.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                said = _comment_above(lines, node.lineno - 1)
                if said:
                    found[node.target.id] = said
    return found


def _comment_above(lines: list[str], number: int) -> str:
    said: list[str] = []
    while number > 0 and lines[number - 1].strip().startswith("#:"):
        number -= 1
        said.insert(0, lines[number].strip().removeprefix("#:").strip())
    return " ".join(said)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    lines = [heads, tuple("---" for _ in heads), *rows]
    yield "".join(f"|{''.join(map(_cell, line))}\n" for line in lines)


def _cell(text: str) -> str:
    return f" {text.replace('|', chr(92) + '|')} |" if text else " |"


def main() -> int:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--out", type=Path, default=FILE, help="the file; docs/configuration.md")
    arguments = parser.parse_args()
    text = page()
    if not arguments.check:
        arguments.out.write_text(text, encoding="utf-8")
        return 0
    there = arguments.out.read_text(encoding="utf-8") if arguments.out.exists() else ""
    if there == text:
        return 0
    print(f"{arguments.out} is not what the settings say: run scripts/write_configuration.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
