"""Python, packages and GPUs, told from what the metadata and the driver's tool say."""

from __future__ import annotations

import pytest

from natix_miner.doctor import Status, machine
from natix_miner.doctor.machine import Gpu, check_gpu, check_packages, check_python
from natix_miner.errors import PlanError


@pytest.mark.parametrize(
    ("version", "requires", "status"),
    [
        ("3.11.7", ">=3.11,<3.13", Status.OK),
        ("3.13.0", ">=3.11,<3.13", Status.FAIL),
        ("3.11.7", None, Status.WARN),
    ],
)
def test_python_is_held_against_what_the_package_wants(version, requires, status):
    assert check_python(version, requires).status is status


REQUIREMENTS = [
    "numpy>=2.3",
    "fastapi==0.165.0",
    'torch==2.13.0; extra == "classifier"',
    'ray==2.60.0; extra == "ray"',
    'uvloop>=0.21; sys_platform == "win32"',
]
INSTALLED = {"numpy": "2.4", "fastapi": "0.165.0", "ray": "1.0"}


def packages(constraints=None, **changes):
    installed = {**INSTALLED, **changes}
    return check_packages(REQUIREMENTS, installed.get, constraints or {})


def test_packages_that_fit_are_counted_and_what_is_for_others_is_left_alone():
    found = packages(uvloop="0.1")
    assert (found.status, found.detail) == (Status.OK, "2 packages as the project asks for")


def test_a_missing_and_a_wrong_package_are_named():
    found = packages(numpy=None, fastapi="0.164.0")
    assert found.status is Status.FAIL
    assert "missing: numpy>=2.3" in found.detail
    assert "fastapi 0.164.0 (wanted ==0.165.0)" in found.detail


def test_an_extra_of_the_miner_counts_where_it_is_installed():
    assert "torch 2.12.0" in packages(torch="2.12.0").detail
    assert packages(torch="2.13.0+cpu").status is Status.OK


def test_a_version_that_was_not_tested_with_the_others_is_a_warning():
    assert packages({"numpy": "2.4"}).status is Status.OK
    found = packages({"numpy": "2.3.1"})
    assert (found.status, "numpy 2.4 (tested 2.3.1)" in found.detail) == (Status.WARN, True)


def test_a_build_for_another_processor_is_the_same_version():
    found = packages({"torch": "2.13.0"}, torch="2.13.0+cpu")
    assert found.status is Status.OK


def test_constraints_are_read_by_name(tmp_path):
    path = tmp_path / "constraints.txt"
    path.write_text("# all\nNumPy==2.3.1\ntorch==2.13.0  # cpu\n")
    assert machine.read_constraints(path) == {"numpy": "2.3.1", "torch": "2.13.0"}
    assert machine.read_constraints(tmp_path / "none") == {}


def test_this_very_installation_passes():
    requirements = machine.requirements_here()
    assert check_packages(requirements, machine.version_of, {}).status is Status.OK
    assert check_python("3.11.7", machine.requires_python_here()).status is Status.OK


NONE, ONE = frozenset(), frozenset({0})
CARD = Gpu("H200", "580.1", 150.0)


@pytest.mark.parametrize(
    ("servers", "experts", "found", "torch", "status"),
    [
        (NONE, NONE, None, 0, Status.OK),
        (NONE, NONE, [CARD], 0, Status.OK),
        (ONE, NONE, None, 0, Status.FAIL),
        (frozenset({0, 1}), NONE, [CARD], 0, Status.FAIL),
        (ONE, NONE, [CARD], 0, Status.OK),
        (NONE, ONE, [CARD], 0, Status.FAIL),  # a torch for the CPU
        (NONE, ONE, [CARD], 1, Status.OK),
    ],
)
def test_gpus_matter_only_where_the_profile_names_them(servers, experts, found, torch, status):
    assert check_gpu(servers, experts, lambda: found, lambda: torch).status is status


def tool(folder, script):
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_drivers_tool_is_read(tmp_path):
    """Against a double of nvidia-smi."""
    assert machine.gpus_told(str(tmp_path / "none")) is None
    found = machine.gpus_told(tool(tmp_path, "echo 'NVIDIA H200, 580.65.06, 143771'"))
    assert found == [Gpu("NVIDIA H200", "580.65.06", pytest.approx(150.75, abs=0.01))]


@pytest.mark.parametrize("script", ["echo broken >&2; exit 9", "echo nonsense"])
def test_a_driver_that_does_not_answer_fails_only_who_needs_it(tmp_path, script):
    told = tool(tmp_path, script)
    assert check_gpu(NONE, NONE, lambda: machine.gpus_told(told), lambda: 0).status is Status.WARN
    with pytest.raises(PlanError, match="driver"):
        check_gpu(ONE, NONE, lambda: machine.gpus_told(told), lambda: 0)
