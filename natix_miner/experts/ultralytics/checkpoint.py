"""Opening the .pt files of ultralytics without running what may be hidden in them.

Such a file is a pickle: read as it is, it may run any code. ultralytics has a restricted way since
8.4 that makes only layers it knows; a version without it opens files of a known digest only.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natix_miner.errors import ModelError


@dataclass(frozen=True, slots=True)
class Fork:
    """A copy of ultralytics with layers of its own, told by their names or modules."""

    name: str
    repository: str
    layers: frozenset[str]
    modules: tuple[str, ...] = ()

    def has(self, layer: str) -> bool:
        """Whether a layer, as module.Name, is one of its own."""
        module, _, name = layer.rpartition(".")
        return name in self.layers or module.startswith(self.modules)


_LAYERS = "ultralytics.nn."
FORKS = (
    Fork(
        "YOLOv13",
        "iMoonLab/yolov13",
        frozenset(
            [
                "HyperACE",
                "FullPAD_Tunnel",
                "DownsampleConv",
                "DSC3k2",
                "DSC3k",
                "DSBottleneck",
                "DSConv",
                "FuseModule",
                "AdaHyperedgeGen",
                "AdaHGConv",
                "AdaHGComputation",
                "C3AH",
            ]
        ),
    ),
    Fork(
        "YOLO-Master",
        "Tencent/YOLO-Master",
        frozenset({"DyC2f", "DyMoEBlock", "ES_MOE"}),
        tuple(f"{_LAYERS}modules.{room}" for room in ("moe", "moa", "mot", "latent_mixture")),
    ),
)


def open_checkpoint(name: str, package: Any, file: Path, sha256: str | None) -> Any:
    """The model of a file, as ultralytics wraps it; `package` is ultralytics.

    Raises ModelError: no such file, another digest than `sha256`, no checkpoint of ultralytics,
    torn, made for a fork, or holding what a checkpoint must not hold.
    """
    if not file.is_file() or file.suffix != ".pt":
        raise ModelError(
            f"no weights at {file}: give `file` of expert {name!r} a .pt of ultralytics; it is "
            "counted from the profile, and nothing is fetched"
        )
    if sha256 is not None:
        _check_digest(name, file, sha256)
    elif not _opens_safely(package):
        raise ModelError(
            f"ultralytics {package.__version__} cannot open {file} without running what is in it; "
            f"give expert {name!r} the `sha256` of the file as its makers publish it, or install "
            "ultralytics 8.4.190 or later"
        )
    wanted = _named_in(name, file)
    _allow(wanted)
    # By a link: the package takes quotes out of names and renames some files, and looks for what it
    # does not find then on the internet.
    with tempfile.TemporaryDirectory(prefix="natix-miner-weights-") as folder:
        link = Path(folder) / "weights.pt"
        link.symlink_to(file.resolve())
        try:
            model = package.YOLO(str(link))
        except Exception as error:  # whatever a strange pickle makes torch and ultralytics stumble
            told = str(error).replace(str(link), str(file))
            raise ModelError(_diagnosis(name, package, file, wanted, told)) from error
    model.overrides.pop("data", None)  # a data set's file, which would be looked for
    return model


def _check_digest(name: str, file: Path, sha256: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ModelError(
            f"expert {name!r}: {file} has the SHA-256 {found}, the profile says {sha256}; "
            "it is another file, or was changed"
        )


def _opens_safely(package: Any) -> bool:
    restricted = getattr(package.nn.tasks, "_SafeLoad", None)
    return bool(restricted and restricted.restricted())


def _named_in(name: str, file: Path) -> tuple[str, ...]:
    """What the pickle in a file names, as module.Name, read without running it."""
    import torch

    try:
        return tuple(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file)))
    except Exception as error:  # bytes that are no archive, half of one, or no pickle within
        raise ModelError(
            f"expert {name!r}: {file} is no checkpoint as ultralytics saves it, or it is torn: "
            f"{error}"
        ) from error


def _layer(named: str) -> Any:
    """The layer class of this name in the installed package; None when there is none."""
    from torch import nn

    module, _, attribute = named.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


def _allow(wanted: tuple[str, ...]) -> None:
    """Layers in deeper folders, which forks have and the restricted way overlooks."""
    import torch

    layers = [(_layer(named), named) for named in wanted if named.startswith(_LAYERS)]
    torch.serialization.add_safe_globals([pair for pair in layers if pair[0] is not None])


def _diagnosis(name: str, package: Any, file: Path, wanted: tuple[str, ...], told: str) -> str:
    start = f"expert {name!r} cannot load {file}: "
    missing = [each for each in wanted if each.startswith(_LAYERS) and _layer(each) is None]
    for fork in FORKS:
        if any(fork.has(each) for each in missing):
            return (
                f"{start}it is of {fork.name}, a fork of ultralytics (github.com/{fork.repository})"
                f" with layers that ultralytics {package.__version__} does not have "
                f"({', '.join(missing[:4])}); install the fork in place of ultralytics, in a venv "
                "of its own"
            )
    if missing:
        return (
            f"{start}ultralytics {package.__version__} does not have {', '.join(missing[:4])}; "
            "the file is of another version or a fork of it"
        )
    ours = (_LAYERS, "ultralytics.utils.", "torch.", "torchvision.", "numpy.", "pathlib.")
    strange = [each for each in wanted if not each.startswith(ours)]
    if strange:
        return (
            f"{start}no weights need {', '.join(strange[:4])}, which it names; it was not opened, "
            "do not trust it"
        )
    return f"{start}{told}"
