"""What a profile's `model` means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from natix_miner.catalogue import resolve_model
from natix_miner.catalogue.manifest import MANIFEST, FetchedFile, Manifest, write_manifest
from natix_miner.errors import CatalogueError
from tests.catalogue.conftest import COMMIT, ROW

OTHER = "f" * 40


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    return folder


def saved_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def fetched(folder: Path, key: str, revision: str) -> Path:
    saved_model(folder)
    write_manifest(
        folder,
        Manifest(
            key=key,
            repository="org/tiny-vl",
            revision=revision,
            pinned=True,
            files={"config.json": FetchedFile(bytes=2, sha256="0" * 64)},
            checked=("config.json",),
        ),
    )
    return folder


def test_a_path_is_a_folder_counted_from_the_profile(write, profiles, tmp_path):
    where = saved_model(tmp_path / "models" / "mine")
    for model in ("../models/mine", str(where)):
        found = resolve_model(model, None, catalogue=write(), folder=profiles)
        assert (found.location, found.local, found.served_name) == (str(where), True, "mine")
        assert found.pinned
    beside = saved_model(profiles / "sub" / "model")
    found = resolve_model("sub/model", None, catalogue=write(), folder=profiles)
    assert found.location == str(beside)


def test_a_folder_needs_no_catalogue(profiles, tmp_path):
    saved_model(tmp_path / "mine")
    found = resolve_model("../mine", None, catalogue=tmp_path / "none.yaml", folder=profiles)
    assert found.local


@pytest.mark.parametrize(
    ("make", "revision", "said"),
    [
        (lambda path: None, None, "no model folder"),
        (lambda path: path.mkdir(), None, "config.json is missing"),
        (saved_model, COMMIT, "is a folder and has no revision"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(write, profiles, tmp_path, make, revision, said):
    make(tmp_path / "mine")
    with pytest.raises(CatalogueError, match=said):
        resolve_model("../mine", revision, catalogue=write(), folder=profiles)


def test_a_key_is_its_repository_at_the_pinned_revision(write, profiles):
    found = resolve_model("tiny-vl", None, catalogue=write(), folder=profiles)
    assert (found.location, found.revision, found.local) == ("org/tiny-vl", COMMIT, False)
    assert found.served_name == found.key == "tiny-vl-bf16"
    assert found.pinned


def test_a_repository_of_the_catalogue_is_that_checkpoint(write, profiles):
    found = resolve_model("other/tiny-vl-awq", None, catalogue=write(), folder=profiles)
    assert (found.location, found.key) == ("other/tiny-vl-awq", "tiny-vl-w4")


def test_without_a_pin_nothing_is_pinned_unless_the_profile_does(write, profiles):
    found = resolve_model("tiny-vl-w4", None, catalogue=write(), folder=profiles)
    assert (found.revision, found.pinned) == (None, False)
    found = resolve_model("tiny-vl-w4", OTHER, catalogue=write(), folder=profiles)
    assert (found.revision, found.pinned) == (OTHER, True)


def test_what_was_fetched_is_taken_from_the_disk(write, profiles, tmp_path):
    where = fetched(tmp_path / "models" / "tiny-vl-bf16", "tiny-vl-bf16", COMMIT)
    found = resolve_model("tiny-vl", None, catalogue=write(), folder=profiles)
    assert (found.location, found.revision, found.local) == (str(where), None, True)
    assert (found.served_name, found.key) == ("tiny-vl-bf16", "tiny-vl-bf16")


def test_half_a_download_does_not_count(write, profiles, tmp_path):
    saved_model(tmp_path / "models" / "tiny-vl-bf16")
    found = resolve_model("tiny-vl", None, catalogue=write(), folder=profiles)
    assert not found.local


def test_another_revision_on_the_disk_than_wanted_is_refused(write, profiles, tmp_path):
    fetched(tmp_path / "models" / "tiny-vl-bf16", "tiny-vl-bf16", OTHER)
    with pytest.raises(CatalogueError, match=rf"holds revision {OTHER}.*wanted is {COMMIT}"):
        resolve_model("tiny-vl", None, catalogue=write(), folder=profiles)


def test_a_broken_manifest_is_told(write, profiles, tmp_path):
    where = saved_model(tmp_path / "models" / "tiny-vl-bf16")
    (where / MANIFEST).write_text(json.dumps({"key": "tiny-vl-bf16"}))
    with pytest.raises(CatalogueError, match="is no manifest of a fetched model"):
        resolve_model("tiny-vl", None, catalogue=write(), folder=profiles)


def test_what_no_server_loads_is_refused(write, profiles):
    path = write(
        {
            "detector": {
                **ROW,
                "kind": "detector",
                "loads_with": {"transformers": "RTDetrV2ForObjectDetection"},
                "checkpoints": [{"format": "fp32", "repository": "org/detector"}],
            }
        }
    )
    with pytest.raises(CatalogueError, match=r"no server loads.*RTDetrV2ForObjectDetection"):
        resolve_model("detector", None, catalogue=path, folder=profiles)


def test_unknown_names_and_repositories_are_refused(write, profiles):
    for model in ("tiny-vi", "stranger/tiny-vl"):
        with pytest.raises(CatalogueError, match=r"no model .* close to it: .*tiny-vl"):
            resolve_model(model, None, catalogue=write(), folder=profiles)
