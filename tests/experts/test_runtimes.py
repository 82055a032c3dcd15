"""One network on torch, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import ValidationError

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.weights.runtimes import (
    RuntimeSettings,
    onnx_session,
    runner,
    runtime_of,
    tensors_only,
)
from natix_miner.experts.weights.settings import ModelSettings

torch = pytest.importorskip("torch", reason="needs the extra `detectors`")

CONVERTED = ("onnxruntime", "openvino")


def settings(**keys) -> RuntimeSettings:
    return RuntimeSettings(type="test", folder="nowhere", threads=1, **keys)


def network() -> torch.nn.Module:
    """Two outputs of different shapes, returned as an object, as transformers does."""
    torch.manual_seed(5)

    class Output:
        def __init__(self, last, pooled):
            self.last, self.pooled = last, pooled

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = torch.nn.Conv2d(3, 16, 8, 8)
            self.mix = torch.nn.Linear(16, 48)
            self.last = torch.nn.Linear(16, 4)

        def forward(self, pixel_values):
            tokens = self.patches(pixel_values).flatten(2).transpose(1, 2)
            parts = self.mix(tokens)[:, None].chunk(3, -1)
            tokens = tokens + torch.nn.functional.scaled_dot_product_attention(*parts)[:, 0]
            return Output(tokens, self.last(tokens.mean(1)))

    return tensors_only(Network(), lambda output: (output.last, output.pooled))


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 32, 32)).astype(np.float32)


def by_hand(batch: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in network()(pixel_values=torch.from_numpy(batch))]


def run_on(keys: dict) -> object:
    return runner("judge", network(), {"pixel_values": pixels(1)}, settings(**keys))


@pytest.fixture(scope="module")
def converted():
    """Runners of both, converted once."""
    made = {}

    def get(runtime: str):
        pytest.importorskip({"onnxruntime": "onnx", "openvino": "openvino"}[runtime])
        if runtime not in made:
            made[runtime] = run_on({"runtime": runtime})
        return made[runtime]

    return get


class TestRunner:
    @pytest.mark.parametrize("runtime", CONVERTED)
    def test_says_what_torch_says_of_any_number_of_pictures(self, converted, runtime):
        for count in (1, 2, 5):
            batch = pixels(count, seed=count)
            for said, expected in zip(
                converted(runtime)({"pixel_values": batch}), by_hand(batch), strict=True
            ):
                assert said.dtype == np.float32
                assert said.shape == expected.shape
                assert np.abs(said - expected).max() < 1e-4
                assert np.abs(expected).max() > 0.1

    def test_on_torch_is_the_module_itself(self):
        batch = pixels(3)
        for said, expected in zip(run_on({})({"pixel_values": batch}), by_hand(batch), strict=True):
            assert np.abs(said - expected).max() < 1e-5

    def test_a_single_tensor_comes_as_a_list_of_one(self):
        run = runner("judge", torch.nn.Identity(), {"input": pixels(1)}, settings())
        assert [one.shape for one in run({"input": pixels(2)})] == [(2, 3, 32, 32)]

    def test_bf16_is_close_and_not_the_same(self):
        batch = pixels(3)
        said = run_on({"precision": "bf16"})({"pixel_values": batch})
        for one, expected in zip(said, by_hand(batch), strict=True):
            assert one.dtype == np.float32
            assert 0 < np.abs(one - expected).max() < 0.05

    @pytest.mark.parametrize("runtime", CONVERTED)
    def test_bears_several_callers_at_once(self, converted, runtime):
        run = converted(runtime)
        batches = [pixels(2, seed=number) for number in range(12)]
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda batch: run({"pixel_values": batch}), batches))
        for outputs, batch in zip(said, batches, strict=True):
            for one, expected in zip(outputs, by_hand(batch), strict=True):
                assert np.abs(one - expected).max() < 1e-4

    def test_results_are_not_overwritten_by_the_next_call(self, converted):
        first = converted("openvino")({"pixel_values": pixels(1, seed=1)})[1]
        kept = first.copy()
        converted("openvino")({"pixel_values": pixels(1, seed=2)})
        assert np.array_equal(first, kept)

    @pytest.mark.parametrize(
        ("runtime", "package"),
        [("onnxruntime", "onnx"), ("openvino", "openvino")],
    )
    def test_a_missing_package_names_the_extra(self, monkeypatch, runtime, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            run_on({"runtime": runtime})

    def test_a_network_that_cannot_be_converted_is_a_model_error(self):
        pytest.importorskip("onnx")

        class Roots(torch.nn.Module):
            def forward(self, pixel_values):
                return torch.linalg.eigvals(pixel_values).real

        with pytest.raises(ModelError, match="runtime: torch"):
            runner("judge", Roots(), {"pixel_values": pixels(1)}, settings(runtime="onnxruntime"))

    @pytest.mark.parametrize("runtime", CONVERTED)
    def test_networks_that_want_more_than_pixels_need_torch(self, runtime):
        example = {"pixel_values": pixels(1), "spatial_shapes": np.array([[4, 4]])}
        with pytest.raises(ModelError, match="spatial_shapes"):
            runner("judge", network(), example, settings(runtime=runtime))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there_is_a_model_error(self):
        with pytest.raises(ModelError, match="cuda:0"):
            run_on({"device": "cuda:0"})


class TestSession:
    def test_idle_threads_do_not_spin_and_are_as_many_as_asked(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "relu",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / "relu.onnx"
        onnx.save(model, path)
        for source in (path, path.read_bytes()):
            session = onnx_session(source, threads=2)
            options = session.get_session_options()
            assert options.intra_op_num_threads == 2
            assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
            said = session.run(None, {"x": np.array([-1, 2], np.float32)})
            assert said[0].tolist() == [0, 2]


class TestSettings:
    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({"runtime": "openvino", "device": "cuda:0"}, "cpu"),
            ({"runtime": "onnxruntime", "precision": "bf16"}, "fp32"),
            ({"runtime": "openvino", "compile": True}, "compile"),
            ({"runtime": "tensorrt"}, "onnxruntime"),
            ({"precision": "fp16"}, "GPU"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, section, word):
        with pytest.raises(ValidationError, match=word):
            settings(**section)

    def test_sections_without_the_key_run_on_torch(self):
        assert runtime_of(ModelSettings(type="memory", folder="nowhere")) == "torch"
        assert runtime_of(settings(runtime="openvino")) == "openvino"
