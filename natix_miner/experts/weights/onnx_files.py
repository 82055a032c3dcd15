"""Networks that come as ONNX files, on ONNX Runtime or OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.weights.openvino_cpu import compiled_on_cpu, quiet_openvino
from natix_miner.experts.weights.runtimes import onnx_session

OnnxRuntimeName = Literal["onnxruntime", "openvino"]
#: From the only input to the outputs by their names.
RunOnnx = Callable[[NDArray[Any]], dict[str, NDArray[Any]]]


def open_onnx(path: Path, runtime: OnnxRuntimeName, threads: int) -> tuple[RunOnnx, set[str]]:
    """A network of one input, ready to run in fp32 from any thread, and the names of its outputs.

    `threads` 0 takes all cores. Raises ModelError when the file is none, MissingExtraError without
    the runtime.
    """
    run = _on_onnxruntime if runtime == "onnxruntime" else _on_openvino
    return run(path, threads)


def _on_onnxruntime(path: Path, threads: int) -> tuple[RunOnnx, set[str]]:
    try:
        session = onnx_session(path.read_bytes(), threads)
    except Exception as error:
        raise ModelError(f"{path} does not load as an ONNX model: {error}") from error
    feed = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]

    def run(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        outputs = session.run(names, {feed: batch})
        return {name: np.asarray(found) for name, found in zip(names, outputs, strict=True)}

    return run, set(names)


def _on_openvino(path: Path, threads: int) -> tuple[RunOnnx, set[str]]:
    core = quiet_openvino("onnxruntime").Core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise ModelError(f"{path} does not load as an ONNX model: {error}") from error
    names = [output.any_name for output in model.outputs]
    compiled = compiled_on_cpu(model, "fp32", threads)

    def run(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, compiled([batch]), strict=True))

    return run, set(names)
