"""Models as save_pretrained() writes them, or as timm puts them on the hub, with what prepares
pictures for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import MissingExtraError
from natix_miner.experts.weights.locating import Place
from natix_miner.experts.weights.placement import loading, refuse_made_up
from natix_miner.images.frame import Pixels
from natix_miner.torch_stack import torch_stack

#: Arguments of a model by their names; the first axis of each is the picture.
Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Saved:
    """A model in fp32 on the cpu, its picture processor, and which of the weights it was allowed
    to lack were not in the file."""

    model: Any
    processor: Any
    missing: tuple[str, ...] = ()

    def inputs(self, pictures: Sequence[Pixels]) -> dict[str, NDArray[Any]]:
        """What the model takes, `pixel_values` first, of RGB pictures (h, w, 3) of any sizes."""
        # Frames are read-only and mirrored views run backwards through memory: torch takes neither.
        whole = [np.require(picture, requirements=("C", "W")) for picture in pictures]
        made = self.processor(images=whole, return_tensors="pt")
        return {key: value.numpy() for key, value in made.items()}


def load_saved(
    name: str,
    what: str,
    auto: str,
    place: Place,
    may_lack: tuple[str, ...] = (),
    extra: str = "detectors",
) -> Saved:
    """Load by the class `auto` of transformers (AutoModel, ...), for the expert `name`.

    Of a model of text and pictures AutoModel gives the part that sees. Weights come up in fp32,
    whatever they are saved in, so that their digest is the same at every precision. Those whose
    names begin with one of `may_lack` may be missing. `extra` is what brings torch.

    Raises ModelError: torn files, another architecture, or weights that are not in the file (the
    library would make them up); MissingExtraError where timm is needed and not installed.
    """
    torch, transformers = torch_stack(name, extra)

    def load() -> Saved:
        try:
            config = _config(transformers, auto, place)
            model, told = getattr(transformers, auto).from_pretrained(
                place.location,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                **place.arguments(),
            )
            processor = transformers.AutoImageProcessor.from_pretrained(
                place.location, backend="pil", **place.arguments()
            )
        except ImportError as error:
            raise MissingExtraError(
                f"expert {name!r} needs a package for {what} in {place.location} ({error}): "
                "pip install 'natix-miner[detectors]'"
            ) from error
        missing = tuple(sorted(told["missing_keys"]))
        wanted = [key for key in missing if not key.startswith(may_lack)]
        refuse_made_up(name, what, place.location, wanted)
        return Saved(model.eval(), processor, missing)

    found: Saved = loading(name, what, place.location, load)
    return found


def _config(transformers: Any, auto: str, place: Place) -> Any:
    config = transformers.AutoConfig.from_pretrained(place.location, **place.arguments())
    if config.model_type == "timm_wrapper":
        import timm  # noqa: F401 - what transformers says without it names no extra of ours

        # timm writes the number of classes into `model_args` too, transformers gives it itself.
        given = config.model_args or {}
        config.model_args = {key: given[key] for key in given if key != "num_classes"}
    if auto == "AutoModel":
        return getattr(config, "vision_config", None) or config
    return config
