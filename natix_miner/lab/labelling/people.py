"""Who labels: a person's name, and the source under which the journal keeps the labels."""

from __future__ import annotations

from natix_miner.errors import ConfigurationError

PREFIX = "label:"
LONGEST_NAME = 40


def source_of(name: str) -> str:
    """The label source of a person, `label:NAME`. Raises ConfigurationError for no usable name."""
    return PREFIX + check_name(name)


def check_name(name: str) -> str:
    """The name without spaces around it.

    Raises ConfigurationError when it is empty, longer than 40 letters, or holds a colon or
    something that cannot be printed.
    """
    kept = name.strip()
    if not kept or len(kept) > LONGEST_NAME or ":" in kept or not kept.isprintable():
        raise ConfigurationError(
            f"{name!r} is no name for a person who labels: give --who 1 to {LONGEST_NAME} letters "
            "without a colon"
        )
    return kept


def person_of(source: str) -> str | None:
    """The person behind a label source; None for sources that are no people (testnet, set)."""
    return source.removeprefix(PREFIX) if source.startswith(PREFIX) else None
