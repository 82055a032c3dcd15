"""The model hub, as much of it as publishing needs: the card of last time, and one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from natix_miner.errors import MissingExtraError, PublishingError
from natix_miner.registration.model_card import CARD_NAME


@dataclass(frozen=True, slots=True)
class Shelved:
    """What a repository holds: its newest commit and the text of its model card; None for each
    that is not there."""

    commit: str | None
    card: bytes | None


class Shelf(Protocol):
    """Where models are published. Both calls raise PublishingError."""

    def look(self, repository: str) -> Shelved:
        """The repository as it is; empty when there is none."""

    def put(
        self,
        repository: str,
        files: Mapping[str, Path | bytes],
        message: str,
        *,
        parent: str | None,
        private: bool,
    ) -> str:
        """Put files there in one commit, on top of `parent` and nothing else; the commit's address.
        The repository is made where there is none, `private` or public."""


class HuggingFaceShelf:
    """huggingface.co, or another at `endpoint`.

    The token is that of the library's own login (`hf auth login`, HF_TOKEN); this class never sees
    it.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        try:
            import huggingface_hub
        except ImportError as error:
            raise MissingExtraError(
                "publishing needs huggingface_hub: pip install 'natix-miner[classifier]'"
            ) from error
        self._library = huggingface_hub
        self._api = huggingface_hub.HfApi(endpoint=endpoint)
        #: Connection errors of the library's HTTP client are no OSErrors.
        self._failures = (OSError, RuntimeError, ValueError, huggingface_hub.errors.HTTPError)

    def look(self, repository: str) -> Shelved:
        try:
            info = self._api.model_info(repository)
            names = {file.rfilename for file in info.siblings or ()}
            if CARD_NAME not in names:
                return Shelved(info.sha, None)
            with tempfile.TemporaryDirectory() as folder:
                path = self._api.hf_hub_download(
                    repository, CARD_NAME, revision=info.sha, local_dir=folder
                )
                return Shelved(info.sha, Path(path).read_bytes())
        except self._library.errors.RepositoryNotFoundError:
            # The hub says the same of a repository that this login may not see.
            return Shelved(None, None)
        except self._failures as error:
            raise self._told(repository, "could not be read", error) from error

    def put(
        self,
        repository: str,
        files: Mapping[str, Path | bytes],
        message: str,
        *,
        parent: str | None,
        private: bool,
    ) -> str:
        operations = [
            self._library.CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
            for name, content in files.items()
        ]
        try:
            if parent is None:
                self._api.create_repo(repository, private=private, exist_ok=True)
            commit = self._api.create_commit(
                repository, operations, commit_message=message, parent_commit=parent
            )
        except self._failures as error:
            raise self._told(repository, "did not take the files", error) from error
        return str(commit.commit_url)

    def _told(self, repository: str, what: str, error: Exception) -> PublishingError:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            return PublishingError(
                f"{repository} {what}: the hub refuses this login (HTTP {status}); log in with a"
                " token that may write there (hf auth login)"
            )
        if status in (409, 412):
            return PublishingError(
                f"{repository} {what}: somebody else published meanwhile; look at it, then again"
            )
        text = str(error).strip()
        first = text.splitlines()[0][:300] if text else type(error).__name__
        return PublishingError(f"{repository} {what}: {first}")
