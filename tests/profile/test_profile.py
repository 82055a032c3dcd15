"""Profiles: faults are refused and named, paths count from the file, digests see changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from natix_miner.errors import ProfileError
from natix_miner.profile import load_profile

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {
    "name": "small",
    "experts": {"network": {"type": "embedded-network", "model": "net.onnx"}},
    "levels": [{"name": "only", "experts": ["network"]}],
}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "profile.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_profiles_we_ship_are_sound(path):
    profile = load_profile(path)
    assert profile.name == path.stem
    assert profile.deadline_seconds < 9.0, "the validator hangs up after 9 s"


def test_paths_count_from_where_the_profile_lies(write, tmp_path):
    profile = load_profile(write(SMALL))
    assert profile.path(Path("net.onnx")) == tmp_path / "net.onnx"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, ["colour"]),
        ({"name": "Not A Name"}, ["name"]),
        ({"deadline_seconds": 0}, ["deadline_seconds"]),
        ({"experts": {}}, ["experts"]),
        ({"experts": {"x": {"model": "a"}}}, ["'x'", "type"]),
        ({"experts": {"x": {"type": "oracle"}}}, ["oracle", "embedded-network"]),
        ({"experts": {"network": {"type": "embedded-network"}}}, ["model"]),
        (
            {"experts": {"network": {"type": "embedded-network", "model": "a", "speed": 9}}},
            ["speed"],
        ),
        ({"levels": [{"name": "only", "experts": ["ghost"]}]}, ["ghost"]),
        ({"levels": [{"name": "a", "experts": ["network", "network"]}]}, ["two names"]),
        (
            {
                "experts": {
                    "network": {"type": "embedded-network", "model": "a"},
                    "spare": {"type": "embedded-network", "model": "b"},
                }
            },
            ["spare", "no level"],
        ),
        ({"journal": {"queue": 0}}, ["journal.queue"]),
        ({"pictures": {"formats": ["GIF"]}}, ["pictures.formats"]),
        ({"folder": "/"}, ["folder"]),
    ],
)
def test_faults_are_refused_and_named(write, change, words):
    path = write({**SMALL, **change})
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    for word in [*words, str(path)]:
        assert word in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "just words", "\x00"])
def test_what_is_no_profile_is_a_profile_error(write, content):
    with pytest.raises(ProfileError):
        load_profile(write(content))


def test_no_file_says_where_the_shipped_ones_lie(tmp_path):
    with pytest.raises(ProfileError, match="configs/"):
        load_profile(tmp_path / "none.yaml")


def test_the_digest_changes_with_what_is_said_not_with_how(write):
    first = load_profile(write(SMALL)).digest
    assert load_profile(write("# a remark\n" + yaml.safe_dump(SMALL))).digest == first
    assert load_profile(write({**SMALL, "deadline_seconds": 6})).digest != first


LANGUAGE = {
    "name": "language",
    "experts": {
        "vlm": {
            "type": "vlm",
            "servers": ["fast"],
            "questions": ["prompts/roadwork.yaml", "prompts/cones.yaml"],
        }
    },
    "servers": {"fast": {"model": "qwen3-vl-8b-fp8"}},
    "levels": [{"name": "only", "experts": ["vlm"]}],
}


def test_a_section_with_two_questions_stands_for_two_experts(write):
    profile = load_profile(write(LANGUAGE))
    assert profile.expert_names() == {"vlm.roadwork", "vlm.cones"}
    assert list(profile.seated_in(profile.levels[0])) == ["vlm.roadwork", "vlm.cones"]


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ({}, r"experts ask servers that are not under `servers`: \['fast'\]"),
        (
            {"fast": {"model": "x"}, "slow": {"model": "y"}},
            r"servers that no expert asks: \['slow'\]",
        ),
        ({"fast": {"model": "x", "prot": 1}}, "servers.fast.prot: Extra inputs"),
        (
            {"fast": {"model": "x", "arguments": {"speculative_model": "y"}}},
            "--speculative-model does not exist in vLLM: write speculative_config",
        ),
    ],
)
def test_servers_that_do_not_belong_are_refused(write, servers, words):
    with pytest.raises(ProfileError, match=words):
        load_profile(write({**LANGUAGE, "servers": servers}))
