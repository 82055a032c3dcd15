"""Write tiny models of every family and a profile that asks them all.

    scripts/make_tiny_models.py [FOLDER]        (out/tiny-models by default)
    natix-miner judge --profile out/tiny-models/profile.yaml PICTURE --save-views out/views

The weights are random, the file formats genuine: the profile shows that every family loads, runs,
leaves its trace and its views. What these experts say of a picture means nothing, and no miner
should run it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import tiny_models
import yaml

ROOT = Path(__file__).parents[1]
#: Keys of a section that name the place of a model.
PLACES = ("folder", "file", "index", "head")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the models and the profile, and say where."""
    parser = argparse.ArgumentParser(description="Tiny models and a profile that asks them all.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/tiny-models"))
    folder: Path = parser.parse_args(arguments).folder
    profile = write(folder)
    print(f"{profile}: {len(sections(folder))} experts")
    return 0


def write(folder: Path) -> Path:
    """Every model of the demonstration, and the profile; its path."""
    for model, section in experts().values():
        depth = section.get("depth")
        for name in (model, depth["folder"] if isinstance(depth, dict) else None):
            if name is not None:
                tiny_models.make(name, folder)
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(document(folder), sort_keys=False), encoding="utf-8")
    return path


def experts() -> dict[str, tuple[str | None, dict[str, object]]]:
    """Name -> (model, section), of all modules."""
    return {
        name: expert for module in tiny_models.modules() for name, expert in module.EXPERTS.items()
    }


def sections(folder: Path) -> dict[str, dict[str, object]]:
    """The sections of the experts, their places filled in."""
    filled = {}
    for name, (model, section) in experts().items():
        places = {
            key: value.format(model=model)
            for key, value in section.items()
            if key in PLACES and isinstance(value, str)
        }
        if model is not None and not places:
            places = {"folder": model}
        filled[name] = {**section, **places, **_shipped(section, folder)}
    return filled


def document(folder: Path) -> dict[str, object]:
    """The profile: everything in one level, so that every expert is asked."""
    made = sections(folder)
    return {
        "name": "tiny-models",
        "deadline_seconds": 60,
        "accept_licences": ["AGPL-3.0"],
        "catalogue": _relative("models/catalogue.yaml", folder),
        "experts": made,
        "levels": [{"name": "everybody", "experts": list(made)}],
    }


def _shipped(section: dict[str, object], folder: Path) -> dict[str, object]:
    """Files that come with the project, counted from the profile."""
    from natix_miner.experts.detection.settings import DetectionSettings
    from natix_miner.experts.family import family_of

    found: dict[str, object] = {}
    if issubclass(family_of(str(section["type"])).settings, DetectionSettings):
        found["rule"] = _relative("models/detection/rule.json", folder)
    if isinstance(prompts := section.get("prompts"), str):
        found["prompts"] = _relative(f"configs/{prompts}", folder)
    return found


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(ROOT / path, folder.resolve())


if __name__ == "__main__":
    raise SystemExit(main())
