"""Conditions from an image classifier of weather or time of day: its classes' shares."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from natix_miner.errors import ModelError
from natix_miner.experts.conditions.rules import ALL
from natix_miner.experts.weights.locating import Place
from natix_miner.experts.weights.placement import digest_of
from natix_miner.experts.weights.runtimes import RuntimeSettings, runner, tensors_only
from natix_miner.experts.weights.saved import load_saved
from natix_miner.images.frame import Pixels

#: Keys of an expert's section that mean nothing for the classifier inside it.
OUTSIDE = ("timeout_seconds", "batch_window_ms")


class ClassifierSettings(RuntimeSettings):
    """Place, device, runtime and views of a classifier as any other model's; the shares of several
    views are averaged. What belongs to the whole expert is refused here."""

    type: Literal["conditions"] = "conditions"

    @model_validator(mode="after")
    def _inside(self) -> ClassifierSettings:
        if wrong := [key for key in OUTSIDE if key in self.model_fields_set]:
            raise ValueError(f"{', '.join(wrong)}: say it of the expert, not of its classifier")
        return self


class ConditionClassifier:
    """A saved classifier; `names` are its classes in lower case with dashes: "Fog/Smog" is
    fog-smog."""

    def __init__(self, name: str, place: Place, settings: ClassifierSettings) -> None:
        """Load it; raises ModelError, also when its classes have no names, or names that the
        statistics of the frame have."""
        saved = load_saved(name, "a classifier", "AutoModelForImageClassification", place)
        self.names = _names(name, place, saved.model.config.id2label)
        self.digest = digest_of(saved.model)
        self._inputs = saved.inputs
        self._several = saved.model.config.problem_type == "multi_label_classification"
        example = saved.inputs([np.zeros((224, 224, 3), np.uint8)])
        module = tensors_only(saved.model, _logits)
        self._run = runner(name, module, example, settings)
        self._run(example)

    def shares(self, pictures: list[Pixels]) -> NDArray[np.float64]:
        """Shares (n, classes) in [0, 1] of n RGB pictures (h, w, 3): by softmax, by sigmoid for a
        classifier that was trained to find several at once."""
        logits = self._run(self._inputs(pictures))[0].astype(np.float64)
        if self._several:
            return np.asarray(1 / (1 + np.exp(-logits)))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logits(outputs: Any) -> Any:
    return outputs.logits


def _names(name: str, place: Place, labels: dict[int, str]) -> tuple[str, ...]:
    names = tuple(
        re.sub(r"[^a-z0-9]+", "-", str(labels[index]).lower()).strip("-")
        for index in range(len(labels))
    )
    said = f"expert {name!r}: the classes of {place.location} are {list(labels.values())}"
    if any(re.fullmatch(r"label-\d+|", found) for found in names):
        raise ModelError(f"{said}, which names no conditions; write id2label into config.json")
    if len(set(names)) < len(names):
        raise ModelError(f"{said}: two of them would be told by one name, {sorted(names)}")
    if both := sorted(set(names) & set(ALL)):
        raise ModelError(
            f"{said}, of which {both} are measured on the frame too; rename them in config.json"
        )
    return names
