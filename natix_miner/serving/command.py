"""From a server's settings to the command that starts it, and to its environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from natix_miner.errors import ServerCommandError
from natix_miner.serving.engines import Start, Words, lmdeploy, sglang, vllm
from natix_miner.serving.engines.start import LOOPBACK
from natix_miner.serving.flags import check_variables
from natix_miner.serving.settings import ServerSettings

__all__ = ["LOOPBACK", "Words", "command_of", "environment_of", "find_executable"]

#: Where scripts/install_vllm.sh puts it, from the folder of the profiles.
VLLM = Path("..", ".venv-vllm", "bin", "vllm")

_COMMANDS: dict[str, Callable[[ServerSettings, Start], Words]] = {
    "vllm": vllm.command,
    "sglang": sglang.command,
    "lmdeploy": lmdeploy.command,
}
_HINTS = {
    "vllm": "run scripts/install_vllm.sh (with --cpu on a machine without a GPU), or name its "
    "command in `executable`",
    "sglang": "install it in a virtual environment of its own and name that one's Python in "
    "`executable`",
    "lmdeploy": "install it in a virtual environment of its own and name its command in "
    "`executable`",
}


def command_of(
    settings: ServerSettings,
    *,
    executable: Path | str,
    model: str,
    revision: str | None,
    served_name: str,
    port: int,
    api_key: str = "",
) -> Words:
    """The command of a server: words for `exec`, never for a shell.

    `model` is a folder or a repository's name. The key stands in it only for engines that read it
    from nowhere else (not vLLM). SGLang's and LMDeploy's commands follow their documentation; they
    were not run. Raises ServerCommandError for settings that the engine has no flag for, or that
    cannot work.
    """
    if settings.remote:
        raise ServerCommandError(f"{settings.base_url} is somebody else's: there is no command")
    start = Start(Path(executable), model, revision, served_name, port, api_key)
    return _COMMANDS[settings.engine](settings, start)


def environment_of(settings: ServerSettings, *, api_key: str, local: bool) -> dict[str, str]:
    """What the server's environment adds to ours: the key, the GPUs it may see, no telemetry, and
    no asking of hubs for what lies on the disk. The profile's `environment` has the last word.

    Raises ServerCommandError for a variable of the profile that is ours, or that vLLM no longer
    has.
    """
    made = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # Idle threads that spin slow down the miner beside the server.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }
    if settings.engine == "vllm":
        made["VLLM_API_KEY"] = api_key
    if settings.gpus:
        made["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in settings.gpus)
        # Else CUDA counts the fastest first, and nvidia-smi and the planner mean other cards.
        made["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if local:
        made |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    check_variables(settings.environment, gpus_named=bool(settings.gpus))
    return made | settings.environment


def find_executable(settings: ServerSettings, folder: Path) -> Path:
    """The engine's command (SGLang's Python): the profile's, else the one beside the profile's
    folder, else that of the search path.

    Raises ServerCommandError saying how to install it.
    """
    if settings.executable is not None:
        path = (folder / settings.executable).absolute()
        if not path.is_file():
            raise ServerCommandError(f"no executable at {path}; correct `executable`")
        return path
    found = None
    if settings.engine == "vllm":
        # Never resolved: a link to an interpreter outside would lose its virtual environment.
        beside = Path(os.path.normpath((folder / VLLM).absolute()))
        found = str(beside) if beside.is_file() else shutil.which("vllm")
    elif settings.engine == "lmdeploy":
        found = shutil.which("lmdeploy")
    if found is None:
        raise ServerCommandError(f"{settings.engine} is not installed: {_HINTS[settings.engine]}")
    return Path(found)
