"""Ending the process although a thread hangs in somebody else's native code."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import NoReturn

#: Seconds that threads are given, all together, once everything was closed.
LAST_SECONDS = 1.0


def leave(code: int) -> NoReturn:
    """End with `code`, at the latest a second from now.

    Python waits for ever for a thread that hangs, and aborts when an expert's daemon thread is in
    native code while the interpreter ends. So if one of those is left, it goes without them.
    """
    until = time.monotonic() + LAST_SECONDS
    hung = []
    for thread in threading.enumerate():
        if thread is threading.main_thread():
            continue
        if thread.daemon and not thread.name.startswith("expert-"):
            continue
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            hung.append(thread.name)
    if not hung:
        sys.exit(code)
    print(f"leaving without threads that hang: {', '.join(hung)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
