"""What of a model's folder may be published."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import pytest
from bittensor_wallet import Wallet

from natix_miner.errors import PublishingError
from natix_miner.registration.contents import look_into


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "inner" / "model.safetensors").write_bytes(b"\x08" + bytes(5000))
    return tmp_path


def test_files_are_listed_with_size_and_digest(folder):
    contents = look_into(folder)
    assert [(file.path, file.bytes) for file in contents.files] == [
        ("config.json", 8),
        ("inner/model.safetensors", 5001),
    ]
    assert contents.files[0].sha256 == hashlib.sha256(b'{"a": 1}').hexdigest()
    assert contents.total_bytes == 5009
    assert contents.has_weights


def test_what_no_model_needs_is_left_out_and_told(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("token")
    (folder / "inner" / "__pycache__").mkdir()
    (folder / "inner" / "__pycache__" / "a.pyc").write_bytes(b"x")
    contents = look_into(folder)
    assert contents.left_out == (".git", "inner/__pycache__")
    assert len(contents.files) == 2


@pytest.mark.parametrize(
    "name",
    [
        ".env", "miner.env", ".env.local", "tls.pem", "server.KEY", "id_ed25519", "coldkey",
        "coldkeypub.txt", "hotkey.json", "my_mnemonic.txt", ".netrc", "token", "hotkeys/default",
        ".ssh/config",
    ],
)  # fmt: skip
def test_secrets_are_refused_by_name_wherever_they_lie(name, folder):
    path = folder / "inner" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("nothing")
    with pytest.raises(PublishingError, match="looks like secrets") as caught:
        look_into(folder, allow_pickle=True)
    assert f"inner/{name}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("-----BEGIN OPENSSH " + "PRIVATE KEY-----", "a private key"),
        ("token: hf_" + "aB3" * 11, "a token of the model hub"),
        ("ghp_" + "a1B2" * 9, "a GitHub token"),
        ("key=AKIA" + "ABCDEFGH12345678", "an AWS access key"),
    ],
)
def test_secrets_are_refused_by_their_look_and_not_shown(content, what, folder):
    (folder / "notes.txt").write_text("some words\n" + content)
    with pytest.raises(PublishingError) as caught:
        look_into(folder)
    assert f"notes.txt ({what})" in str(caught.value)
    assert content not in str(caught.value)


def test_a_real_wallets_hotkey_is_found_under_any_name(folder, tmp_path_factory):
    wallets = tmp_path_factory.mktemp("wallets")
    wallet = Wallet(name="w", hotkey="h", path=str(wallets))
    wallet.create_if_non_existent(
        coldkey_use_password=False, hotkey_use_password=False, suppress=True
    )
    (folder / "innocent.json").write_bytes((wallets / "w" / "hotkeys" / "h").read_bytes())
    with pytest.raises(PublishingError, match=r"innocent.json \(a wallet's key file\)"):
        look_into(folder)


def test_pickles_are_refused_unless_allowed_under_whatever_name(folder):
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    (folder / "disguised.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with zipfile.ZipFile(folder / "packed.onnx", "w") as packed:
        packed.writestr("archive/data.pkl", b"x")
    with pytest.raises(PublishingError, match="--allow-pickle") as caught:
        look_into(folder)
    names = ("disguised.safetensors", "packed.onnx", "pytorch_model.bin")
    assert ", ".join(names) in str(caught.value)
    assert look_into(folder, allow_pickle=True).pickles == names


def test_the_weights_of_an_openvino_model_are_no_pickle(folder):
    (folder / "model.xml").write_text("<net/>")
    (folder / "model.bin").write_bytes(b"\x00\x01plain numbers")
    assert look_into(folder).pickles == ()


def test_links_out_of_the_folder_are_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("x")
    (folder / "link.txt").symlink_to(outside)
    with pytest.raises(PublishingError, match="is a link"):
        look_into(folder)


def test_an_empty_folder_and_none_at_all_are_refused(tmp_path):
    with pytest.raises(PublishingError, match="holds no file"):
        look_into(tmp_path)
    with pytest.raises(PublishingError, match="is not a folder"):
        look_into(tmp_path / "none")


def test_a_folder_without_weights_is_noticed(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert not look_into(tmp_path).has_weights
