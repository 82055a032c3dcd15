"""What a model's folder holds, and what of it must never reach a public hub."""

from __future__ import annotations

import fnmatch
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from natix_miner.catalogue.fetch import PICKLES
from natix_miner.catalogue.manifest import sha256_of
from natix_miner.errors import PublishingError

#: Folders and files that no model needs; left out, and told.
_LEFT_OUT = frozenset({".git", ".cache", ".DS_Store", "__pycache__", ".ipynb_checkpoints"})
#: Names under which secrets lie: environment files, keys, wallets, logins.
_SECRET_NAMES = (
    ".env", "*.env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "coldkey*", "hotkey*", "*mnemonic*",
    ".netrc", "_netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", "credentials*",
    "token", "*.token", "secrets.*", ".bash_history",
)  # fmt: skip
_SECRET_FOLDERS = frozenset({"hotkeys", ".ssh", ".aws", ".gnupg", ".bittensor", ".huggingface"})
#: Secrets by their look, in files of any kind.
_SECRET_LOOKS = (
    (re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY"), "a private key"),
    (re.compile(rb'"(?:secretPhrase|secretSeed|privateKey)"\s*:\s*"'), "a wallet's key file"),
    (re.compile(rb"\A\$NACL|\A\$ANSIBLE_VAULT"), "an encrypted key file"),
    (re.compile(rb"\bhf_[A-Za-z0-9]{30,}"), "a token of the model hub"),
    (re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{50,}"), "a GitHub token"),
    (re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "an AWS access key"),
    (re.compile(rb"\bsk-[A-Za-z0-9_-]{40,}"), "an API key"),
)
#: Larger files are weights; their beginning is enough.
_LOOK_BYTES = 4_000_000
_WEIGHTS = ("*.safetensors", "*.onnx", "*.xml", "*.gguf", *PICKLES)
#: First byte and protocol of a pickle that is not packed.
_PICKLE_START = re.compile(rb"\x80[\x02-\x05]")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file by its name in the repository, with '/' between folders."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What would be uploaded from a folder, what of it is a pickle, what is left out."""

    files: tuple[ModelFile, ...]
    pickles: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(file.bytes for file in self.files)

    @property
    def has_weights(self) -> bool:
        """Whether any file looks like weights."""
        return any(_matches(file.path, _WEIGHTS) for file in self.files)


def look_into(folder: Path, *, allow_pickle: bool = False) -> Contents:
    """List a folder for publishing.

    Raises PublishingError: no folder, nothing in it, a file that looks like a secret (nothing
    allows those), a pickle that was not allowed, a link that leads out of the folder.
    """
    if not folder.is_dir():
        raise PublishingError(f"{folder} is not a folder; give the one that holds the model")
    left_out, paths = _walk(folder)
    if not paths:
        raise PublishingError(f"{folder} holds no file to publish")
    secrets = [f"{name} ({why})" for name, path in paths.items() if (why := _secret(name, path))]
    if secrets:
        raise PublishingError(
            f"{folder} holds what looks like secrets: {', '.join(secrets)}; move them out of the"
            " folder, nothing is published with them in it"
        )
    pickles = tuple(name for name, path in paths.items() if _is_pickle(name, path))
    if pickles and not allow_pickle:
        raise PublishingError(
            f"{folder} holds pickles: {', '.join(pickles)}; whoever loads one runs what it says."
            " Convert them to safetensors or ONNX, or say --allow-pickle"
        )
    files = tuple(
        ModelFile(name, path.stat().st_size, sha256_of(path)) for name, path in paths.items()
    )
    return Contents(files, pickles, tuple(left_out))


def _walk(folder: Path) -> tuple[list[str], dict[str, Path]]:
    root = folder.resolve()
    left_out: list[str] = []
    paths: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        outer = next((i for i, part in enumerate(relative.parts) if part in _LEFT_OUT), None)
        if outer is not None:
            name = "/".join(relative.parts[: outer + 1])
            if name not in left_out:
                left_out.append(name)
            continue
        if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
            raise PublishingError(
                f"{path} is a link to a folder or out of this one; put the files themselves there"
            )
        if path.is_file():
            paths[relative.as_posix()] = path
        elif not path.is_dir():
            raise PublishingError(f"{path} is neither a file nor a folder; remove it")
    return left_out, paths


def _secret(name: str, path: Path) -> str:
    """Why a file looks like a secret; "" when it does not. Never a part of the secret itself."""
    if _matches(name, _SECRET_NAMES):
        return "by its name"
    if _SECRET_FOLDERS & {part.lower() for part in Path(name).parts[:-1]}:
        return "by its folder"
    with path.open("rb") as file:
        beginning = file.read(_LOOK_BYTES)
    return next((what for look, what in _SECRET_LOOKS if look.search(beginning)), "")


def _is_pickle(name: str, path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    if _PICKLE_START.match(start):
        return True
    if start.startswith(b"PK") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            return any(inner.endswith((".pkl", ".pickle", ".npy")) for inner in packed.namelist())
    if name.endswith(".bin") and path.with_suffix(".xml").is_file():
        return False  # The weights of an OpenVINO model are plain numbers.
    return _matches(name, PICKLES)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    file = name.rsplit("/", 1)[-1].lower()
    return any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns)
