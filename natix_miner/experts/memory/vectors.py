"""The features themselves: pictures in, vectors out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.colour_shape.features import PICTURE_FEATURES, REGION_FIGURES, features
from natix_miner.experts.colour_shape.model import POOLED_FEATURES, ColourShapeModel, pooled
from natix_miner.experts.family import Surroundings
from natix_miner.experts.memory.features import SIDE, BackboneSection, Scaling
from natix_miner.experts.weights.backbone import Backbone
from natix_miner.images import Geometry, Pixels, SizeClass, shrink
from natix_miner.images.network_input import network_input

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Count up when the vectors of colour and shape change although names and files stay the same.
REVISION = 1
#: The network's patch scores are averaged to so many rows and columns.
GRID = 7


class ColourShapeVectors:
    """The picture's own features, the figures of its strongest region (zeros where there is none)
    and what the fitted model says of all its regions."""

    scaling: Scaling = "standardised"

    def __init__(self, model: ColourShapeModel) -> None:
        self._model = model
        names = (*PICTURE_FEATURES, *REGION_FIGURES, *POOLED_FEATURES)
        self.version = _digest(REVISION, SIDE, names, model.version)

    @classmethod
    def load(cls, path: Path) -> ColourShapeVectors:
        """With the fitted file at `path`; raises ModelError."""
        return cls(ColourShapeModel.load(path))

    def close(self) -> None:
        """Nothing to give back."""

    def of(self, pictures: list[Pixels]) -> NDArray[np.float32]:
        """Vectors (n, 55) of pictures without padding."""
        return np.stack([self._vector(picture) for picture in pictures])

    def _vector(self, picture: Pixels) -> NDArray[np.float32]:
        seen = features(picture, Geometry(SizeClass.FRAME))
        strongest = seen.regions[0] if len(seen.regions) else np.zeros(len(REGION_FIGURES))
        odds = self._model.region_log_odds(seen)
        return np.concatenate((seen.picture, strongest, pooled(odds))).astype(np.float32)


class EmbeddedVectors:
    """Colour and shape, and the sorted patch scores of the embedded network."""

    scaling: Scaling = "standardised"

    def __init__(self, described: ColourShapeVectors, network: Path) -> None:
        self._described = described
        self._session, digest = _session(network)
        self._feed = self._session.get_inputs()[0].name
        self.version = _digest(described.version, GRID, digest)

    def close(self) -> None:
        """Nothing that another one holds."""

    def of(self, pictures: list[Pixels]) -> NDArray[np.float32]:
        """Vectors (n, 55 + 49)."""
        patches = np.stack([self._patches(picture) for picture in pictures])
        return np.concatenate((self._described.of(pictures), patches), axis=1)

    def _patches(self, picture: Pixels) -> NDArray[np.float32]:
        import cv2

        feed = {self._feed: network_input(shrink(picture, SIDE))[None]}
        scores = np.asarray(self._session.run(["patch_logits"], feed)[0][0], np.float32)
        grid = cv2.resize(scores, (GRID, GRID), interpolation=cv2.INTER_AREA)
        return np.sort(np.asarray(grid, np.float32).ravel())


class BackboneVectors:
    """One feature of a frozen network, compared by the angle between vectors."""

    scaling: Scaling = "normalised"

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.version = backbone.version

    @classmethod
    def load(
        cls, name: str, section: BackboneSection, surroundings: Surroundings
    ) -> BackboneVectors:
        """Load or join those who have loaded the same; raises ModelError."""
        return cls(Backbone.load(name, section, surroundings, section.feature))

    def of(self, pictures: list[Pixels]) -> NDArray[np.float32]:
        """Vectors (n, d)."""
        return self._backbone.of(pictures)

    def close(self) -> None:
        """Give the weights back; may be called twice."""
        self._backbone.close()


def _session(path: Path) -> tuple[InferenceSession, str]:
    """The network on one thread, and the digest of its file."""
    import onnxruntime

    if not path.is_file():
        raise ModelError(
            f"no network at {path}: give `network` of the features an ONNX file "
            "(scripts/train_embedded.py makes one), or take features of type colour-shape"
        )
    data = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path} does not load as an ONNX model: {error}") from error
    if "patch_logits" not in {output.name for output in session.get_outputs()}:
        raise ModelError(
            f"{path} has no output 'patch_logits': it is no embedded network "
            "(scripts/train_embedded.py makes one)"
        )
    return session, hashlib.sha256(data).hexdigest()[:16]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
