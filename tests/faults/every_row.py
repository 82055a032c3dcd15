"""All fault rows there are: every module `rows_*` of this folder, imported."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.faults.frame import ROWS, FaultRow

HERE = Path(__file__).parent


def _vllm() -> bool:
    return (HERE.parents[1] / ".venv-vllm" / "bin" / "vllm").exists()


#: Optional programs that do not lie on the path under their own name.
_THERE: Mapping[str, Callable[[], bool]] = {"vllm": _vllm}


def every_row() -> dict[str, FaultRow]:
    """The rows by name."""
    for module in pkgutil.iter_modules([str(HERE)]):
        if module.name.startswith("rows_"):
            importlib.import_module(f"tests.faults.{module.name}")
    return dict(ROWS)


def missing(row: FaultRow) -> str | None:
    """The program that a row needs and this machine has not."""
    if row.needs is None:
        return None
    there = _THERE.get(row.needs, lambda: shutil.which(str(row.needs)) is not None)
    return None if there() else row.needs
