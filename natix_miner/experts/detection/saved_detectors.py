"""Detectors as save_pretrained() writes them: loading, running on torch or OpenVINO, reading.

RT-DETRv2, D-FINE, RF-DETR, DEIMv2, and the older classes with the same interface.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.settings import DetectorSettings
from natix_miner.experts.weights.locating import Place
from natix_miner.experts.weights.openvino_cpu import compiled_on_cpu, quiet_openvino
from natix_miner.experts.weights.placement import Placement, digest_of, loading, refuse_made_up
from natix_miner.images.frame import Pixels
from natix_miner.torch_stack import torch_stack

#: From prepared pictures of one size to logits (n, queries, classes) and boxes (n, queries, 4) in
#: shares of the picture, both fp32 on the cpu.
Forward = Callable[[Mapping[str, Any]], tuple[Any, Any]]


class SavedDetectorSettings(DetectorSettings):
    """`image_size` is the side in pixels that pictures are brought to (the shorter one, of models
    that keep the aspect); left out: that of the saved processor. `runtime` openvino runs models of
    one fixed size on the cpu; they are converted in memory at start, which takes a while.
    """

    image_size: PositiveInt | None = None
    runtime: Literal["torch", "openvino"] = "torch"

    @model_validator(mode="after")
    def _goes_together(self) -> SavedDetectorSettings:
        if self.runtime == "openvino" and self.device != "cpu":
            raise ValueError(f"runtime openvino runs on the cpu, not on {self.device!r}")
        if self.runtime == "openvino" and self.compile:
            raise ValueError("`compile` is torch's own; runtime openvino compiles anyway")
        return self


@dataclass(frozen=True, slots=True)
class Loaded:
    """A detector, where it runs: what prepares pictures and reads results, and its names."""

    processor: Any
    forward: Forward
    names: dict[int, str]
    digest: str
    reading: dict[str, Any]

    def prepared(self, picture: Pixels) -> dict[str, Any]:
        """The model's arguments for one picture, as a batch of one."""
        own = np.require(picture, requirements=["C", "W"])  # torch takes no read-only memory
        return dict(self.processor(images=[own], return_tensors="pt"))


def detected(loaded: Loaded, pictures: list[Pixels], threshold: float) -> list[Detections]:
    """What each picture shows, in order; those that come out in one size run together."""
    import torch

    groups: dict[Hashable, list[int]] = {}
    prepared = [loaded.prepared(picture) for picture in pictures]
    for number, made in enumerate(prepared):
        groups.setdefault(made["pixel_values"].shape, []).append(number)
    found: dict[int, Detections] = {}
    for numbers in groups.values():
        batch = {
            key: torch.cat([prepared[number][key] for number in numbers])
            for key in prepared[numbers[0]]
        }
        logits, boxes = loaded.forward(batch)
        results = loaded.processor.post_process_object_detection(
            SimpleNamespace(logits=logits, pred_boxes=boxes),
            threshold=threshold,
            target_sizes=[pictures[number].shape[:2] for number in numbers],
            **loaded.reading,
        )
        for number, result in zip(numbers, results, strict=True):
            names = [loaded.names[int(label)] for label in result["labels"]]
            found[number] = Detections.of(result["boxes"], result["scores"], names)
    return [found[number] for number in range(len(pictures))]


def load_saved_detector(name: str, settings: SavedDetectorSettings, place: Place) -> Loaded:
    """Raises ModelError: no detector, torn, lacking weights, or no such picture size."""
    placement = Placement.of(settings)
    processor, model = loading(name, "a detector", place.location, lambda: _read(name, place))
    if not hasattr(processor, "post_process_object_detection"):
        raise ModelError(
            f"expert {name!r}: {place.location} has a {type(processor).__name__}, which reads no "
            "boxes; give a detector as save_pretrained() writes it, with its processor"
        )
    _resize(name, processor, settings.image_size)
    digest = digest_of(model)  # before it is put into another number format
    takes = inspect.signature(processor.post_process_object_detection).parameters
    focal = getattr(model.config, "use_focal_loss", None)
    loaded = Loaded(
        processor,
        _on_torch(model, placement) if settings.runtime == "torch" else _plain(model),
        {int(number): str(label) for number, label in model.config.id2label.items()},
        digest,
        {"use_focal_loss": focal} if "use_focal_loss" in takes and focal is not None else {},
    )
    _try(name, loaded, place)
    if settings.runtime == "torch":
        return loaded
    return replace(loaded, forward=_on_openvino(name, model, loaded, settings))


