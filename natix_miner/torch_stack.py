"""torch and transformers, imported when an expert needs them, and quietly."""

from __future__ import annotations

import os
import threading
from typing import Any, NamedTuple

from natix_miner.errors import MissingExtraError

_once = threading.Lock()
#: Keeps the schemas alive that stand in for torchvision's own library.
_fragments: list[Any] = []


class TorchStack(NamedTuple):
    """The two packages."""

    torch: Any
    transformers: Any


def torch_stack(expert: str, extra: str = "detectors") -> TorchStack:
    """Both packages; raises MissingExtraError naming the `extra` when one is not installed."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import torch

        make_torchvision_importable()
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            f"expert {expert!r} needs torch and transformers ({error}): "
            f"pip install 'natix-miner[{extra}]'"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    return TorchStack(torch, transformers)


def make_torchvision_importable() -> None:
    """Nothing to do where torchvision works, or is not installed.

    Only a CUDA build of it may be at hand beside a CPU torch. Its library does not load then, and
    its import fails for want of two operators; their schemas and a CPU kernel for one of them are
    all that the processors of transformers need of it.
    """
    with _once:
        if _fragments:
            return
        try:
            import torchvision  # noqa: F401
        except ModuleNotFoundError:
            return  # whoever needs it says so
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            _stand_in()


def _stand_in() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _fragments.append(library)
    import torchvision

    torchvision.extension._has_ops = lambda: True  # asked before every nms


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Indices of the boxes (n, 4) kept by greedy non-maximum suppression, best first."""
    import torch

    order = scores.argsort(descending=True, stable=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        overlap = shared / (areas[best] + areas[order] - shared)
        order = order[overlap <= iou_threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)
