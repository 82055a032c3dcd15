"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Put `content` (text goes as UTF-8) into the file at `path`; missing folders are made.

    A reader sees the old file or the new one, never half of one, also after a loss of power. When
    it fails, what was there is untouched and nothing is left beside it. Raises OSError.
    """
    data = content.encode() if isinstance(content, str) else content
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else the new name may come to stand for no content
        half.replace(path)
    except OSError:
        with suppress(OSError):
            half.unlink()
        raise
