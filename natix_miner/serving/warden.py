"""The warden: a small process beside each engine that ends it when the miner is gone.

A program of its own (`python -I -S warden.py ...`), standard library only, so that it starts in a
blink, weighs some 10 MB and does not fall over with what the miner imports. It

- starts the engine in a session of its own, to be killed by the kernel should the warden die;
- adopts whatever the engine's processes leave behind (child subreaper), so that nothing gets lost;
- copies the engine's output to a rotated log;
- listens on its standard input, a pipe that the miner holds open and that the kernel closes when
  the miner dies, however it dies. The byte `s`, or SIGTERM: SIGTERM for the engine's main process,
  `--stop-seconds` of patience, then SIGKILL for all. End of file: the same with ORPHAN_SECONDS of
  patience at most. The byte `k`: SIGKILL for all at once.

When the engine's main process ends, what it leaves has TIDY_SECONDS to end too (after a SIGTERM:
the helpers that take shared memory away ignore it and finish) and is then killed. The warden itself
ends when no descendant is left; its exit code is one of the constants below, since the engine's own
is not to be trusted (vLLM's API process ends with 0 when its engine was killed).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import sys
import time

STOPPED = 0
#: The engine ended though nobody asked it to.
ENDED_BY_ITSELF = 10
#: Something does not die of SIGKILL (a driver that hangs); it is left behind.
LEFT_SOMETHING = 11
NOT_LINUX = 12

STOP = b"s"
KILL_AT_ONCE = b"k"
#: Begins each line that the warden itself writes into the log, and the first one of each start.
OWN_LINES = "warden: "
STARTS = OWN_LINES + "starts "

TIDY_SECONDS = 2.0
#: Nobody waits for the answers of an engine whose miner is dead, but the next miner for its GPU.
ORPHAN_SECONDS = 4.0
#: How long a SIGKILL may take until we no longer believe in it.
DYING_SECONDS = 10.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: How often descendants are looked for and the miner's life is checked, though nothing was heard.
_LOOK_SECONDS = 1.0
_DYING_LOOK_SECONDS = 0.02
_CHUNK = 1 << 16
#: Standard input.
_ORDERS = 0


class RotatedLog:
    """Appends bytes to `path`; beyond `most_bytes` that becomes `path.1`, and so on, `files` in
    all. A full or lost disk costs lines, never the engine: they are counted and told later."""

    def __init__(self, path: str, most_bytes: int, files: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._files = files
        self._lost = 0
        self._descriptor = -1

    def write(self, data: bytes) -> None:
        """Append whole chunks as they come."""
        try:
            self._open()
            if self._lost:
                told = f"{OWN_LINES}{self._lost} bytes of output could not be written\n".encode()
                os.write(self._descriptor, told)
                self._lost = 0
            if os.write(self._descriptor, data) < len(data):
                raise OSError("disk full")
        except OSError:
            self._lost += len(data)

    def say(self, line: str) -> None:
        """A line of the warden's own."""
        self.write(f"{OWN_LINES}{line}\n".encode(errors="replace"))

    def _open(self) -> None:
        if self._descriptor >= 0 and os.fstat(self._descriptor).st_size >= self._most_bytes:
            os.close(self._descriptor)
            self._descriptor = -1
            for number in range(self._files - 1, 0, -1):
                older = f"{self._path}.{number - 1}" if number > 1 else self._path
                if os.path.exists(older):
                    os.replace(older, f"{self._path}.{number}")
            if self._files == 1:
                os.unlink(self._path)
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o644)


