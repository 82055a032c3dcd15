"""An image-text model in the transformers format, its two towers apart.

CLIP (Radford et al., 2021, arXiv 2103.00020) and MetaCLIP 2 compare pictures and sentences by
softmax, SigLIP (Zhai et al., 2023, arXiv 2303.15343) and SigLIP 2 by sigmoid; all of them by the
cosine of two vectors times a learnt scale.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.weights.locating import Place
from natix_miner.experts.weights.placement import Placement, digest_of, loading, refuse_made_up
from natix_miner.images.frame import Pixels
from natix_miner.torch_stack import TorchStack, torch_stack

if TYPE_CHECKING:
    import torch

Vectors = NDArray[np.float32]  # (n, d), each of length 1

#: By `model_type` of config.json: how sentences are prepared.
SOFTMAX = ("clip", "metaclip_2")
SIGMOID = ("siglip", "siglip2")
#: What only sentences need; the towers of all four families are called so.
TEXT_PARTS = ("text_model", "text_projection")


class ImageTextModel:
    """Vectors of pictures and of sentences; `scale` times their product are the model's logits.

    `side` is the side of its input in pixels, `digest` that of the weights. The part that reads
    sentences can be let go (`forget_texts`): it is read from disk again when it is wanted again.
    """

    def __init__(self, name: str, place: Place, placement: Placement) -> None:
        """Load it; raises ModelError, MissingExtraError."""
        self._name = name
        self._place = place
        stack = torch_stack(name)
        kind = self._kind(stack)
        self._sigmoid = kind in SIGMOID
        self._tokenizer = self._load_tokenizer(stack)
        self._processor = loading(
            name,
            "the preprocessing of pictures",
            place.location,
            lambda: stack.transformers.AutoImageProcessor.from_pretrained(
                place.location, backend="pil", **place.arguments()
            ),
        )
        self._model = self._load_model()
        # Read before the weights are rounded: in bf16 the scale of CLIP would be 1 % off.
        self.scale = math.exp(self._model.logit_scale.item())
        self.side = _side(self._model.config.vision_config)
        self.digest = digest_of(self._model)
        self._length = int(self._model.config.text_config.max_position_embeddings)
        self._images = placement.put(_image_side(self._model))

    def images(self, pictures: list[Pixels], placement: Placement) -> Vectors:
        """Vectors of n RGB pictures (h, w, 3), of any sizes."""
        inputs = self._processor(
            images=[Image.fromarray(np.ascontiguousarray(p)) for p in pictures], return_tensors="pt"
        )
        with placement.running():
            return _of_length_1(self._images(**placement.send(inputs)))

    def texts(self, sentences: list[str], placement: Placement) -> Vectors:
        """Vectors of n sentences.

        SigLIP read lower case, every sentence filled up to its full length; CLIP's tokenizer sees
        to that by itself. Raises ModelError for one longer than the model reads.
        """
        if self._sigmoid:
            sentences = [sentence.lower() for sentence in sentences]
        for sentence in sentences:
            length = len(self._tokenizer(sentence)["input_ids"])
            if length > self._length:
                raise ModelError(
                    f"expert {self._name!r}: the model reads {self._length} tokens, this sentence "
                    f"has {length}; shorten it: {sentence!r}"
                )
        padding = {"padding": "max_length", "max_length": self._length}
        inputs = self._tokenizer(
            sentences, return_tensors="pt", **(padding if self._sigmoid else {"padding": True})
        )
        model = self._model
        if model.text_model is None:
            model = self._load_model().to(placement.device, placement.dtype)
        with placement.running():
            return _of_length_1(model.get_text_features(**placement.send(inputs)).pooler_output)

    def forget_texts(self) -> None:
        """Give the memory of the part back that reads sentences."""
        for part in TEXT_PARTS:
            if hasattr(self._model, part):
                setattr(self._model, part, None)

    def _kind(self, stack: TorchStack) -> str:
        config = loading(
            self._name,
            "the configuration",
            self._place.location,
            lambda: stack.transformers.AutoConfig.from_pretrained(
                self._place.location, **self._place.arguments()
            ),
        )
        if config.model_type not in SOFTMAX + SIGMOID:
            raise ModelError(
                f"expert {self._name!r}: {self._place.location} holds a model of type "
                f"{config.model_type!r}; wanted is an image-text model of "
                f"{', '.join(SOFTMAX + SIGMOID)}"
            )
        return str(config.model_type)

    def _load_tokenizer(self, stack: TorchStack) -> Any:
        where = self._place.location
        try:
            tokenizer = loading(
                self._name,
                "a tokenizer",
                where,
                lambda: stack.transformers.AutoTokenizer.from_pretrained(
                    where, **self._place.arguments()
                ),
            )
        except ModelError as error:
            if isinstance(error.__cause__, ImportError):
                raise MissingExtraError(
                    f"expert {self._name!r}: the tokenizer of {where} needs a package that is not "
                    "installed, sentencepiece perhaps: pip install 'natix-miner[detectors]' "
                    f"({error.__cause__})"
                ) from error
            raise
        # transformers makes a tokenizer without words of a folder that holds none.
        if len(tokenizer) <= len(tokenizer.all_special_tokens):
            raise ModelError(
                f"expert {self._name!r}: {where} holds no tokenizer that knows a word; "
                "tokenizer.json is missing there"
            )
        return tokenizer

    def _load_model(self) -> Any:
        stack = torch_stack(self._name)
        where = self._place.location
        model, found = loading(
            self._name,
            "an image-text model",
            where,
            lambda: stack.transformers.AutoModelForZeroShotImageClassification.from_pretrained(
                where,
                dtype=stack.torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                **self._place.arguments(),
            ),
        )
        refuse_made_up(self._name, "an image-text model", where, found["missing_keys"])
        return model.eval().requires_grad_(False)


def _image_side(model: Any) -> torch.nn.Module:
    """The tower for pictures as a module, which is what can be compiled."""
    import torch

    class ImageSide(torch.nn.Module):
        """From what the preprocessing makes to vectors (n, d)."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
            vectors: torch.Tensor = self.model.get_image_features(**inputs).pooler_output
            return vectors

    return ImageSide()


def _side(vision: Any) -> int:
    """The side in pixels of the square a picture is brought to, or of one with as many patches."""
    if hasattr(vision, "image_size"):
        return int(vision.image_size)
    return round(math.sqrt(vision.num_patches)) * int(vision.patch_size)


def _of_length_1(vectors: torch.Tensor) -> Vectors:
    found = vectors.float().cpu().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
