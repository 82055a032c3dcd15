"""The model hub, as much of it as fetching needs: what a commit holds, and one file of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from natix_miner.errors import CatalogueError, MissingExtraError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository with the hub's own digest of it: SHA-256 for large files, git's name
    of the blob for small ones."""

    path: str
    bytes: int
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a repository holds at one commit."""

    commit: str
    files: tuple[RemoteFile, ...]


class Hub(Protocol):
    """Where models come from. Both calls raise CatalogueError when the hub does not deliver."""

    def snapshot(self, repository: str, revision: str | None) -> Snapshot:
        """The files of a repository at a revision, at its newest commit without one."""

    def download(self, repository: str, commit: str, path: str, folder: Path) -> None:
        """Put one file beneath `folder`, going on with a half-loaded one."""


class HuggingFaceHub:
    """huggingface.co, or a mirror of it at `endpoint`.

    Credentials for gated repositories are those of the library's own login; this class knows none.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        try:
            import huggingface_hub
        except ImportError as error:
            raise MissingExtraError(
                "fetching models needs huggingface_hub: pip install 'natix-miner[classifier]'"
            ) from error
        self._library = huggingface_hub
        self._endpoint = endpoint
        self._api = huggingface_hub.HfApi(endpoint=endpoint)
        #: Connection errors of the library's HTTP client are no OSErrors.
        self._failures = (OSError, RuntimeError, ValueError, huggingface_hub.errors.HTTPError)

    def snapshot(self, repository: str, revision: str | None) -> Snapshot:
        try:
            info = self._api.model_info(repository, revision=revision, files_metadata=True)
        except self._failures as error:
            raise self._told(repository, revision, error) from error
        files = tuple(
            RemoteFile(
                path=file.rfilename,
                bytes=int(file.size or 0),
                sha256=file.lfs.sha256 if file.lfs else None,
                git_sha1=None if file.lfs else file.blob_id,
            )
            for file in info.siblings or ()
        )
        return Snapshot(commit=str(info.sha), files=files)

    def download(self, repository: str, commit: str, path: str, folder: Path) -> None:
        try:
            self._library.hf_hub_download(
                repository, path, revision=commit, local_dir=folder, endpoint=self._endpoint
            )
        except self._failures as error:
            raise self._told(repository, commit, error) from error

    def _told(self, repository: str, revision: str | None, error: Exception) -> CatalogueError:
        kinds = self._library.errors
        at = f"{repository}@{revision or 'newest'}"
        if isinstance(error, kinds.GatedRepoError):
            return CatalogueError(
                f"{at} is gated: accept its terms on its page and log in (hf auth login)"
            )
        if isinstance(error, kinds.RevisionNotFoundError):
            return CatalogueError(
                f"{at}: the hub has no such revision; the catalogue's pin is wrong"
            )
        if isinstance(error, kinds.RepositoryNotFoundError):
            return CatalogueError(f"{at}: the hub has no such repository, or hides it")
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return CatalogueError(
            f"{at} could not be fetched: {first}; what has come is kept, the same command goes on"
        )
