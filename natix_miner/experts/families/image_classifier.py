"""Image classifiers in the format of transformers, such as NATIX' official baseline (a ViT,
None/Roadwork): ViT, DINOv2, SigLIP 2, ConvNeXt, and timm's networks.

Decisions are the same on every runtime, see scripts/bench.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.by_view import ByViewExpert, ByViewSettings
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.weights.locating import Place, locate
from natix_miner.experts.weights.placement import digest_of
from natix_miner.experts.weights.runtimes import Run, runner, tensors_only
from natix_miner.experts.weights.saved import Saved, load_saved
from natix_miner.images.frame import Pixels


class ImageClassifierSettings(ByViewSettings):
    """`positive` are the labels that mean roadwork, in any case of letters."""

    type: Literal["image-classifier"] = "image-classifier"
    positive: tuple[str, ...] = ("Roadwork",)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A loaded classifier; experts with other views or other labels may share it."""

    saved: Saved
    run: Run
    labels: Mapping[int, str]
    independent: bool
    side: int
    digest: str

    def logits(self, pictures: list[Pixels]) -> NDArray[np.float64]:
        """Logits (n, classes)."""
        return np.asarray(self.run(self.saved.inputs(pictures))[0], np.float64)


class ImageClassifier(ByViewExpert):
    """The log-odds of the positive labels: against all others (softmax), or of the most probable
    of them (classifiers of one label, or of labels that do not exclude each other: sigmoid)."""

    def __init__(
        self, name: str, settings: ImageClassifierSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings, surroundings.clock)
        self._settings = settings
        self._surroundings = surroundings
        self._key: Hashable = None
        self._classifier: Classifier | None = None
        self._positive: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def load(self) -> None:
        settings = self._settings
        place = locate(self.name, settings, self._surroundings)
        key = (
            *("image-classifier", place, settings.device, settings.precision),
            *(settings.compile, settings.runtime, settings.threads),
        )
        models = self._surroundings.models
        classifier = models.acquire(key, lambda: _load(self.name, settings, place)).value
        try:
            self._positive = _classes_named(classifier, settings.positive, place.location)
        except ModelError:
            models.release(key)
            raise
        self._key, self._classifier = key, classifier
        self.side, self.version = classifier.side, classifier.digest

    def log_odds(self, pictures: list[Pixels]) -> NDArray[np.float64]:
        if self._classifier is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        logits = self._classifier.logits(pictures)
        ours = logits[:, self._positive]
        if self._classifier.independent:
            return np.asarray(ours.max(axis=1), np.float64)
        others = logits[:, ~self._positive]
        odds = np.logaddexp.reduce(ours, axis=1) - np.logaddexp.reduce(others, axis=1)
        return np.asarray(odds, np.float64)

    async def close(self) -> None:
        await super().close()
        if self._key is not None:
            self._surroundings.models.release(self._key)
            self._key = self._classifier = None


def _load(name: str, settings: ImageClassifierSettings, place: Place) -> Classifier:
    auto = "AutoModelForImageClassification"
    saved = load_saved(name, "a classifier", auto, place, extra="classifier")
    config = saved.model.config
    if config.problem_type == "regression":
        raise ModelError(f"{place.location} is a regression: its outputs are no probabilities")
    digest = digest_of(saved.model)
    example = saved.inputs([np.zeros((224, 224, 3), np.uint8)])
    run = runner(name, tensors_only(saved.model, _logits), example, settings)
    run(example)
    size = example["pixel_values"].shape[2:]
    return Classifier(
        Saved(None, saved.processor),  # the runtime holds the weights
        run,
        labels={int(index): str(label) for index, label in config.id2label.items()},
        # As the pipeline of transformers decides between sigmoid and softmax.
        independent=config.problem_type == "multi_label_classification" or config.num_labels == 1,
        side=max(size) if len(size) == 2 else ImageClassifier.side,
        digest=digest,
    )


def _logits(output: Any) -> Any:
    return output.logits


def _classes_named(
    classifier: Classifier, positive: tuple[str, ...], source: str
) -> NDArray[np.bool_]:
    wanted = {name.casefold() for name in positive}
    labels = [classifier.labels[index] for index in sorted(classifier.labels)]
    found = np.array([label.casefold() in wanted for label in labels], np.bool_)
    if not found.any() or (found.all() and not classifier.independent):
        raise ModelError(
            f"the labels of {source} are {sorted(labels)}, of which `positive` names "
            f"{list(positive)}: that must be some of them, not none and not all"
        )
    return found


FAMILY = Family(type="image-classifier", settings=ImageClassifierSettings, build=ImageClassifier)
