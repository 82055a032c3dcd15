"""What is fetched and what is refused, with a double of the hub in memory."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from natix_miner.catalogue import Entry, load_catalogue
from natix_miner.catalogue.fetch import Permissions, fetch
from natix_miner.catalogue.hub import RemoteFile, Snapshot
from natix_miner.catalogue.manifest import MANIFEST, read_manifest, verify
from natix_miner.errors import CatalogueError
from tests.catalogue.conftest import COMMIT

SAFE = {
    "config.json": b"{}",
    "tokenizer.json": b"[]",
    "chat_template.jinja": b"{{ messages }}",
    "model-00001-of-00002.safetensors": b"first half",
    "model-00002-of-00002.safetensors": b"second half",
    "LICENSE": b"do as you like",
}
#: `printf '{}' | git hash-object --stdin`
GIT_NAME_OF_BRACES = "9e26dfeeb6e641a33dae4961196235bdb965b21b"


class DoubleOfTheHub:
    """Files in memory; weights carry SHA-256, the rest git's digest, as the hub has it."""

    def __init__(self, files: dict[str, bytes], commit: str = COMMIT) -> None:
        self.files, self.commit = files, commit
        self.delivered = dict(files)
        self.downloads: list[str] = []
        self.broken_off: set[str] = set()

    def snapshot(self, repository: str, revision: str | None) -> Snapshot:
        return Snapshot(self.commit, tuple(self._described(path) for path in self.files))

    def _described(self, path: str) -> RemoteFile:
        content = self.files[path]
        if path.endswith(".safetensors"):
            return RemoteFile(path, len(content), sha256=hashlib.sha256(content).hexdigest())
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return RemoteFile(path, len(content), git_sha1=git)

    def download(self, repository: str, commit: str, path: str, folder: Path) -> None:
        self.downloads.append(path)
        if path in self.broken_off:
            self.broken_off.discard(path)
            raise CatalogueError(f"{repository}@{commit} could not be fetched: connection lost")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(self.delivered[path])


@pytest.fixture
def entry(write) -> Entry:
    return load_catalogue(write()).entry("tiny-vl")


def test_all_files_arrive_and_are_listed_with_their_digests(entry, tmp_path):
    hub = DoubleOfTheHub(SAFE)
    manifest = fetch(entry, tmp_path, hub)
    folder = tmp_path / "tiny-vl-bf16"
    assert {p.name for p in folder.iterdir()} == {*SAFE, MANIFEST}
    assert manifest == read_manifest(folder)
    assert (manifest.repository, manifest.revision) == ("org/tiny-vl", COMMIT)
    assert manifest.pinned
    assert set(manifest.checked) == set(SAFE)
    braces = manifest.files["config.json"]
    assert (braces.bytes, braces.sha256) == (2, hashlib.sha256(b"{}").hexdigest())
    assert verify(folder).intact


def test_small_files_are_checked_by_gits_own_digest(entry, tmp_path):
    assert DoubleOfTheHub(SAFE)._described("config.json").git_sha1 == GIT_NAME_OF_BRACES
    fetch(entry, tmp_path, DoubleOfTheHub(SAFE))
    hub = DoubleOfTheHub(SAFE)
    hub.delivered["config.json"] = b"[]"
    shutil.rmtree(tmp_path / "tiny-vl-bf16")
    with pytest.raises(CatalogueError, match=r"config\.json came with another content"):
        fetch(entry, tmp_path, hub)


def test_content_that_is_not_what_the_hub_vouches_for_is_removed(entry, tmp_path):
    hub = DoubleOfTheHub(SAFE)
    weights = "model-00002-of-00002.safetensors"
    hub.delivered[weights] = b"second hole"
    with pytest.raises(CatalogueError, match=f"{weights} came with another content"):
        fetch(entry, tmp_path, hub)
    folder = tmp_path / "tiny-vl-bf16"
    assert not (folder / weights).exists()
    assert read_manifest(folder) is None
    hub.delivered[weights] = SAFE[weights]
    fetch(entry, tmp_path, hub)
    assert verify(folder).intact


def test_an_interrupted_fetch_goes_on_and_asks_for_nothing_twice(entry, tmp_path):
    hub = DoubleOfTheHub(SAFE)
    hub.broken_off = {"model-00002-of-00002.safetensors"}
    with pytest.raises(CatalogueError, match="connection lost"):
        fetch(entry, tmp_path, hub)
    assert read_manifest(tmp_path / "tiny-vl-bf16") is None
    had = set(hub.downloads) - {"model-00002-of-00002.safetensors"}
    hub.downloads.clear()
    told: list[tuple[str, bool]] = []
    fetch(entry, tmp_path, hub, on_file=lambda file, new: told.append((file.path, new)))
    assert set(hub.downloads) == set(SAFE) - had
    assert {path for path, new in told if not new} == had
    hub.downloads.clear()
    fetch(entry, tmp_path, hub)
    assert hub.downloads == []


def test_a_file_that_was_changed_on_the_disk_is_fetched_anew(entry, tmp_path):
    fetch(entry, tmp_path, DoubleOfTheHub(SAFE))
    folder = tmp_path / "tiny-vl-bf16"
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"first hole")
    (folder / "tokenizer.json").unlink()
    (folder / "later.txt").write_text("added")
    found = verify(folder)
    assert found.changed == ("model-00001-of-00002.safetensors",)
    assert found.missing == ("tokenizer.json",)
    assert found.added == ("later.txt",)
    assert not found.intact
    hub = DoubleOfTheHub(SAFE)
    fetch(entry, tmp_path, hub)
    assert sorted(hub.downloads) == ["model-00001-of-00002.safetensors", "tokenizer.json"]
    assert verify(folder).intact


