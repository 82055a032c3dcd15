"""A loaded checkpoint and its predictor."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from natix_miner.errors import ModelError
from natix_miner.experts.ultralytics.checkpoint import open_checkpoint
from natix_miner.experts.ultralytics.phrases import Phrases, give_phrases
from natix_miner.experts.ultralytics.quiet import quiet_ultralytics, undisturbed
from natix_miner.experts.weights.placement import Placement, digest_of
from natix_miner.images.frame import Pixels

#: At most so many objects of one picture; the package's own default.
MOST_OBJECTS = 300


@dataclass(frozen=True, slots=True)
class Source:
    """All that makes two loaded checkpoints one: file, its digest if pinned, where and how it runs.

    `compile` is there for `Placement` and always off.
    """

    file: Path
    sha256: str | None
    device: str
    precision: str
    phrase_embeddings: Path | None = None
    phrases: tuple[str, ...] = ()
    compile: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """One predictor. It bears one caller at a time: hold the lock of what shares it.

    `task` is the package's word for what the checkpoint does; `names` are its labels in order;
    `image_size` the side in pixels that it was trained at; `version` a digest of its weights.
    """

    file: Path
    model: Any
    task: str
    names: tuple[str, ...]
    image_size: int
    version: str
    placement: Placement
    options: dict[str, Any]

    def look(
        self,
        pictures: list[Pixels],
        size: int,
        threshold: float,
        wanted: Sequence[int] | None = None,
    ) -> list[Any]:
        """The package's `Results` for each RGB picture, of any sizes, in order.

        `size` is the longer side in pixels at which the network sees them; `wanted` are the labels
        by number that matter, so that others take nobody's place. The package pads pictures of one
        shape less than a mixture of shapes; each shape is a batch of its own here, so that no
        picture's result depends on its company. Networks that squeeze every picture into a square
        take all at once. Raises ModelError when the layers fail.
        """
        mixed = self.task == "classify" or getattr(self.model.predictor, "scale_fill", False)
        batches: dict[Any, list[int]] = {}
        for number, picture in enumerate(pictures):
            batches.setdefault(None if mixed else picture.shape, []).append(number)
        found: dict[int, Any] = {}
        try:
            with self.placement.running():
                for numbers in batches.values():
                    # The package takes pictures as OpenCV has them: blue first.
                    source = [np.ascontiguousarray(pictures[each][:, :, ::-1]) for each in numbers]
                    results = self.model.predict(
                        source,
                        imgsz=size,
                        conf=threshold,
                        classes=None if wanted is None else list(wanted),
                        **self.options,
                        **_CONSTANT,
                    )
                    found.update(zip(numbers, results, strict=True))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise ModelError(f"{self.file} does not run at {size} pixels: {error}") from error
        return [found[number] for number in range(len(pictures))]


_CONSTANT = {
    "max_det": MOST_OBJECTS,
    "retina_masks": True,  # masks in pixels of the picture
    "augment": False,
    "save": False,
    "verbose": False,
}


def load_runner(name: str, source: Source, phrases: Phrases | None) -> Runner:
    """Load and warm up; raises ModelError, or MissingExtraError without the package."""
    package = quiet_ultralytics(name)
    with undisturbed():
        placement = Placement.of(source)
        model = open_checkpoint(name, package, source.file, source.sha256)
        give_phrases(name, package, model, source.file, phrases)
        runner = Runner(
            file=source.file,
            model=model,
            task=str(model.task),
            names=tuple(str(label) for _, label in sorted(model.names.items())),
            image_size=_trained_at(model),
            version=_version(model),
            placement=placement,
            options=_options(package, source),
        )
        # The first prediction sets the predictor up, which changes the threads of the process.
        runner.look([np.zeros((64, 64, 3), np.uint8)], runner.image_size, threshold=0.5)
    return runner


def _options(package: Any, source: Source) -> dict[str, Any]:
    half = source.precision == "fp16"
    known = package.utils.DEFAULT_CFG_DICT
    # "half" is the older name of the same thing.
    return {
        "device": source.device,
        **({"quantize": 16 if half else None} if "quantize" in known else {"half": half}),
    }


def _trained_at(model: Any) -> int:
    size = model.overrides.get("imgsz") or (224 if model.task == "classify" else 640)
    return int(size if isinstance(size, int) else max(size))


def _version(model: Any) -> str:
    """Digest of the weights, the labels and what an open-vocabulary model was told to look for."""
    digest = hashlib.sha256(digest_of(model.model).encode())
    digest.update(repr(sorted(model.names.items())).encode())
    for told in ("pe", "txt_feats"):
        rows = getattr(model.model, told, None)
        if rows is not None:
            digest.update(rows.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
