"""The model card that people read: README.md with the YAML front matter of the model hub."""

from __future__ import annotations

import re
from typing import Any

import yaml

from natix_miner.errors import PublishingError
from natix_miner.registration.model_card import CARD_NAME, ModelCard

README_NAME = "README.md"
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n?^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.M)
_PIPELINE = "image-classification"
_TAGS = ("roadwork", "bittensor", "subnet-72")


def make_readme(card: ModelCard, existing: str | None, licence: str | None) -> str:
    """The text of README.md.

    What stands in an `existing` one is kept: its body as it is, its front matter where it says
    something already (tags are added, a given `licence` wins). Raises PublishingError when its
    front matter is not a YAML mapping.
    """
    front, body = ({}, None) if existing is None else _split(existing)
    front.setdefault("pipeline_tag", _PIPELINE)
    front.setdefault("model_name", card.model_name)
    front["tags"] = _merged(front.get("tags"))
    if licence is not None:
        front["license"] = licence
    head = yaml.safe_dump(front, sort_keys=True, allow_unicode=True)
    return f"---\n{head}---\n{_body(card) if body is None else body}"


def licence_of(readme: str) -> str | None:
    """The licence that a README names in its front matter."""
    said = _split(readme)[0].get("license")
    return None if said is None else str(said)


def _split(text: str) -> tuple[dict[str, Any], str]:
    found = _FRONT.match(text)
    if found is None:
        return {}, "\n" + text.lstrip("\ufeff")
    try:
        front = yaml.safe_load(found[1]) or {}
    except yaml.YAMLError as error:
        raise PublishingError(f"the front matter of {README_NAME} is not YAML: {error}") from None
    if not isinstance(front, dict):
        raise PublishingError(f"the front matter of {README_NAME} is not a mapping of names")
    return front, text[found.end() :]


def _merged(tags: object) -> list[str]:
    if tags is None:
        tags = []
    if isinstance(tags, str):
        tags = [tags]
    if not isinstance(tags, list):
        raise PublishingError(f"tags in {README_NAME} are not a list (they are {tags!r})")
    given = [str(tag) for tag in tags]
    return given + [tag for tag in _TAGS if tag not in given]


def _body(card: ModelCard) -> str:
    return (
        f"\n# {card.model_name}\n\n{card.description}\n\n"
        f"Version, hotkey and time of submission: `{CARD_NAME}`.\n\n"
        "Probability that a street picture shows roadwork, in [0, 1]; more than 0.5 means"
        " roadwork.\n"
    )