def _read(name: str, place: Place) -> tuple[Any, Any]:
    """Processor and model in fp32 on the cpu, so that the digest is the same at every precision."""
    torch, transformers = torch_stack(name)
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            place.location, **place.arguments()
        )
        model, told = transformers.AutoModelForObjectDetection.from_pretrained(
            place.location,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **place.arguments(),
        )
    except ImportError as error:
        raise MissingExtraError(
            f"expert {name!r} needs a package for the detector in {place.location} ({error}): "
            "pip install 'natix-miner[detectors]'"
        ) from error
    refuse_made_up(name, "a detector", place.location, told["missing_keys"])
    return processor, model.eval().requires_grad_(False)


def _resize(name: str, processor: Any, side: int | None) -> None:
    """Have the processor bring pictures to another size, in the way it has of doing so."""
    if side is None:
        return
    size = dict(processor.size)
    if size.get("height"):
        processor.size = {"height": side, "width": side}
    elif size.get("shortest_edge") and size.get("longest_edge"):
        longest = round(side * size["longest_edge"] / size["shortest_edge"])
        processor.size = {"shortest_edge": side, "longest_edge": longest}
    else:
        raise ModelError(
            f"expert {name!r}: the picture processor knows sizes as {size}; leave `image_size` out"
        )


def _try(name: str, loaded: Loaded, place: Place) -> None:
    """Raises ModelError when the model cannot work on pictures as the processor prepares them."""
    try:
        detected(loaded, [np.zeros((96, 128, 3), np.uint8)], 0.0)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ModelError(
            f"expert {name!r}: the detector in {place.location} does not run on pictures of the "
            f"size {dict(loaded.processor.size)} ({error}); is `image_size` a multiple of its "
            "patches or strides?"
        ) from error


def _on_torch(model: Any, placement: Placement) -> Forward:
    placed = placement.put(model)
    plain = _plain(placed, model)

    def forward(batch: Mapping[str, Any]) -> tuple[Any, Any]:
        with placement.running():
            return plain(placement.send(batch))

    return forward


def _plain(run: Any, model: Any = None) -> Forward:
    # Some processors tell a mask that their models do not take.
    takes = inspect.signature((model or run).forward).parameters

    def forward(batch: Mapping[str, Any]) -> tuple[Any, Any]:
        outputs = run(**{key: value for key, value in batch.items() if key in takes})
        return outputs.logits.float().cpu(), outputs.pred_boxes.float().cpu()

    return forward


def _on_openvino(name: str, model: Any, loaded: Loaded, settings: SavedDetectorSettings) -> Forward:
    import torch

    openvino = quiet_openvino()
    example = _fixed(name, loaded)

    class TensorsOnly(torch.nn.Module):
        """OpenVINO converts tensors in, tensors out; transformers returns an object."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            outputs = self.model(pixel_values=pixel_values)
            return outputs.logits, outputs.pred_boxes

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer warns of sizes that are constant here
            traced = torch.jit.trace(TensorsOnly(), (example,), check_trace=False, strict=False)
            converted = openvino.convert_model(
                traced,
                example_input=(example,),
                input=[("pixel_values", [-1, *example.shape[1:]])],
            )
        compiled = compiled_on_cpu(converted, settings.precision, settings.threads)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"expert {name!r}: runtime openvino does not take this detector ({error}); "
            "say `runtime: torch`"
        ) from error

    def forward(batch: Mapping[str, Any]) -> tuple[Any, Any]:
        logits, boxes = compiled([batch["pixel_values"].numpy()])
        return torch.from_numpy(logits), torch.from_numpy(boxes)

    return forward


def _fixed(name: str, loaded: Loaded) -> Any:
    """Pixel values of two pictures of different shapes; raises ModelError unless both come out in
    one size, without padding."""
    import torch

    made = [loaded.prepared(np.zeros(shape, np.uint8)) for shape in ((96, 128, 3), (128, 96, 3))]
    padded = any("pixel_mask" in each and not each["pixel_mask"].all() for each in made)
    if padded or made[0]["pixel_values"].shape != made[1]["pixel_values"].shape:
        raise ModelError(
            f"expert {name!r}: runtime openvino takes detectors of one fixed size; the processor "
            f"of this one keeps the aspect ({dict(loaded.processor.size)}): say `runtime: torch`"
        )
    return torch.cat([each["pixel_values"] for each in made])