def descendants(root: int) -> dict[int, str]:
    """Process ids below `root` (Linux: /proc), each with its state letter; Z is a zombie."""
    parents, states = {}, {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                # The command in brackets may hold anything; what follows the last bracket not.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # ended while we looked
        parents[int(entry)] = int(fields[1])
        states[int(entry)] = fields[0].decode()
    below: dict[int, str] = {}
    layer = {root}
    while layer:
        layer = {pid for pid, parent in parents.items() if parent in layer and pid not in below}
        below.update({pid: states[pid] for pid in layer})
    return below


class Warden:
    """Watches one engine from its start to the end of its last process."""

    def __init__(self, command: list[str], log: RotatedLog, owner: int, stop_seconds: float):
        self._log = log
        self._owner = owner
        self._stop_seconds = stop_seconds
        self._asked_to_stop = False
        self._sigterm = False
        self._kill_at: float | None = None
        self._given_up_at: float | None = None
        self._ended: int | None = None
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, self._on_sigterm)
        # Not the whole command: some engines take their key as an argument.
        log.say(f"{STARTS.removeprefix(OWN_LINES)}{command[0]}")
        self._output, write = os.pipe2(os.O_CLOEXEC)
        self._engine = _start(command, write)
        os.close(write)
        os.set_blocking(self._output, False)
        self._output_open = True
        self._heard = select.poll()
        for descriptor in (_ORDERS, self._output, self._wake):
            self._heard.register(descriptor, select.POLLIN)

    def run(self) -> int:
        """Until no descendant is left; the exit code."""
        while True:
            self._hear()
            if not self._reap():
                while self._copy_output():
                    pass
                return self._tell_end()
            now = time.monotonic()
            if self._kill_at is not None and now >= self._kill_at:
                if self._given_up_at is None:
                    self._given_up_at = now + DYING_SECONDS
                if now >= self._given_up_at:
                    left = [pid for pid, state in descendants(os.getpid()).items() if state != "Z"]
                    self._log.say(f"these do not die of SIGKILL and are left behind: {left}")
                    return LEFT_SOMETHING
                _send(descendants(os.getpid()), signal.SIGKILL)

    def _hear(self) -> None:
        """Wait for output, orders and signals, no longer than until something is due."""
        wait = _LOOK_SECONDS
        if self._kill_at is not None:
            wait = min(wait, max(_DYING_LOOK_SECONDS, self._kill_at - time.monotonic()))
        ready = {descriptor for descriptor, _ in self._heard.poll(wait * 1000.0)}
        if self._wake in ready:
            os.read(self._wake, _CHUNK)
        if self._output in ready:
            self._copy_output()
        if _ORDERS in ready:
            order = os.read(_ORDERS, _CHUNK)
            if not order:
                self._heard.unregister(_ORDERS)
                self._stop("the miner is gone", ORPHAN_SECONDS)
            if KILL_AT_ONCE in order:
                self._asked_to_stop = True
                self._kill_at = time.monotonic()
            if STOP in order:
                self._stop("the miner says so", self._stop_seconds)
        if self._sigterm:
            self._stop("SIGTERM", self._stop_seconds)
        if os.getppid() != self._owner:
            self._stop("the miner is gone", ORPHAN_SECONDS)

    def _copy_output(self) -> bool:
        """Copy one chunk; False when nothing waits. One only, so that no flood of output drowns
        an order."""
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._log.write(data)
            return True
        if self._output_open:  # closed by all who could write, though some may live on
            self._output_open = False
            self._heard.unregister(self._output)
        return False

    def _stop(self, why: str, patience: float) -> None:
        """Ask the engine to end; told again, only an earlier end of the patience counts."""
        if self._ended is not None:
            self._asked_to_stop = True
            return
        if not self._asked_to_stop:
            self._asked_to_stop = True
            self._log.say(f"{why}; stopping the engine")
            _send([self._engine], signal.SIGTERM)
        kill_at = time.monotonic() + min(patience, self._stop_seconds)
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)

    def _reap(self) -> bool:
        """Collect what has ended; False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._engine:
                self._ended = os.waitstatus_to_exitcode(status)
                left = descendants(os.getpid())
                _send(left, signal.SIGTERM)
                tidied = time.monotonic() + TIDY_SECONDS
                self._kill_at = min(self._kill_at or tidied, tidied)

    def _tell_end(self) -> int:
        code = self._ended
        assert code is not None  # it is one of the children that are all reaped
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if self._asked_to_stop:
            self._log.say(f"stopped ({how})")
            return STOPPED
        self._log.say(f"the engine ended by itself ({how})")
        return ENDED_BY_ITSELF

    def _on_sigterm(self, number: int, frame: object) -> None:
        self._sigterm = True


def _send(pids: list[int] | dict[int, str], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # ended by itself meanwhile


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _start(command: list[str], output: int) -> int:
    """Fork and execute; what goes wrong in the child is said on its output."""
    warden = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == warden:  # else it died before the line above
            os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{OWN_LINES}cannot run {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def main(arguments: list[str]) -> int:
    """Run the warden; `arguments` are options, `--`, and the engine's command."""
    parser = argparse.ArgumentParser(prog="warden")
    parser.add_argument("--owner", type=int, required=True, help="process id of the miner")
    parser.add_argument("--log", required=True)
    parser.add_argument("--log-bytes", type=int, required=True)
    parser.add_argument("--log-files", type=int, required=True)
    parser.add_argument("--stop-seconds", type=float, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        print("the warden needs Linux (prctl, /proc)", file=sys.stderr)
        return NOT_LINUX
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    log = RotatedLog(options.log, options.log_bytes, options.log_files)
    return Warden(options.command, log, options.owner, options.stop_seconds).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
