"""Putting a torch model where it runs, and running it there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from natix_miner.errors import ModelError

if TYPE_CHECKING:
    import torch


class Placed(Protocol):
    """The settings that say where and how a model runs."""

    @property
    def device(self) -> str:
        """cpu, cuda or cuda:N."""
        ...

    @property
    def precision(self) -> str:
        """fp32, bf16 or fp16."""
        ...

    @property
    def compile(self) -> bool:
        """Whether torch.compile is used."""
        ...


@dataclass(frozen=True, slots=True)
class Placement:
    """Device, number format and stream of one expert's model.

    On a GPU every expert has a stream of its own, so that those of one level overlap, and batches
    go up from pinned memory.
    """

    device: str
    dtype: torch.dtype
    compile: bool
    stream: Any = None

    @classmethod
    def of(cls, settings: Placed) -> Placement:
        """Raises ModelError when the GPU is not there."""
        import torch

        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        stream = None
        if settings.device != "cpu":
            index = int(settings.device.partition(":")[2] or 0)
            if not torch.cuda.is_available() or index >= torch.cuda.device_count():
                count = torch.cuda.device_count() if torch.cuda.is_available() else 0
                raise ModelError(
                    f"device {settings.device!r} is not there: torch sees {count} GPUs; say "
                    "`device: cpu`, or install a torch that was built for this GPU's driver"
                )
            stream = torch.cuda.Stream(device=settings.device)
        return cls(settings.device, dtype[settings.precision], settings.compile, stream)

    def put(self, model: Any) -> Any:
        """The model, frozen for inference, on its device; convolutions channels-last on a GPU."""
        import torch

        exact = [(part, part.inv_freq) for part in model.modules() if hasattr(part, "inv_freq")]
        model = model.eval().requires_grad_(False).to(self.device, self.dtype)
        for part, frequencies in exact:  # of rotary positions: too coarse in half precision
            part.inv_freq = frequencies.to(self.device)
        if self.device != "cpu":
            model = model.to(memory_format=torch.channels_last)
        return torch.compile(model) if self.compile else model

    def send(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors of a batch on the device, floating ones in the model's format; others as is."""
        import torch

        sent = {}
        for name, value in batch.items():
            if isinstance(value, torch.Tensor):
                if self.device != "cpu":
                    value = value.pin_memory()
                value = value.to(
                    self.device,
                    self.dtype if value.is_floating_point() else value.dtype,
                    non_blocking=True,
                )
            sent[name] = value
        return sent

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inference mode, on the expert's own stream; its work is done when the block ends."""
        import torch

        on_stream = torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()
        with torch.inference_mode(), on_stream:
            yield
            if self.stream is not None:
                self.stream.synchronize()


def digest_of(model: Any) -> str:
    """Digest of the weights as loaded, so that a folder and a hub copy of it agree."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def loading(name: str, what: str, where: str, load: Callable[[], Any]) -> Any:
    """What `load` returns; the errors by which libraries refuse files become a ModelError."""
    from safetensors import SafetensorError

    try:
        return load()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(f"expert {name!r} cannot load {what} from {where}: {error}") from error


def refuse_made_up(name: str, what: str, where: str, missing: Iterable[str]) -> None:
    """Raises ModelError when weights of a model are `missing` from its file: the library would go
    on with random ones."""
    if lacking := sorted(missing):
        raise ModelError(
            f"expert {name!r} cannot load {what} from {where}: {len(lacking)} of its weights are "
            f"not in the file ({', '.join(lacking[:3])} ...); it is of another kind, or torn"
        )
