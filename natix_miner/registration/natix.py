"""Registering a miner with the NATIX application server: sign, post once, ask until it is decided.

Optional: upstream's documents struck this step in February 2026."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from natix_miner.clock import Clock, Deadline
from natix_miner.errors import NatixServerError
from natix_miner.registration.natix_server import NatixServer, Status

#: Seconds between two questions, and altogether, as upstream's description has them.
POLL_SECONDS = 3.0
TOTAL_SECONDS = 180.0
#: Seconds between questions at most while the server fails.
_MAX_POLL_SECONDS = 24.0
_SUCCEEDED = frozenset({"succeeded", "success"})
_FAILED = frozenset({"failed", "error"})
#: Gateways that gave up waiting for a server which may go on all the same.
_GATEWAY = frozenset({502, 504})
#: Answers that no such server gives, and how many in a row say that this is another one.
_GARBLED = frozenset({"not-json", "shape", "too-large"})
_GARBLED_TIMES = 3
_WAITING = frozenset({"pending", "processing", "in_progress", "queued", "running", "started"})


class SignsMessages(Protocol):
    """A hotkey: bittensor_wallet.Keypair."""

    ss58_address: str

    def sign(self, data: bytes) -> bytes: ...


class Outcome(StrEnum):
    """How it ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True, slots=True)
class NatixResult:
    """The end of a registration.

    `reason` is a short word: the status word of the server, or that of a NatixServerError;
    `message` one sentence for an operator; `polls` how often the status was asked, `seconds` how
    long it all took.
    """

    outcome: Outcome
    reason: str
    message: str
    polls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after every step: what was heard, seconds so far, questions so far."""

    said: str
    seconds: float
    polls: int


def signed_body(hotkey: SignsMessages, uid: int, model_repo: str, now: float) -> dict[str, Any]:
    """What is posted. The signature is over the text of the unix time in whole seconds, as 128 hex
    digits without 0x."""
    message = str(int(now))
    return {
        "uid": uid,
        "message": message,
        "natix_public_key": hotkey.ss58_address,
        "natix_signature": hotkey.sign(message.encode()).hex(),
        "type": "miner",
        "model_repo": model_repo,
    }


async def register_with_natix(
    server: NatixServer,
    hotkey: SignsMessages,
    uid: int,
    model_repo: str,
    *,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]],
    on_progress: Callable[[Progress], None],
    total_seconds: float = TOTAL_SECONDS,
) -> NatixResult:
    """Register and wait for the decision; whatever happens comes back as a value.

    The request is posted once: a second one could count as another registration. Where the server
    may have received it without our hearing so, its status is asked all the same. Questions are
    repeated, less and less often while the server fails.
    """
    run = _Run(clock, Deadline.after(total_seconds, clock), total_seconds, on_progress)
    body = signed_body(hotkey, uid, model_repo, clock.time())
    try:
        await server.post_registration(body)
    except NatixServerError as error:
        if not _may_have_arrived(error):
            return run.end(Outcome.FAILED, error.reason, str(error))
        run.tell(f"{error}; it may have arrived, so its status is asked")
    else:
        run.tell("posted")
    return await _wait_for_decision(server, uid, run, sleep)


async def _wait_for_decision(
    server: NatixServer, uid: int, run: _Run, sleep: Callable[[float], Awaitable[None]]
) -> NatixResult:
    pause, garbled = POLL_SECONDS, 0
    while run.deadline.remaining() > 0:
        await sleep(min(pause, run.deadline.remaining()))
        run.polls += 1
        try:
            status = await server.registration_status(uid)
        except NatixServerError as error:
            run.heard(error.reason, str(error))
            garbled = garbled + 1 if error.reason in _GARBLED else 0
            if _is_final(error) or garbled >= _GARBLED_TIMES:
                return run.end(Outcome.FAILED, error.reason, str(error))
            pause = min(pause * 2, _MAX_POLL_SECONDS)
            continue
        pause, garbled = POLL_SECONDS, 0
        if decided := _decided(status, run):
            return decided
    return run.timed_out()


def _decided(status: Status, run: _Run) -> NatixResult | None:
    if status.word in _SUCCEEDED:
        return run.end(Outcome.SUCCEEDED, status.word, "the server has registered this miner")
    if status.word in _FAILED:
        said = status.error_message or "the server gives no reason"
        return run.end(Outcome.FAILED, status.word, f"the server refuses: {said}")
    known = status.word in _WAITING
    run.heard(status.word, f"status {status.word!r}" + ("" if known else ", a word we do not know"))
    return None


def _may_have_arrived(error: NatixServerError) -> bool:
    """Whether a request that failed like this may count as a registration over there."""
    if not error.sent:
        return False
    return error.status == 0 or 200 <= error.status < 300 or error.status in _GATEWAY


def _is_final(error: NatixServerError) -> bool:
    """Whether asking again is pointless. 404 right after posting is not: the entry may be written
    later; 408, 425 and 429 ask for patience."""
    if error.reason in ("tls", "redirect"):
        return True
    return 400 <= error.status < 500 and error.status not in (404, 408, 425, 429)


class _Run:
    """What is known of one registration while it goes on."""

    def __init__(
        self,
        clock: Clock,
        deadline: Deadline,
        total_seconds: float,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.deadline = deadline
        self.polls = 0
        self._clock = clock
        self._begun = clock.monotonic()
        self._total = total_seconds
        self._on_progress = on_progress
        self._last = ("no-status", "it was never asked")

    def heard(self, reason: str, said: str) -> None:
        self._last = (reason, said)
        self.tell(said)

    def tell(self, said: str) -> None:
        self._on_progress(Progress(said, self._seconds(), self.polls))

    def end(self, outcome: Outcome, reason: str, message: str) -> NatixResult:
        return NatixResult(outcome, reason, message, self.polls, self._seconds())

    def timed_out(self) -> NatixResult:
        reason, said = self._last
        return self.end(
            Outcome.TIMED_OUT,
            reason,
            f"not decided within {self._total:g} s; heard last: {said}. The server may still decide"
            " it: ask it later before registering again",
        )

    def _seconds(self) -> float:
        return round(self._clock.monotonic() - self._begun, 3)