def test_nothing_to_verify_is_told(tmp_path):
    with pytest.raises(CatalogueError, match=r"nothing was fetched into"):
        verify(tmp_path)


PICKLES = {"pytorch_model.bin": b"p", "sub/last.ckpt": b"p", "optimizer.PT": b"p"}
CODE = {"modeling_tiny.py": b"import os", "kernel.so": b"\x7fELF"}
USELESS = {"tiny.gguf": b"g", "model.onnx": b"o", "tf_model.h5": b"h"}


def test_pickles_code_and_other_formats_stay_where_they_are(entry, tmp_path):
    hub = DoubleOfTheHub({**SAFE, **PICKLES, **CODE, **USELESS})
    manifest = fetch(entry, tmp_path, hub)
    assert set(manifest.files) == set(SAFE)
    assert set(manifest.left_out) == {*PICKLES, *CODE, *USELESS}


def test_pickles_come_only_when_allowed(entry, tmp_path):
    only_pickles = {"config.json": b"{}", **PICKLES}
    with pytest.raises(CatalogueError, match=r"no safetensors; its weights are pickles.*--allow-p"):
        fetch(entry, tmp_path, DoubleOfTheHub(only_pickles))
    manifest = fetch(entry, tmp_path, DoubleOfTheHub(only_pickles), Permissions(pickles=True))
    assert set(manifest.files) == set(only_pickles)


def test_remote_code_comes_only_for_the_key_that_is_named(write, tmp_path):
    entry = load_catalogue(write(remote_code=True)).entry("tiny-vl")
    hub = DoubleOfTheHub({**SAFE, **CODE})
    for permissions in (Permissions(), Permissions(remote_code=frozenset({"another-key"}))):
        with pytest.raises(CatalogueError, match=r"--allow-remote-code tiny-vl-bf16"):
            fetch(entry, tmp_path, hub, permissions)
    assert hub.downloads == []
    allowed = Permissions(remote_code=frozenset({"tiny-vl-bf16"}))
    assert set(fetch(entry, tmp_path, hub, allowed).files) == {*SAFE, *CODE}


@pytest.mark.parametrize(
    ("licence", "traps"),
    [
        ("SAM-License", ["gated", "custom-terms"]),
        ("AGPL-3.0", ["agpl"]),
        ("CC-BY-NC-4.0", ["non-commercial"]),
        ("unknown", []),
    ],
)
def test_binding_terms_have_to_be_accepted_by_name(write, tmp_path, licence, traps):
    entry = load_catalogue(write(licence={"name": licence}, traps=traps)).entry("tiny-vl")
    hub = DoubleOfTheHub(SAFE)
    for permissions in (Permissions(), Permissions(licences=frozenset({"MIT"}))):
        with pytest.raises(CatalogueError, match=f"--accept-licence '{licence}'"):
            fetch(entry, tmp_path, hub, permissions)
    assert hub.downloads == []
    fetch(entry, tmp_path, hub, Permissions(licences=frozenset({licence})))


@pytest.mark.parametrize("name", ["../escape.json", "/etc/x.json", "a/../../b.json", "a\\b.json"])
def test_names_that_lead_out_of_the_folder_are_refused(entry, tmp_path, name):
    hub = DoubleOfTheHub({**SAFE, name: b"{}"})
    with pytest.raises(CatalogueError, match="outside its folder"):
        fetch(entry, tmp_path, hub)
    assert hub.downloads == []


def test_a_repository_without_a_configuration_is_refused(entry, tmp_path):
    with pytest.raises(CatalogueError, match=r"holds no config\.json"):
        fetch(entry, tmp_path, DoubleOfTheHub({"model.safetensors": b"w"}))


def test_a_hub_that_gives_another_commit_than_asked_for_is_refused(entry, tmp_path):
    with pytest.raises(CatalogueError, match=f"asked for {COMMIT}, the hub gave {'f' * 40}"):
        fetch(entry, tmp_path, DoubleOfTheHub(SAFE, commit="f" * 40))


def test_without_a_pin_the_manifest_says_so_and_a_newer_commit_is_not_mixed_in(write, tmp_path):
    entry = load_catalogue(write()).entry("tiny-vl-w4")
    manifest = fetch(entry, tmp_path, DoubleOfTheHub(SAFE, commit="a" * 40))
    assert (manifest.pinned, manifest.revision) == (False, "a" * 40)
    with pytest.raises(CatalogueError, match="take the folder away first"):
        fetch(entry, tmp_path, DoubleOfTheHub(SAFE, commit="b" * 40))


def test_a_full_disk_is_told_before_anything_is_fetched(entry, tmp_path):
    hub = DoubleOfTheHub(SAFE)
    honest = hub._described
    hub._described = lambda path: RemoteFile(path, 10**18, honest(path).sha256)  # type: ignore[method-assign]
    with pytest.raises(CatalogueError, match=r"needs \d+\.\d GB more"):
        fetch(entry, tmp_path, hub)
    assert hub.downloads == []
