"""What a detector's labels mean for roadwork."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from natix_miner.errors import ModelError
from natix_miner.sections import Section

#: Roadwork classes that speak for roadwork by themselves.
TELLING = frozenset({"cone", "drum", "barrier", "panel", "fence", "board", "machine", "worker"})
SHIPPED = Path(__file__).parent / "vocabularies.yaml"


class Vocabulary(Section):
    """The labels of one data set that matter here, and the roadwork class each of them stands for.

    A `weak` vocabulary knows nothing of roadwork itself (COCO has no cone): what it finds speaks
    for a street with people and machines, no more. `source` says where the names were read.
    """

    classes: Annotated[dict[str, str], Field(min_length=1)]
    weak: bool = False
    source: str

    def class_of(self, label: str) -> str | None:
        """The roadwork class of a model's label, however it is written; None for other things."""
        return self._plain.get(plain(label))

    def known(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Those of a model's labels that mean something here."""
        return tuple(label for label in labels if self.class_of(label) is not None)

    def digest(self) -> str:
        """Short digest of what the labels mean, for versions in traces."""
        return hashlib.sha256(repr(sorted(self._plain.items())).encode()).hexdigest()[:8]

    @cached_property
    def _plain(self) -> dict[str, str]:
        return {plain(label): meaning for label, meaning in self.classes.items()}


class _Vocabularies(Section):
    vocabularies: dict[str, Vocabulary]


def plain(label: str) -> str:
    """A label without case, dashes, underscores and doubled spaces."""
    return re.sub(r"[\s_-]+", " ", label).strip().casefold()


@cache
def load_vocabularies(path: Path = SHIPPED) -> dict[str, Vocabulary]:
    """All vocabularies of a file by name; raises ModelError saying what is wrong in it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _Vocabularies.model_validate({"vocabularies": content}).vocabularies
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ModelError(f"{path} is no file of vocabularies: {error}") from error


def vocabulary_named(name: str) -> Vocabulary:
    """A shipped vocabulary; raises ModelError naming those there are."""
    found = load_vocabularies()
    if name not in found:
        raise ModelError(f"no vocabulary {name!r}; there are {', '.join(sorted(found))}")
    return found[name]


def vocabulary_of(labels: Iterable[str], wanted: str | None, name: str) -> tuple[str, Vocabulary]:
    """The vocabulary for a model with these labels: the one `wanted`, else the one that knows most
    labels that mean roadwork itself, and of equals the one of whose words most are there.

    Raises ModelError when the model has no label that means anything for roadwork.
    """
    labels = tuple(labels)
    if wanted is not None:
        chosen = vocabulary_named(wanted)
        if not chosen.known(labels):
            raise ModelError(
                f"expert {name!r}: none of the model's {len(labels)} labels "
                f"({', '.join(labels[:8])} ...) stands in the vocabulary {wanted!r}"
            )
        return wanted, chosen

    def fit(item: tuple[str, Vocabulary]) -> tuple[int, float]:
        known = item[1].known(labels)
        telling = sum(item[1].class_of(label) in TELLING for label in known)
        return telling, len(known) / len(item[1].classes)

    found = load_vocabularies()
    best, chosen = max(found.items(), key=fit)
    if not chosen.known(labels):
        raise ModelError(
            f"expert {name!r}: no class of this model is known to mean anything for roadwork; its "
            f"{len(labels)} labels are {', '.join(labels[:8])} ...; name a `vocabulary` of "
            f"{', '.join(sorted(found))}"
        )
    return best, chosen
