"""Whose a spawned process is: a mark in its environment that names the miner and the server.

The miner is named by process id, start time and the namespace of that id, so that neither a later
process of the same number nor a miner in another container is taken for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from natix_miner.serving import procfs
from natix_miner.serving.procfs import ProcessId

#: Set for every process of a server, and inherited by all that they start.
VARIABLE = "NATIX_MINER_SERVER"


@dataclass(frozen=True, slots=True)
class Owner:
    """A miner process."""

    process: ProcessId
    namespace: str

    @classmethod
    def this(cls) -> Owner:
        """The process that we are."""
        me = procfs.state_of(os.getpid())
        assert me is not None  # we run
        return cls(me.id, procfs.namespace())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """What `str` made; None for anything else."""
        pid, _, rest = text.partition("/")
        started, _, namespace = rest.partition("/")
        if not (pid.isdigit() and started.isdigit() and namespace):
            return None
        return cls(ProcessId(int(pid), int(started)), namespace)

    def __str__(self) -> str:
        return f"{self.process.pid}/{self.process.started}/{self.namespace}"

    @property
    def is_dead(self) -> bool:
        """True only where we can know it: of another namespace we do not."""
        return self.namespace == procfs.namespace() and not procfs.lives(self.process)


@dataclass(frozen=True, slots=True)
class Mark:
    """The value of VARIABLE."""

    owner: Owner
    server: str

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """What `str` made; None for anything else."""
        server, _, rest = text.partition("@")
        owner = Owner.parse(rest)
        return cls(owner, server) if owner and server else None

    @classmethod
    def of(cls, pid: int) -> Mark | None:
        """The mark that a process carries."""
        text = procfs.environment_value(pid, VARIABLE)
        return cls.parse(text) if text else None

    def __str__(self) -> str:
        return f"{self.server}@{self.owner}"
