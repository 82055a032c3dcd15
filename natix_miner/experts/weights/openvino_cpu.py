"""OpenVINO on the CPU, without its telemetry."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import MissingExtraError

#: From the inputs, in order or by their names, to the outputs.
Compiled = Callable[[Any], list[NDArray[Any]]]


def quiet_openvino(instead: str = "torch") -> Any:
    """The package; raises MissingExtraError, which says that runtime `instead` is there too."""
    # Conversion would report every model to the makers; without this module it uses a stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError(
            f"runtime openvino is not installed: pip install 'natix-miner[detectors]', or say "
            f"`runtime: {instead}`"
        ) from error
    return openvino


def compiled_on_cpu(model: Any, precision: str, threads: int) -> Compiled:
    """A converted or read model, ready to run from any thread; `threads` 0 takes all cores.

    bf16 is taken only where the processor has it. Raises RuntimeError when the CPU cannot run it.
    """
    core = quiet_openvino().Core()
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": str(threads or os.cpu_count() or 1),
        },
    )
    # Calls share one request of the runtime, which bears no two at once, nor outputs kept.
    alone = threading.Lock()

    def run(inputs: Any) -> list[NDArray[Any]]:
        with alone:
            found = compiled(inputs)
            return [np.array(found[output]) for output in compiled.outputs]

    return run
