"""One engine process beneath its warden, started and ended without ever blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from natix_miner.errors import ServerStartError
from natix_miner.serving import leftovers, mark, procfs, shared_memory, warden
from natix_miner.serving.mark import Mark
from natix_miner.serving.procfs import ProcessId
from natix_miner.serving.record import Record, RecordFile

#: How often /dev/shm is looked at while a server lives, and how often, though nothing has changed,
#: its processes are: going through /proc takes some 10 ms.
LOOK_SECONDS = 1.0
REMEMBER_SECONDS = 10.0
#: What a warden may take beyond the patience that its engine is given.
MARGIN_SECONDS = 1.5
#: Of its log this much is read to find out why a server ended.
_TAIL_BYTES = 1 << 18
#: Colours and other instructions to a terminal.
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class LogFile:
    """Where an engine's output goes; rotated beyond `most_bytes`, `files` in all."""

    path: Path
    most_bytes: int
    files: int

    def tail(self) -> list[str]:
        """What the latest engine has written, the end of it; no line where there is no file."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        lines = [_ESCAPES.sub("", line).rstrip() for line in text.splitlines()]
        starts = [place for place, line in enumerate(lines) if line.startswith(warden.STARTS)]
        return [line for line in lines[starts[-1] + 1 if starts else 0 :] if line]


class ServerProcess:
    """A running engine; made by `spawn`, and over when `wait` returns.

    Ending it, in whichever way, leaves neither a process nor a file in shared memory behind. Lives
    on the event loop that it was spawned on.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        its_mark: Mark,
        log: LogFile,
        record: RecordFile,
        stop_seconds: float,
        before: dict[str, int],
    ) -> None:
        self.pid = process.pid
        self.log = log
        self._process = process
        assert process.stdin is not None  # a pipe was asked for
        self._pipe = process.stdin
        self._mark = its_mark
        self._record = record
        self._stop_seconds = stop_seconds
        self._known: tuple[ProcessId, ...] = ()
        self._files: dict[str, int] = {}
        self._before = before
        self._looking = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._exit = os.pidfd_open(process.pid)
        self._loop.add_reader(self._exit, self._on_exit)
        self._watch = self._loop.create_task(self._watch_over(), name=f"watch {its_mark.server}")

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        its_mark: Mark,
        *,
        log: LogFile,
        records: Path,
        stop_seconds: float,
    ) -> ServerProcess:
        """Start `command` (its first word an executable) with exactly this environment and a mark.

        `records` is the folder for its record, `stop_seconds` what `stop` grants it. Raises
        ServerStartError when not even the warden can be started; an engine that cannot is one that
        ends at once.
        """
        _check_platform(its_mark.server)
        words = [
            *(sys.executable, "-I", "-S", warden.__file__, "--owner", str(os.getpid())),
            *("--log", str(log.path), "--log-bytes", str(log.most_bytes)),
            *("--log-files", str(log.files), "--stop-seconds", str(stop_seconds), "--", *command),
        ]
        variables = {
            **environment,
            mark.VARIABLE: str(its_mark),
            # Else a process that gives itself a title writes it over this environment.
            "SPT_NOENV": "1",
        }
        before = await asyncio.to_thread(shared_memory.present)
        starting = asyncio.ensure_future(asyncio.to_thread(_popen, words, variables, log.path))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            process = await starting
            await asyncio.to_thread(_end_now, process, its_mark)
            raise
        except OSError as error:
            raise ServerStartError(
                f"server {its_mark.server!r}: cannot start its warden with {sys.executable}, "
                f"logging to {log.path}: {error.strerror}"
            ) from error
        return cls(process, its_mark, log, RecordFile(records, its_mark), stop_seconds, before)

    def pids(self) -> list[int]:
        """Process ids of the engine, without the warden's; empty when it has ended."""
        if self._process.returncode is not None:
            return []
        return [process.id.pid for process in procfs.below(self.pid)]

    async def wait(self) -> None:
        """Until it has ended and all that was left of it is gone. Cancelling ends nothing."""
        await asyncio.shield(self._watch)

    async def stop(self) -> None:
        """Ask it to end, `stop_seconds` later kill it; may be called again, also after `kill`."""
        await self._remember()
        self._order(warden.STOP)
        await self._gone_within(self._stop_seconds + MARGIN_SECONDS)

    async def kill(self) -> None:
        """End it at once."""
        await self._remember()
        self._order(warden.KILL_AT_ONCE)
        await self._gone_within(MARGIN_SECONDS)

    async def last_lines(self) -> list[str]:
        """The end of what it has written to its log, without escape sequences."""
        return await asyncio.to_thread(self.log.tail)

    async def _gone_within(self, seconds: float) -> None:
        done, _ = await asyncio.wait({self._ended}, timeout=seconds)
        if not done and self._process.returncode is None:
            # The warden hangs or was stopped; the watch kills what is left beneath it.
            self._process.kill()
        await self.wait()

    async def _watch_over(self) -> None:
        """Remember what it has while it lives, and clean up after its end."""
        listed, looks, remembered = None, 0, -REMEMBER_SECONDS
        while not self._ended.done():
            now = self._loop.time()
            if (files := shared_memory.present()) != listed:
                # Twice: at the first look a new file may be there, yet not mapped.
                listed, looks = files, 2
            if looks or now - remembered >= REMEMBER_SECONDS:
                await self._remember()
                remembered, looks = now, max(0, looks - 1)
            await asyncio.wait({self._ended}, timeout=LOOK_SECONDS)
        self._pipe.close()
        await asyncio.to_thread(self._sweep)

    async def _remember(self) -> None:
        async with self._looking:
            if not self._ended.done():
                await asyncio.to_thread(self._look)

    def _look(self) -> None:
        processes = procfs.below(self.pid)
        mapped = shared_memory.mapped_by(process.id.pid for process in processes)
        new = {name: inode for name, inode in mapped.items() if self._before.get(name) != inode}
        self._files = {**self._files, **new}
        if processes:  # else the warden was just killed, and what we knew is still of use
            self._known = tuple(process.id for process in processes)
        self._record.write(Record(self._mark, self._known, dict(self._files)))

    def _sweep(self) -> None:
        """The warden has left nothing, unless it was killed itself."""
        leftovers.kill(lambda other: other == self._mark, self._known)
        shared_memory.unlink_unused(self._files)
        self._record.remove()

    def _order(self, order: bytes) -> None:
        if not self._pipe.closed:
            with contextlib.suppress(BrokenPipeError):  # the warden has ended: so be it
                self._pipe.write(order)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._exit)
        os.close(self._exit)
        self._process.wait()  # returns at once: it has ended
        if not self._ended.done():
            self._ended.set_result(None)


def _check_platform(server: str) -> None:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        raise ServerStartError(
            f"server {server!r}: servers are spawned on Linux 5.3 or later only (here: "
            f"{platform.system()} {platform.release()}); run it elsewhere and give its `base_url`"
        ) from error


def _popen(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as last_words:  # of the warden, should it fail itself
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=last_words,
            start_new_session=True,
            bufsize=0,
        )


def _end_now(process: subprocess.Popen[bytes], its_mark: Mark) -> None:
    process.kill()
    process.wait()
    leftovers.kill(lambda other: other == its_mark)
