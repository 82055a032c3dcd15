"""Ends the shared miners of the fault rows, and prints the rows' figures under the tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def _miners_ended():
    from tests.faults.miners import end_all

    yield
    end_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        (name.removeprefix("fault "), figures)
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, [])
        for name, figures in getattr(report, "user_properties", [])
        if name.startswith("fault ")
    ]
    if lines:
        terminalreporter.section("fault rows")
        for name, figures in lines:
            terminalreporter.write_line(f"{name}: {figures}")
