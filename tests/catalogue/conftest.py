"""The shipped catalogue, and small ones written for a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from natix_miner.catalogue import Catalogue, load_catalogue

SHIPPED = Path(__file__).parents[2] / "models" / "catalogue.yaml"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

ROW: dict[str, Any] = {
    "name": "Tiny VL",
    "kind": "vision-language",
    "loads_with": {"vllm": "Qwen3VLForConditionalGeneration"},
    "parameters": {"total": 2.0, "vision": 0.4, "embeddings": 0.6},
    "checkpoints": [
        {"format": "bf16", "repository": "org/tiny-vl", "revision": COMMIT},
        {"format": "w4", "repository": "other/tiny-vl-awq"},
    ],
    "licence": {"name": "MIT"},
    "evidence": "verified",
    "source": "made for a test",
}


@pytest.fixture(scope="session")
def shipped() -> Catalogue:
    return load_catalogue(SHIPPED)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a catalogue into models/ of a new folder: ROW as `tiny-vl`, changed and added to."""

    def writer(models: dict[str, Any] | None = None, **changes: Any) -> Path:
        rows = {"tiny-vl": {**ROW, **changes}, **(models or {})}
        path = tmp_path / "models" / "catalogue.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({"as_of": "2026-11-20", "models": rows}))
        return path

    return writer
