"""The page of settings: what is committed is what the settings say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, PositiveInt

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "write_configuration.py"
    spec = importlib.util.spec_from_file_location("write_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(script: ModuleType) -> str:
    return script.page()


def test_the_committed_page_is_what_the_settings_say(page: str):
    told = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert told == page, "settings have changed: run python scripts/write_configuration.py"


def test_every_option_of_run_is_told_with_its_flag_and_variables(page: str):
    from natix_miner.neuron.settings import OPTIONS

    for option in OPTIONS:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{option.flag}` |")]
        assert all(f"`{name}`" in line for name in option.variables)


def test_every_key_of_a_profile_and_of_every_type_of_expert_is_told(page: str):
    from natix_miner.experts.family import families
    from natix_miner.profile import Profile

    keys = {name for name, info in Profile.model_fields.items() if not info.exclude}
    for kind, family in families().items():
        assert f"### `type: {kind}`" in page
        keys |= set(family.settings.model_fields)
    told = set(re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE))
    assert keys <= told


def test_links_within_the_page_lead_somewhere(page: str):
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = {h.lower().replace("`", "").replace(":", "").replace(" ", "-") for h in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors


def test_files_that_the_page_points_to_are_there(page: str):
    for name in re.findall(r"\]\(([a-z-]+\.md)\)", page):
        assert (ROOT / "docs" / name).is_file()


class _Inner(BaseModel):
    """Something inside."""

    word: str | None = None


class _Example(BaseModel):
    """What it is for."""

    #: How many, at
    #: any time.
    count: PositiveInt = 3
    share: Annotated[float, Field(gt=0.0, le=1.0)]
    port: int = Field(default=80, ge=0, le=65535, description="Where it listens.")
    flag: bool = False
    inner: _Inner = _Inner()
    many: dict[str, _Inner] = {}
    text: str = " a "


def test_types_bounds_defaults_and_comments_are_told_in_words(script: ModuleType):
    lines = "\n".join(script._body(_Example)).splitlines()

    assert lines[0] == "What it is for."
    assert "| `count` | whole number > 0 | `3` | How many, at any time. |" in lines
    assert "| `share` | number > 0 and ≤ 1 | required | |" in lines
    assert "| `port` | whole number from 0 to 65535 | `80` | Where it listens. |" in lines
    assert "| `flag` | true or false | `false` | |" in lines
    assert "| `inner` | section | its defaults | |" in lines
    assert "| `many` | mapping of section | | |" in lines
    assert "| `text` | text | `' a '` | |" in lines


def test_a_page_that_is_out_of_date_is_exit_code_1(
    script: ModuleType, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(script, "page", lambda: page)
    out = tmp_path / "configuration.md"
    monkeypatch.setattr("sys.argv", ["write_configuration.py", "--out", str(out)])
    assert script.main() == 0
    monkeypatch.setattr("sys.argv", ["write_configuration.py", "--check", "--out", str(out)])
    assert script.main() == 0
    out.write_text(out.read_text().replace("65535", "65536"))
    assert script.main() == 1
    assert "run scripts/write_configuration.py" in capsys.readouterr().out
