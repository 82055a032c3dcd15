"""From a model's folder to what goes to the hub: checked, listed, and only then uploaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from natix_miner.errors import PublishingError
from natix_miner.registration.contents import Contents, ModelFile, look_into
from natix_miner.registration.model_card import (
    CARD_NAME,
    ModelCard,
    Submission,
    read_card,
    refuse_old_version,
)
from natix_miner.registration.readme import README_NAME, make_readme
from natix_miner.registration.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Package:
    """All that would be uploaded.

    `files` are those of the folder and the two that are written for it, `readme` and `card`;
    `contents` is what was found in the folder.
    """

    repository: str
    folder: Path
    card: ModelCard
    readme: str
    contents: Contents
    files: tuple[ModelFile, ...]

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(file.bytes for file in self.files)

    def made(self) -> dict[str, bytes]:
        """The two files that are written for the folder."""
        return {README_NAME: self.readme.encode(), CARD_NAME: self.card.as_json().encode()}

    def upload(self) -> dict[str, Path | bytes]:
        """What to upload, by its name in the repository."""
        made = self.made()
        return {file.path: made.get(file.path, self.folder / file.path) for file in self.files}


def pack(
    repository: str,
    folder: Path,
    card: ModelCard,
    *,
    licence: str | None = None,
    allow_pickle: bool = False,
) -> Package:
    """Look through a folder and write README and card for it; nothing is changed on disk.

    Raises PublishingError for anything that may not be published.
    """
    contents = look_into(folder, allow_pickle=allow_pickle)
    readme = make_readme(card, _existing_readme(folder), licence)
    made = {README_NAME: readme.encode(), CARD_NAME: card.as_json().encode()}
    files = [file for file in contents.files if file.path not in made]
    files += [
        ModelFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in made.items()
    ]
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return Package(repository, folder, card, readme, contents, ordered)


def submission_of(card: ModelCard, where: str) -> Submission:
    """What an earlier card says of its submission."""
    return Submission(card.version, card.submission_time, where)


def upload(package: Package, shelf: Shelf, *, private: bool) -> tuple[str, Submission | None]:
    """Publish in one commit, unless the hub has this version or a higher one.

    The address of the commit, and the submission that was the last one before. Raises
    PublishingError.
    """
    shelved = shelf.look(package.repository)
    last = None
    if shelved.card is not None:
        where = f"{package.repository}/{CARD_NAME}"
        last = submission_of(read_card(shelved.card, where), where)
        refuse_old_version(package.card.version, last)
    message = f"{package.card.model_name} {package.card.version}"
    url = shelf.put(
        package.repository, package.upload(), message, parent=shelved.commit, private=private
    )
    return url, last


def keep_made(package: Package) -> None:
    """Leave README and card as published in the folder, for next time. Raises PublishingError."""
    for name, content in package.made().items():
        path = package.folder / name
        try:
            path.write_bytes(content)
        except OSError as error:
            raise PublishingError(
                f"published, but {path} could not be written ({error.strerror}); copy it from the"
                " hub"
            ) from error


def _existing_readme(folder: Path) -> str | None:
    path = folder / README_NAME
    if not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PublishingError(f"{path} cannot be read as text ({error})") from error
