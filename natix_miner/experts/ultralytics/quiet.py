"""The package ultralytics, imported so that it neither calls home nor changes the process.

As it comes it looks up hosts at import, reports every prediction, fetches what it misses and may
install packages. Its import also replaces PIL.Image.open (by one that wants to install a package
when it sees no picture, which would make every broken query an installation), torch.save, the
printing of arrays, and the threads of OpenCV.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.torch_stack import make_torchvision_importable

#: Held while the package is imported and while a model of it is loaded: both change the process for
#: a moment, and what is put back afterwards must be what was there before anybody began.
ONE_AT_A_TIME = threading.RLock()

#: Words, not digits: older versions and forks compare with "true".
_SWITCHES = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
    "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "true",
}
#: Set by the package for the whole process, and inherited by every child.
_DISTURBED = (
    "OMP_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "TF_CPP_MIN_LOG_LEVEL",
    "TORCH_CPP_LOG_LEVEL",
    "KINETO_LOG_LEVEL",
    "CUBLAS_WORKSPACE_CONFIG",
)
#: Settings that must be off; "hub" and "neptune" are of older versions.
_OFF = frozenset(
    [
        "sync",
        "hub",
        "clearml",
        "comet",
        "dvc",
        "mlflow",
        "neptune",
        "raytune",
        "tensorboard",
        "wandb",
        "vscode_msg",
        "openvino_msg",
    ]
)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Threads of torch and OpenCV and the environment are afterwards as they were before."""
    import cv2
    import torch

    with ONE_AT_A_TIME:
        threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
        environment = {name: os.environ.get(name) for name in _DISTURBED}
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            cv2.setNumThreads(cv_threads)
            for name, value in environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def quiet_ultralytics(expert: str) -> Any:
    """The package, silent and offline; raises MissingExtraError where it is not installed, and
    ModelError where somebody imported it before, so that it is neither."""
    try:
        import torch  # noqa: F401

        with undisturbed(), _unpatched():
            make_torchvision_importable()
            folder = _folder()
            import ultralytics
            import ultralytics.nn.tasks
    except ImportError as error:
        raise MissingExtraError(
            f"expert {expert!r} needs ultralytics ({error}): "
            "pip install 'natix-miner[ultralytics]' (AGPL-3.0, its weights as well)"
        ) from error
    _switch_off(ultralytics.settings, folder)
    return ultralytics


@cache
def _folder() -> Path:
    """Where the package may write, gone when the process ends; sets the switches it reads."""
    if "ultralytics.utils" in sys.modules:
        raise ModelError(
            "ultralytics was imported in this process before it could be kept offline and its "
            "weights be opened safely; import it nowhere but through natix_miner"
        )
    folder = Path(tempfile.mkdtemp(prefix="natix-miner-ultralytics-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(_SWITCHES, YOLO_CONFIG_DIR=str(folder))
    return folder


def _switch_off(settings: Any, folder: Path) -> None:
    wanted: dict[str, Any] = {name: False for name in _OFF if name in settings}
    wanted |= {f"{name}_dir": str(folder / name) for name in ("datasets", "weights", "runs")}
    if any(settings[name] != value for name, value in wanted.items()):
        settings.update(wanted)


@contextmanager
def _unpatched() -> Iterator[None]:
    """Functions and printing of other packages that the import replaces are put back."""
    import numpy as np
    import torch
    from PIL import Image

    opening, saving = Image.open, torch.save
    printing = np.get_printoptions()
    of_tensors = vars(torch._tensor_str.PRINT_OPTS).copy()
    try:
        yield
    finally:
        Image.open, torch.save = opening, saving
        np.set_printoptions(**printing)
        vars(torch._tensor_str.PRINT_OPTS).update(of_tensors)
