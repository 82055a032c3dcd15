"""The deadline against measured times, and servers that are started only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from natix_miner.demo.demo import QUERIES
from natix_miner.doctor import Status
from natix_miner.doctor.judging import (
    LevelTime,
    check_deadline,
    check_servers,
    judge_times,
    measure_levels,
    trial_pictures,
    without,
)
from natix_miner.errors import QuerySourceError, ServingError
from natix_miner.profile import load_profile

ROOT = Path(__file__).parents[2]
EMBEDDED = load_profile(ROOT / "configs" / "embedded.yaml")
WITH_SERVER = load_profile(ROOT / "configs" / "embedded-vlm.yaml")


def times(glance=0.1, closer=0.2, missing=None):
    return [
        LevelTime("glance", glance / 2, glance, missing or {}),
        LevelTime("closer", closer / 2, closer, {}),
    ]


@pytest.mark.parametrize(
    ("levels", "status", "word"),
    [
        (times(), Status.OK, "glance 50 ms (slowest 100)"),
        (times(closer=0.6), Status.WARN, "its needs_seconds says 0.5"),
        (times(glance=6.9), Status.WARN, "all levels together take 7.1 s of 6.95 s"),
        (times(glance=7.0), Status.FAIL, "first level alone takes 7.0 s"),
        (times(missing={"network": (1.0, "timeout")}), Status.FAIL, "no opinion on 100%"),
        (times(missing={"network": (0.3, "timeout")}), Status.WARN, "no opinion on 30%"),
    ],
)
def test_measured_times_are_held_against_the_deadline(levels, status, word):
    found = judge_times(EMBEDDED, levels)
    assert (found.status, word in found.detail) == (status, True)
    assert bool(found.advice) == (status is not Status.OK)


def test_pictures_of_all_generations_are_taken_in_turn(tmp_path):
    assert len(trial_pictures(QUERIES, 4)) == 4
    assert trial_pictures(QUERIES, 4) == [
        (QUERIES / name).read_bytes()
        for name in ("cropped-00.jpg", "full-frame-00.jpg", "letterboxed-00.jpg", "cropped-01.jpg")
    ]
    with pytest.raises(QuerySourceError, match="no pictures"):
        trial_pictures(tmp_path)


def test_every_level_is_measured_on_the_real_experts():
    levels = measure_levels(EMBEDDED, trial_pictures(QUERIES, 4))
    assert [level.name for level in levels] == ["glance", "closer"]
    for level in levels:
        assert 0.0 < level.median <= level.slowest < 60.0
        assert level.missing == {}


def test_experts_that_ask_servers_are_left_out_and_told():
    trial = without(WITH_SERVER, ("vlm",))
    assert trial is not None
    assert [level.name for level in trial.levels] == ["glance", "closer"]
    assert (dict(trial.servers), "vlm" in trial.experts) == ({}, False)
    assert without(WITH_SERVER, tuple(WITH_SERVER.experts)) is None
    found = check_deadline(WITH_SERVER, QUERIES, with_servers=False)
    assert "left out: vlm; what asks servers" in found.detail


def profile_with(tmp_path, executable):
    content = yaml.safe_load((ROOT / "configs" / "embedded-vlm.yaml").read_text())
    content["servers"]["tiny"] |= {"executable": executable, "start_seconds": 5}
    content["servers"]["tiny"]["restarts"] = {"most": 1, "first_seconds": 0.05}
    content["serving"] = {"wait_seconds": 20, "folder": str(tmp_path / "servers")}
    content["catalogue"] = str(ROOT / "models" / "catalogue.yaml")
    content["servers"]["tiny"]["model"] = str(ROOT / "models" / "tiny-vlm")
    content["experts"]["vlm"]["questions"] = [str(ROOT / "configs/prompts/roadwork.yaml")]
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_profile(path)


def test_servers_are_started_only_when_asked_and_an_engine_must_be_there(tmp_path):
    assert check_servers(EMBEDDED, start=True).status is Status.SKIPPED
    here = check_servers(profile_with(tmp_path, "/bin/true"), start=False)
    assert (here.status, "--start-servers" in here.detail) == (Status.SKIPPED, True)
    with pytest.raises(ServingError, match="nowhere"):
        check_servers(profile_with(tmp_path, "nowhere"), start=False)


def test_a_server_that_does_not_come_up_is_told_with_its_reason(tmp_path):
    found = check_servers(profile_with(tmp_path, "/bin/false"), start=True)
    assert found.status is Status.FAIL
    assert found.detail.startswith("tiny ")
    assert str(tmp_path / "servers") in found.advice
