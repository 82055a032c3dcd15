"""Detectors that are asked in words: Grounding DINO, LLMDet, OWLv2, OWL-ViT, OmDet-Turbo.

All of them load through transformers as zero-shot object detectors; a dialect knows how each is
asked (`natix_miner.experts.detection.dialects`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.dialects import DIALECTS, Dialect
from natix_miner.experts.detection.prompted import Loaded, PromptedExpert
from natix_miner.experts.detection.settings import PromptedSettings, Score
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.weights.locating import Place
from natix_miner.torch_stack import TorchStack

AUTO = "AutoModelForZeroShotObjectDetection"


class OpenVocabularySettings(PromptedSettings):
    """Grounding DINO and LLMDet score every word: a phrase counts the mean of `all` its words, or
    its `best` one, and only where one of them scores above `text_threshold`. `template` is the
    sentence in which OWLv2 and OWL-ViT are asked for a phrase."""

    type: Literal["open-vocabulary"] = "open-vocabulary"
    threshold: Score = 0.2
    text_threshold: Score = 0.25
    words: Literal["all", "best"] = "all"
    template: Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")] = "a photo of a {}"


class OpenVocabularyDetector(PromptedExpert):
    """Asks a zero-shot object detector for its phrases."""

    def __init__(
        self, name: str, settings: OpenVocabularySettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings, surroundings)
        self._asking = settings
        self._dialect: Dialect

    def read(self, stack: TorchStack, place: Place) -> Loaded:
        model, processor = self.read_pretrained(stack, place, dict.fromkeys(DIALECTS, AUTO))
        heavy = DIALECTS[model.config.model_type].heavy.format(base=model.base_model_prefix)
        return self.placed(model, processor, heavy)

    def prepare(self, loaded: Loaded, phrases: tuple[str, ...]) -> None:
        dialect = DIALECTS[loaded.model.config.model_type]
        self._dialect = dialect(loaded, phrases, self._asking, self._placement)

    def found(self, pictures: list[NDArray[np.uint8]]) -> list[Detections]:
        return self._dialect(pictures)


FAMILY = Family(
    type="open-vocabulary", settings=OpenVocabularySettings, build=OpenVocabularyDetector
)
