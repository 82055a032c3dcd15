"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ProfileOption = Annotated[
    Path, typer.Option("--profile", help="Profile to judge with.", show_default=True)
]

DEFAULT_PROFILE = Path("configs/embedded.yaml")
