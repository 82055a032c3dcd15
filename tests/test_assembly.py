"""What is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from natix_miner.assembly import build_judge, build_servers
from natix_miner.errors import PlanError, ServerCommandError
from natix_miner.profile import load_profile

CONFIGS = Path(__file__).parents[1] / "configs"


def driver_double(folder: Path, *mebibytes: int) -> None:
    """Stands for the GPU driver's tool."""
    tool = folder / "nvidia-smi"
    lines = "".join(f"echo {size}\n" for size in mebibytes)
    tool.write_text(f"#!/bin/sh\n{lines}")
    tool.chmod(0o755)


def test_a_profile_for_gpus_is_refused_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlanError, match=r"fast: wants GPU 0"):
        build_judge(load_profile(CONFIGS / "gpu-24g.yaml"))


def test_a_profile_for_large_cards_is_refused_on_small_ones(tmp_path, monkeypatch):
    driver_double(tmp_path, 24_564, 24_564)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlanError, match=r"(?s)precision: the weights.*35\.5 GB.*would fit"):
        build_servers(load_profile(CONFIGS / "dual-80g.yaml"))


def test_an_engine_that_is_not_installed_is_told_with_how_to_install_it(tmp_path, monkeypatch):
    driver_double(tmp_path, 24_564)
    monkeypatch.setenv("PATH", str(tmp_path))
    shipped = load_profile(CONFIGS / "gpu-24g.yaml")
    away = shipped.model_copy(
        update={
            "folder": tmp_path / "configs",
            "catalogue": CONFIGS.parent / "models" / "catalogue.yaml",
        }
    )
    with pytest.raises(ServerCommandError, match=r"scripts/install_vllm\.sh"):
        build_servers(away)
