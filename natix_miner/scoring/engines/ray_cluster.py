"""The Ray cluster that scoring runs on: one made on this machine for the run, or one that is there.

Ray is imported here and nowhere else, and only when it is asked for.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from natix_miner.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from natix_miner.profile import Profile

LOCAL = "local"
#: Rows of results are all that goes through it; Ray takes no less.
_STORE_BYTES = 80 * 2**20
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RayOptions:
    """Where workers run and what each of them has to itself.

    `address` is `local`, `auto` (the cluster that this machine belongs to) or HOST:PORT; `workers`
    None takes as many as there is room for; `cpus` and `gpus` may be fractions.
    """

    address: str = LOCAL
    workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0


def gpus_of(profile: Profile) -> float:
    """GPUs that a judge of this profile needs: 1 when an expert runs on one, or the most that its
    own servers use."""
    own = {gpu for server in profile.servers.values() for gpu in server.gpus}
    on_gpu = any(
        str(getattr(expert, "device", "cpu")) != "cpu" for expert in profile.experts.values()
    )
    return float(max(len(own), int(on_gpu)))


def import_ray() -> Any:
    """The package; raises MissingExtraError where it is not installed."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError(
            f"--engine ray needs the package ray ({error}): pip install 'natix-miner[ray]'"
        ) from error
    return ray


class RayCluster:
    """A connection to a cluster; what was begun here ends with it.

    While it is open, what is printed goes to standard error: Ray prints what happens to processes
    on standard output, where figures belong. A connection that the process had before is used and
    left as it is. Raises MissingExtraError without the package, ConfigurationError when no cluster
    answers or it has too little room.
    """

    def __init__(self, options: RayOptions) -> None:
        self.ray = import_ray()
        self._options = options
        self._stack = ExitStack()
        #: How many workers there are to be.
        self.workers = 0

    def __enter__(self) -> RayCluster:
        with self._stack:
            self._stack.enter_context(redirect_stdout(sys.stderr))
            if not self.ray.is_initialized():
                self._connect()
                self._stack.callback(self.ray.shutdown)
            self.workers = self._options.workers or max(1, self.room())
            self._check_room()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def room(self) -> int:
        """How many workers the cluster could take, were nobody else there."""
        return sum(
            _fitting(node.get("Resources", {}), self._options)
            for node in self.ray.nodes()
            if node.get("Alive")
        )

    def told_resources(self) -> str:
        """Free and all CPUs and GPUs, in words."""
        has, free = self.ray.cluster_resources(), self.ray.available_resources()
        return ", ".join(
            f"{free.get(kind, 0):g} of {has[kind]:g} {kind}s free"
            for kind in ("CPU", "GPU")
            if kind in has
        )

    def _connect(self) -> None:
        options = self._options
        local: dict[str, Any] = {}
        if options.address == LOCAL:
            cores = len(os.sched_getaffinity(0))
            # Whoever asks for more workers than cores gets them.
            local = {
                "num_cpus": max(cores, int((options.workers or 1) * options.cpus + 0.999)),
                "object_store_memory": _STORE_BYTES,
                "include_dashboard": False,
            }
        try:
            _check_answers(options.address)
            self.ray.init(
                address=options.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **local,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"no Ray cluster at {options.address!r} that could be used "
                f"({str(error).strip().splitlines()[0]}): start one with `ray start --head` and "
                "give --ray-address auto on a machine of it, or leave --ray-address out"
            ) from error

    def _check_room(self) -> None:
        room = self.room()
        if self.workers > room:
            each = f"{self._options.cpus:g} CPUs"
            if self._options.gpus:
                each += f" and {self._options.gpus:g} GPUs"
            raise ConfigurationError(
                f"the cluster has room for {room} workers of {each} each, not for {self.workers} "
                f"({self.told_resources()}): ask for fewer --workers, or give each less "
                "(--worker-cpus, --worker-gpus)"
            )


def _check_answers(address: str) -> None:
    """Raise OSError or ValueError where nobody listens: Ray itself would try for minutes."""
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if "/" in host or not host or not port.isdigit():
        raise ValueError("it is neither auto nor HOST:PORT")
    socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


def _fitting(resources: dict[str, float], options: RayOptions) -> int:
    wanted = {"CPU": options.cpus, "GPU": options.gpus}
    return min(
        int(resources.get(kind, 0.0) / amount + 1e-9) for kind, amount in wanted.items() if amount
    )
