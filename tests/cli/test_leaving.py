"""Processes that end although one of their threads hangs."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HUNG = """
import threading, time
from natix_miner.cli.leaving import leave
threading.Thread(target=time.sleep, args=(60,), name={name!r}, daemon={daemon}).start()
print("out", flush=False)
leave(7)
"""


@pytest.mark.parametrize(
    ("name", "daemon", "told"), [("expert-x-1", True, True), ("y", False, True), ("z", True, False)]
)
def test_the_process_ends_with_its_code_and_says_whom_it_left(name, daemon, told):
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HUNG.format(name=name, daemon=daemon)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 7
    assert done.stdout == "out\n"
    assert (name in done.stderr) == told
    assert time.monotonic() - begun < 40
