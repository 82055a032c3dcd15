"""Prices of machines by the hour as their user gives them: flags NAME=PRICE, or a YAML file. None
is built in: prices change every week, and an old one misleads."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from natix_miner.errors import WatchingError


def prices_of(flags: Iterable[str], file: Path | None) -> dict[str, float]:
    """Prices per hour by the provider's name, those of the file first; a flag wins over the file.

    Raises WatchingError naming what is no price.
    """
    found = {} if file is None else _read(file)
    for flag in flags:
        name, sign, price = flag.rpartition("=")
        if not sign or not name.strip():
            raise WatchingError(f"--provider takes NAME=PRICE such as box=0.4, not {flag!r}")
        found[name.strip()] = price_of(price, f"--provider {flag}")
    return found


def price_of(value: Any, where: str) -> float:
    """A price per hour: finite and not negative. Raises WatchingError."""
    try:
        if isinstance(value, bool):
            raise ValueError
        price = float(value)
    except (TypeError, ValueError):
        price = math.nan
    if not math.isfinite(price) or price < 0:
        raise WatchingError(f"{where}: a price per hour is a number such as 0.4, not {value!r}")
    return price


def _read(path: Path) -> dict[str, float]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WatchingError(f"the prices in {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise WatchingError(f"{path} is no mapping of names to prices per hour, such as box: 0.4")
    return {str(name): price_of(price, f"{path}, {name}") for name, price in content.items()}
