"""The expert behind every detector that is asked in words: loaded once for all that ask it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.expert import DetectorExpert
from natix_miner.experts.detection.prompts import asked_of
from natix_miner.experts.detection.settings import PromptedSettings
from natix_miner.experts.detection.vocabulary import Vocabulary
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.locating import Place, locate
from natix_miner.experts.weights.placement import Placement, digest_of, loading, refuse_made_up
from natix_miner.experts.weights.shared import Shared
from natix_miner.torch_stack import TorchStack, torch_stack

#: A tokenizer without its vocabulary knows its special tokens, no more.
_SPECIAL_TOKENS = 16


class Loaded(NamedTuple):
    """A model where it runs, what makes its inputs, and the digest of its weights."""

    model: Any
    processor: Any
    digest: str


class PromptedExpert(DetectorExpert):
    """Experts on the same weights, asked for different phrases, share one load; they run one after
    the other. Subclasses write `read`, `prepare` and `found`."""

    def __init__(self, name: str, settings: PromptedSettings, surroundings: Surroundings) -> None:
        super().__init__(name, settings, surroundings)
        self._model_settings = settings
        self._key: Hashable | None = None
        self._shared: Shared[Loaded] | None = None
        self._placement: Placement

    @abstractmethod
    def read(self, stack: TorchStack, place: Place) -> Loaded:
        """Model and processor from disk; raises ModelError."""

    @abstractmethod
    def prepare(self, loaded: Loaded, phrases: tuple[str, ...]) -> None:
        """Encode the phrases, once; raises ModelError."""

    @abstractmethod
    def found(self, pictures: list[NDArray[np.uint8]]) -> list[Detections]:
        """As `detect`; the model is this expert's alone meanwhile, and in inference mode."""

    def load_detector(self) -> tuple[Vocabulary, str]:
        settings, rule = self._model_settings, self._rule
        if rule is None:
            raise ModelError(f"expert {self.name!r} has no rule to judge boxes by")
        asked = asked_of(self.name, settings, rule)
        self._note(asked.remark)
        stack = torch_stack(self.name)
        place = locate(self.name, settings, self._surroundings)
        self._placement = Placement.of(settings)
        self._give_back()
        key = (
            type(self).__name__,
            place,
            settings.device,
            settings.precision,
            settings.compile,
        )
        self._shared = self._surroundings.models.acquire(key, lambda: self.read(stack, place))
        self._key = key
        loaded = self._shared.value
        try:
            with self._shared.lock, self._placement.running():
                self.prepare(loaded, asked.phrases)
        except BaseException:
            self._give_back()
            raise
        return asked.vocabulary, loaded.digest

    def detect(self, pictures: list[NDArray[np.uint8]]) -> list[Detections]:
        if self._shared is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        with self._shared.lock, self._placement.running():
            return self.found(pictures)

    async def close(self) -> None:
        await super().close()
        self._give_back()

    def _give_back(self) -> None:
        if self._key is not None:
            self._surroundings.models.release(self._key)
        self._key, self._shared = None, None

    def read_pretrained(
        self,
        stack: TorchStack,
        place: Place,
        models: Mapping[str, str],
        processor: str = "AutoProcessor",
    ) -> tuple[Any, Any]:
        """The model, not yet placed, and its processor.

        `models` holds the class of transformers for every architecture (`model_type`) that will
        do. Raises ModelError for another architecture, and where weights or the tokenizer are
        missing: transformers would go on with random weights.
        """
        tf, where, given = stack.transformers, place.location, place.arguments()
        config = loading(
            self.name, "a model", where, lambda: tf.AutoConfig.from_pretrained(where, **given)
        )
        if config.model_type not in models:
            raise ModelError(
                f"expert {self.name!r}: {where} holds a model of the architecture "
                f"{config.model_type!r}; this family runs {', '.join(sorted(models))}"
            )
        made = loading(
            self.name,
            "a processor",
            where,
            lambda: _made(getattr(tf, processor), where, given),
        )
        words = len(getattr(made, "tokenizer", None) or ())
        if words <= _SPECIAL_TOKENS:
            raise ModelError(
                f"expert {self.name!r}: {where} has no tokenizer (of {words} tokens); "
                "tokenizer.json or the files of its vocabulary must lie beside the weights"
            )
        model, told = loading(
            self.name,
            "weights",
            where,
            lambda: getattr(tf, models[config.model_type]).from_pretrained(
                where,
                dtype=self._placement.dtype,
                use_safetensors=True,
                output_loading_info=True,
                **given,
            ),
        )
        refuse_made_up(self.name, f"a {config.model_type} model", where, told["missing_keys"])
        return model, made

    def placed(self, model: Any, processor: Any, heavy: str = "") -> Loaded:
        """The model where it runs. Of one that is called in parts, the `heavy` part is compiled
        where the profile wants that, else the whole."""
        digest, placement = digest_of(model), self._placement
        if not (heavy and placement.compile):
            return Loaded(placement.put(model), processor, digest)
        import torch

        model = replace(placement, compile=False).put(model)
        owner, _, part = heavy.rpartition(".")
        module = model.get_submodule(owner)
        setattr(module, part, torch.compile(getattr(module, part)))
        return Loaded(model, processor, digest)


def _made(processor: Any, where: str, given: Mapping[str, Any]) -> Any:
    """A processor; one that stumbles over a file that is not there says so."""
    try:
        return processor.from_pretrained(where, **given)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"its tokenizer or its image processor is missing or another's ({error})"
        ) from error
