"""Image classifiers in the transformers format of NATIX' official baseline (a ViT, None/Roadwork).

Weights come from a local folder, or from the model hub at a pinned revision. On a CPU the same
weights can run on OpenVINO instead of torch; decisions stay the same, see scripts/bench.py.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import NonNegativeInt, model_validator

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.family import ExpertSettings, Family, Surroundings
from natix_miner.experts.in_process import InProcessExpert
from natix_miner.experts.opinion import Look
from natix_miner.images import Frame, View, whole
from natix_miner.torch_stack import make_torchvision_importable

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: From pixel values (n, 3, h, w) float32 to logits (n, classes) float32.
Forward = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]


class ImageClassifierSettings(ExpertSettings):
    """`folder` holds a saved model; or `model` names one on the hub at `revision` (a commit, so
    that nobody can change the weights behind our back). `positive` are the labels that mean
    roadwork."""

    type: Literal["image-classifier"] = "image-classifier"
    folder: Path | None = None
    model: str | None = None
    revision: str | None = None
    positive: tuple[str, ...] = ("Roadwork",)
    runtime: Literal["torch", "openvino"] = "torch"
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "cpu"
    threads: NonNegativeInt = 0

    @model_validator(mode="after")
    def _one_place(self) -> ImageClassifierSettings:
        if (self.folder is None) == (self.model is None):
            raise ValueError("give either `folder` (a saved model) or `model` (a hub id), not both")
        if self.model is not None and not self.revision:
            raise ValueError(f"give `revision` (a commit) for the hub model {self.model!r}")
        if self.runtime == "openvino" and self.device != "cpu":
            raise ValueError(f"runtime openvino runs on the cpu, not on {self.device!r}")
        return self


class ImageClassifier(InProcessExpert):
    """Softmax over the classes of a saved classifier; the positive ones' share counts."""

    def __init__(
        self, name: str, settings: ImageClassifierSettings, surroundings: Surroundings
    ) -> None:
        super().__init__(name, settings.batch_limits())
        self._settings = settings
        self._source = (
            str(surroundings.folder / settings.folder) if settings.folder else str(settings.model)
        )
        self._processor: Any = None
        self._forward: Forward | None = None
        self._positive: list[int] = []

    def load(self) -> None:
        try:
            import torch
            from safetensors import SafetensorError

            make_torchvision_importable()
            from transformers import AutoImageProcessor, AutoModelForImageClassification
        except ImportError as error:
            raise MissingExtraError(
                f"expert {self.name!r} needs torch and transformers: "
                "pip install 'natix-miner[classifier]'"
            ) from error
        settings = self._settings
        if settings.folder and not Path(self._source, "config.json").is_file():
            raise ModelError(
                f"no saved model in {self._source}: config.json is missing; expert {self.name!r} "
                "wants a folder as save_pretrained() writes it"
            )
        where: dict[str, Any] = (
            {"local_files_only": True} if settings.folder else {"revision": settings.revision}
        )
        dtype = torch.bfloat16 if self._torch_bf16 else torch.float32
        try:
            self._processor = AutoImageProcessor.from_pretrained(
                self._source, backend="pil", trust_remote_code=False, **where
            )
            model = AutoModelForImageClassification.from_pretrained(
                self._source, dtype=dtype, use_safetensors=True, trust_remote_code=False, **where
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(
                f"expert {self.name!r} cannot load a classifier from {self._source}: {error}"
            ) from error
        model.eval()
        self._positive = _classes_named(model.config.id2label, settings.positive, self._source)
        self.version = _digest_of(model)
        self._forward = (
            _openvino_forward(model, self._processor, settings)
            if settings.runtime == "openvino"
            else _torch_forward(model, settings)
        )
        self._forward(self._pixel_values([np.zeros((224, 224, 3), np.uint8)]))

    @property
    def _torch_bf16(self) -> bool:
        return self._settings.precision == "bf16" and self._settings.runtime == "torch"

    def views(self, frame: Frame) -> list[View]:
        return [whole(frame, max(frame.width, frame.height))]

    def look_at(self, frames: list[Frame]) -> Sequence[Look | Exception]:
        if self._forward is None:
            raise ModelError(f"expert {self.name!r} was asked before it was loaded")
        logits = self._forward(self._pixel_values([frame.pixels for frame in frames]))
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return [Look(probability=float(row[self._positive].sum())) for row in shares]

    def _pixel_values(self, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.asarray(
            self._processor(images=pictures, return_tensors="np")["pixel_values"], np.float32
        )


def _classes_named(labels: dict[int, str], positive: tuple[str, ...], source: str) -> list[int]:
    wanted = {name.casefold() for name in positive}
    found = [int(index) for index, name in labels.items() if str(name).casefold() in wanted]
    if not found or len(found) == len(labels):
        raise ModelError(
            f"the labels of {source} are {sorted(labels.values())}, of which `positive` names "
            f"{list(positive)}: that must be some of them, not none and not all"
        )
    return found


def _digest_of(model: Any) -> str:
    """Digest of the weights as loaded, so that a folder and a hub copy of it agree."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _torch_forward(model: Any, settings: ImageClassifierSettings) -> Forward:
    import torch

    model = model.to(settings.device)
    dtype = next(model.parameters()).dtype

    def forward(pixel_values: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            batch = torch.from_numpy(pixel_values).to(settings.device, dtype)
            logits: NDArray[np.float32] = model(pixel_values=batch).logits.float().cpu().numpy()
            return logits

    return forward


def _openvino_forward(model: Any, processor: Any, settings: ImageClassifierSettings) -> Forward:
    import torch

    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError(
            "runtime openvino is not installed: pip install 'natix-miner[classifier]', "
            "or say `runtime: torch`"
        ) from error

    class Logits(torch.nn.Module):
        """OpenVINO converts tensors in, tensors out; transformers returns an object."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(pixel_values=pixel_values).logits
            return logits

    example = np.asarray(
        processor(images=[np.zeros((224, 224, 3), np.uint8)], return_tensors="np")["pixel_values"],
        np.float32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of size checks that are constant here
        converted = openvino.convert_model(
            Logits(),
            example_input={"pixel_values": torch.from_numpy(example)},
            input=[("pixel_values", [-1, *example.shape[1:]])],
        )
    compiled = openvino.Core().compile_model(
        converted,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if settings.precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": str(settings.threads or os.cpu_count() or 1),
        },
    )

    def forward(pixel_values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(compiled(pixel_values)[0], np.float32)

    return forward


FAMILY = Family(type="image-classifier", settings=ImageClassifierSettings, build=ImageClassifier)
