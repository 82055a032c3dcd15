"""The shipped embedded network: runtimes, views, evidence, and files that are no networks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.families.embedded_network import EmbeddedNetwork, EmbeddedNetworkSettings
from natix_miner.experts.family import Surroundings
from natix_miner.log_odds import expit, logit

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORK = Path("../models/embedded/network.onnx")


def loaded(**settings) -> EmbeddedNetwork:
    section = {"model": NETWORK, **settings}
    expert = EmbeddedNetwork(
        "network", EmbeddedNetworkSettings.model_validate(section), Surroundings(CONFIGS)
    )
    expert.load()
    return expert


def probabilities(expert: EmbeddedNetwork, frames: list) -> list[float]:
    return [look.probability for look in expert.look_at(frames)]


class TestEmbeddedNetwork:
    def test_openvino_says_the_same_as_onnxruntime(self, squares, full_frames):
        pytest.importorskip("openvino")
        frames = [*squares, *full_frames]
        said = probabilities(loaded(runtime="openvino"), frames)
        assert said == pytest.approx(probabilities(loaded(), frames), abs=1e-4)
        assert max(said) - min(said) > 0.3

    def test_a_batch_says_the_same_as_one_by_one(self, squares, full_frames):
        expert = loaded(views=["whole", "tiles"])
        frames = [*squares, *full_frames]
        alone = [probabilities(expert, [frame])[0] for frame in frames]
        assert probabilities(expert, frames) == pytest.approx(alone, abs=1e-5)

    def test_mirrored_views_are_averaged_in_log_odds(self, squares, make_frame):
        frame = squares[0]
        plain = probabilities(loaded(), [frame])[0]
        other = probabilities(loaded(), [make_frame(frame.pixels[:, ::-1].copy())])[0]
        both = probabilities(loaded(mirror=True), [frame])[0]
        assert both == pytest.approx(expit((logit(plain) + logit(other)) / 2), abs=1e-4)

    def test_the_strongest_patch_lies_in_the_frame(self, squares, full_frames):
        expert = loaded(views=["upright", "tiles"], mirror=True)
        for frame, look in zip(
            [*squares, *full_frames], expert.look_at([*squares, *full_frames]), strict=True
        ):
            (seen,) = look.evidence
            left, top, right, bottom = seen.box
            assert 0 <= left < right <= frame.width + 1
            assert 0 <= top < bottom <= frame.height + 1

    def test_crops_and_repair_go_through(self, squares):
        said = probabilities(loaded(views=["crops"], repair=["contrast", "darkness"]), squares)
        assert all(0.0 <= p <= 1.0 for p in said)
        assert np.ptp(said) > 0.01

    @pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
    def test_a_file_that_is_no_network_is_refused(self, tmp_path, runtime):
        wrong = tmp_path / "network.onnx"
        wrong.write_bytes(b"no network")
        with pytest.raises(ModelError, match="does not load as an ONNX model"):
            loaded(model=wrong, runtime=runtime)

    def test_a_missing_file_is_told(self, tmp_path):
        with pytest.raises(ModelError, match="no network at"):
            loaded(model=tmp_path / "none.onnx")

    def test_a_missing_openvino_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            loaded(runtime="openvino")
