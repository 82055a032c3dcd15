"""Tiny models with random weights in the genuine file formats, one module a family.

They show that files load and results have the right form; what they say of a picture means
nothing. Every module here has

- `MODELS`: name -> function(folder) that writes the saved model into that folder,
- `EXPERTS`: name -> (model, section): an expert of the demonstration profile and the model it
  loads, or None. Its `folder` is set to that model unless the section itself names a place
  (`file`, `index`, ...), in which `{model}` stands for it. `depth.folder` names a second model.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

from natix_miner.torch_stack import torch_stack

Maker = Callable[[Path], None]


def modules() -> list:
    """The modules of this folder."""
    return [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]


def makers() -> dict[str, Maker]:
    """Every tiny model by name."""
    return {name: maker for module in modules() for name, maker in module.MODELS.items()}


def make(name: str, folder: Path) -> Path:
    """Write one model into `folder`/name, unless it is there; its folder."""
    where = folder / name
    if not where.exists():
        torch_stack("tiny models")  # before a module imports transformers by itself
        half = folder / f".{name}"
        half.mkdir(parents=True, exist_ok=True)
        makers()[name](half)
        half.rename(where)
    return where
