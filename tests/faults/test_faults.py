"""Every fault row at its short size; `make soak` runs them long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.every_row import every_row, missing
from tests.faults.frame import FaultRow, Scale


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in every_row().items()])
@pytest.mark.usefixtures("_miners_ended")
async def test_what_is_broken_on_purpose_is_taken_well(
    row: FaultRow, tmp_path: Path, record_property
):
    program = missing(row)
    if program is not None:
        said = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)

    outcome = await row.run(Scale(), tmp_path)

    figures = ", ".join(f"{name} {value}" for name, value in outcome.figures.items())
    print(f"\n{row.name} ({row.what}): {figures}")
    record_property(f"fault {row.name}", figures)
    assert outcome.broken == ()
