"""Files and models that a profile names, present and as they were fetched; licences and plans."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from natix_miner.catalogue.manifest import FetchedFile, Manifest, sha256_of, write_manifest
from natix_miner.doctor import Status
from natix_miner.doctor.models import check_models
from natix_miner.doctor.profiles import (
    check_planner,
    check_profile,
    gpus_of_experts,
    gpus_of_servers,
)
from natix_miner.errors import LicenceError
from natix_miner.profile import load_profile

ROOT = Path(__file__).parents[2]


@pytest.fixture
def box(tmp_path):
    """A folder with the shipped profiles and a copy of what they load."""
    for name in ("embedded", "tiny-vlm"):
        shutil.copytree(ROOT / "models" / name, tmp_path / "models" / name)
    shutil.copy(ROOT / "models" / "catalogue.yaml", tmp_path / "models")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    return tmp_path


def profile_of(box, name="embedded", **changes):
    path = box / "configs" / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | changes))
    return load_profile(path)


def test_all_is_there_and_the_network_is_the_one_of_its_card(box):
    found = check_models(profile_of(box))
    assert (found.status, "1 of them checked by digest" in found.detail) == (Status.OK, True)


@pytest.mark.parametrize("missing", ["embedded/network.onnx", "embedded/colour_shape.json"])
def test_a_missing_file_is_named_with_who_wants_it(box, missing):
    (box / "models" / missing).unlink()
    found = check_models(profile_of(box))
    assert found.status is Status.FAIL
    assert f"names {box / 'models' / missing}, which is not there" in found.detail
    assert "expert '" in found.detail


def test_a_changed_network_is_told(box):
    network = box / "models" / "embedded" / "network.onnx"
    network.write_bytes(network.read_bytes() + b"\0")
    found = check_models(profile_of(box))
    assert (found.status, str(network) in found.detail) == (Status.FAIL, True)


def test_a_fit_of_other_experts_or_none_is_told(box):
    (box / "models" / "embedded" / "consensus.json").unlink()
    found = check_models(profile_of(box))
    assert (found.status, "consensus.json" in found.detail) == (Status.FAIL, True)


def test_a_fetched_folder_is_hashed(box):
    folder = box / "models" / "tiny-vlm"
    files = {
        path.name: FetchedFile(bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in folder.iterdir()
    }
    manifest = Manifest(
        key="tiny", repository="own/tiny", revision="1", pinned=True, files=files, checked=()
    )
    write_manifest(folder, manifest)
    profile = profile_of(box, "embedded-vlm")
    assert check_models(profile).status is Status.OK
    (folder / "config.json").write_text("{}")
    found = check_models(profile)
    assert found.status is Status.FAIL
    assert "not as it was fetched: config.json" in found.detail


def test_a_model_of_the_catalogue_that_is_not_fetched_is_a_warning_and_an_unknown_one_fails(box):
    servers = yaml.safe_load((box / "configs" / "embedded-vlm.yaml").read_text())["servers"]
    servers["tiny"]["model"] = "qwen3-vl-8b"
    found = check_models(profile_of(box, "embedded-vlm", servers=servers))
    assert found.status is Status.WARN
    assert "natix-miner models fetch qwen3-vl-8b" in found.advice
    servers["tiny"]["model"] = "qwen99"
    assert check_models(profile_of(box, "embedded-vlm", servers=servers)).status is Status.FAIL


def test_terms_that_are_not_accepted_are_refused_as_at_start(box):
    detector = {"type": "ultralytics", "file": "yolo.pt"}
    experts = {"detector": detector}
    levels = [{"name": "one", "experts": ["detector"]}]
    profile = profile_of(box, experts=experts, levels=levels)
    with pytest.raises(LicenceError, match="AGPL"):
        check_profile(profile)


def test_servers_are_held_against_the_gpus_of_this_machine(box, monkeypatch):
    from natix_miner.doctor import profiles

    monkeypatch.setattr(profiles, "gpus_here", lambda: ())
    assert check_planner(profile_of(box)).status is Status.SKIPPED
    fits = check_planner(profile_of(box, "embedded-vlm"))
    assert (fits.status, "tiny" in fits.detail) == (Status.OK, True)
    missing = check_planner(profile_of(box, "gpu-80g"))
    assert missing.status is Status.FAIL
    assert "GPU" in missing.detail


def test_the_gpus_that_a_profile_names_are_found(box):
    large = profile_of(box, "dual-80g")
    assert gpus_of_servers(large) == {0, 1}
    assert gpus_of_servers(profile_of(box)) == gpus_of_experts(profile_of(box)) == frozenset()
    assert all(isinstance(index, int) for index in gpus_of_experts(large))
