"""What detectors are asked for in words, and what their own words mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.detection.rule import BoxRule
from natix_miner.experts.detection.settings import PromptedSettings
from natix_miner.experts.detection.vocabulary import TELLING, Vocabulary, plain, vocabulary_named

#: The shipped phrases, in vocabularies.yaml.
SHIPPED_PHRASES = "phrases"


class Asked(NamedTuple):
    """What a model is asked for: its words mean what `vocabulary` says; `remark` tells what is
    given up."""

    vocabulary: Vocabulary
    remark: str = ""

    @property
    def phrases(self) -> tuple[str, ...]:
        """In the order of the profile."""
        return tuple(self.vocabulary.classes)


def asked_of(name: str, settings: PromptedSettings, rule: BoxRule) -> Asked:
    """The phrases of a profile, else those of its `vocabulary`, else the shipped ones.

    Raises ModelError for a phrase of the profile whose class the rule gives no weight: asking for
    it costs time and counts nothing. Shipped phrases of such classes are left out, and told.
    """
    if settings.phrases:
        if settings.vocabulary is not None:
            raise ModelError(f"expert {name!r}: give either `phrases` or a `vocabulary`, not both")
        unknown = {p: kind for p, kind in settings.phrases.items() if kind not in rule.weights}
        if unknown:
            raise ModelError(
                f"expert {name!r}: the rule gives no weight to the classes of these phrases: "
                f"{unknown}; the classes it weighs are {', '.join(sorted(rule.weights))}"
            )
        weak = not TELLING & set(settings.phrases.values())
        return Asked(Vocabulary(classes=settings.phrases, weak=weak, source="the profile"))
    shipped = vocabulary_named(settings.vocabulary or SHIPPED_PHRASES)
    known = {p: kind for p, kind in shipped.classes.items() if kind in rule.weights}
    if not known:
        raise ModelError(
            f"expert {name!r}: the rule weighs none of the classes of the phrases "
            f"({', '.join(sorted(set(shipped.classes.values())))}); name `phrases` for its classes "
            f"{', '.join(sorted(rule.weights))}"
        )
    left_out = len(shipped.classes) - len(known)
    remark = f"{left_out} phrases not asked: the rule gives them no weight" if left_out else ""
    asked = Vocabulary(classes=known, weak=shipped.weak, source=shipped.source)
    return Asked(asked, remark)


def phrase_of(said: str, phrases: Sequence[str]) -> str | None:
    """The phrase that a model's own wording belongs to; None when it is none of them, or two.

    The same words are it; else the phrase that shares the largest part of its words (Jaccard).
    """
    words = set(_words(said))
    shares = [len(words & set(_words(p))) / len(words | set(_words(p)) | {""}) for p in phrases]
    same = [phrase for phrase in phrases if _words(phrase) == _words(said)]
    if same:
        return same[0]
    best = max(shares, default=0.0)
    if best <= 0.0 or shares.count(best) > 1:
        return None
    return phrases[shares.index(best)]


def _words(phrase: str) -> list[str]:
    return re.findall(r"\w+", plain(phrase))


def check_lengths(texts: Sequence[str], tokens: Sequence[Sequence[int]], most: int) -> None:
    """Raises ModelError for a text of more tokens than the model reads."""
    text, longest = max(zip(texts, map(len, tokens), strict=True), key=lambda pair: pair[1])
    if longest > most:
        raise ModelError(
            f"{text!r} is {longest} tokens long, the model reads {most}; make it shorter"
        )


def inside(boxes: NDArray[np.floating], width: int, height: int) -> NDArray[np.float64]:
    """Boxes (n, 4) clipped to a picture."""
    return np.asarray(boxes, np.float64).reshape(-1, 4).clip(0, (width, height, width, height))
