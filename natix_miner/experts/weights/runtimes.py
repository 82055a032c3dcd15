"""Runtimes: the same network on torch, ONNX Runtime or OpenVINO, arrays in, arrays out.

On a CPU the latter two are up to three times as fast in fp32, OpenVINO more where the processor
has bf16. Conversion happens in memory at load, from the weights that torch has read.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.weights.openvino_cpu import compiled_on_cpu, quiet_openvino
from natix_miner.experts.weights.placement import Placement
from natix_miner.experts.weights.saved import Inputs
from natix_miner.experts.weights.settings import ModelSettings

if TYPE_CHECKING:
    import onnxruntime

Runtime = Literal["torch", "onnxruntime", "openvino"]
#: From the inputs of n pictures to the network's outputs, the first axis of each n long.
Run = Callable[[Inputs], list[NDArray[np.float32]]]


class RuntimeSettings(ModelSettings):
    """`runtime` computes: torch, or on the cpu onnxruntime (fp32 only) or openvino (bf16 is taken
    only where the processor has it)."""

    runtime: Runtime = "torch"

    @model_validator(mode="after")
    def _goes_together(self) -> RuntimeSettings:
        if self.runtime == "torch":
            return self
        if self.device != "cpu":
            raise ValueError(f"runtime {self.runtime} runs on the cpu, not on {self.device!r}")
        if self.compile:
            raise ValueError(f"`compile` is torch's own; runtime {self.runtime} compiles anyway")
        if self.runtime == "onnxruntime" and self.precision != "fp32":
            raise ValueError(
                f"runtime onnxruntime runs fp32, not {self.precision}; take openvino or torch"
            )
        return self


def runtime_of(settings: ModelSettings) -> Runtime:
    """The runtime that a section names; torch where its family has no such key."""
    return settings.runtime if isinstance(settings, RuntimeSettings) else "torch"


def tensors_only(model: Any, pick: Callable[[Any], Any]) -> Any:
    """A torch module with the model's inputs whose outputs are tensors: `pick` takes the tensor, or
    a tuple of them, from what the model returns (transformers: an object)."""
    import torch

    class TensorsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: Any) -> Any:
            return pick(self.model(**inputs))

    return TensorsOnly().eval()


def _pixels_only(module: Any) -> Any:
    """The same with its one argument by name, as converters want it."""
    import torch

    class PixelsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, pixel_values: Any) -> Any:
            return self.module(pixel_values=pixel_values)

    return PixelsOnly().eval()


def runner(name: str, module: Any, example: Inputs, settings: ModelSettings) -> Run:
    """`module` (fp32, on the cpu, tensors in and out) ready to run for the expert `name`.

    `example` are inputs of one picture; any number of pictures of that size may follow. The runner
    may be called from several threads.

    Raises ModelError when the runtime does not take the network; MissingExtraError when it is not
    installed.
    """
    runtime = runtime_of(settings)
    if runtime == "torch":
        return _on_torch(module, Placement.of(settings))
    if set(example) != {"pixel_values"}:
        raise ModelError(
            f"expert {name!r}: runtime {runtime} takes networks of pixel values alone; this one "
            f"takes {', '.join(example)}: say `runtime: torch`"
        )
    convert = _on_onnxruntime if runtime == "onnxruntime" else _on_openvino
    try:
        return convert(_pixels_only(module), example, settings)
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        # The exporter wraps the cause, and pages of graphs follow.
        said = str(error.__cause__ or error).strip().partition("\n")[0][:200]
        raise ModelError(
            f"expert {name!r}: runtime {runtime} does not take this network ({said}); "
            "say `runtime: torch`"
        ) from error


def _on_torch(module: Any, placement: Placement) -> Run:
    import torch

    module = placement.put(module)

    def run(inputs: Inputs) -> list[NDArray[np.float32]]:
        with placement.running():
            batch = {key: torch.from_numpy(value) for key, value in inputs.items()}
            outputs = module(**placement.send(batch))
            if isinstance(outputs, torch.Tensor):
                outputs = (outputs,)
            return [output.float().cpu().numpy() for output in outputs]

    return run


def onnx_session(model: bytes | Path, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU with `threads` threads, 0 for all cores.

    Raises what onnxruntime raises for files that are no ONNX models.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle workers must not burn the cores that decoding and the other experts need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])


def _on_onnxruntime(module: Any, example: Inputs, settings: ModelSettings) -> Run:
    import torch

    try:
        import onnx  # noqa: F401 - the exporter's own message names no extra of ours
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"runtime onnxruntime needs {error.name} to convert the network: "
            "pip install 'natix-miner[detectors]', or say `runtime: torch`"
        ) from error
    # Files, since no ONNX model above 2 GB fits into memory as one piece.
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter's own deprecated parts
        path = Path(folder, "network.onnx")
        program: Any = torch.onnx.export(
            module,
            kwargs={"pixel_values": _example(example)},
            dynamic_shapes={"pixel_values": {0: torch.export.Dim.DYNAMIC}},
            input_names=["pixel_values"],
            dynamo=True,
            verbose=False,
        )
        program.save(path, external_data=True)
        session = onnx_session(path, settings.threads)

    def run(inputs: Inputs) -> list[NDArray[np.float32]]:
        return [np.asarray(output, np.float32) for output in session.run(None, dict(inputs))]

    return run


def _on_openvino(module: Any, example: Inputs, settings: ModelSettings) -> Run:
    openvino = quiet_openvino()
    pixel_values = _example(example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of size checks that are constant here
        converted = openvino.convert_model(
            module,
            example_input={"pixel_values": pixel_values},
            input=[("pixel_values", [-1, *pixel_values.shape[1:]])],
        )
    compiled = compiled_on_cpu(converted, settings.precision, settings.threads)

    def run(inputs: Inputs) -> list[NDArray[np.float32]]:
        return [np.asarray(output, np.float32) for output in compiled(dict(inputs))]

    return run


def _example(example: Inputs) -> Any:
    """The pixel values twice: of a batch of one the tracer could make a constant."""
    import torch

    return torch.from_numpy(np.repeat(example["pixel_values"], 2, axis=0))
