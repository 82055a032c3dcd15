"""Who is let in, in which order the questions are asked, and how many may be inside.

size -> headers -> signature and nonce window -> hotkey in the snapshot -> validator permit ->
replay -> places -> pace. The body is not read before all of them are answered: whoever is not
admitted costs one signature check, no memory and no parsing. Nothing is remembered or counted for a
hotkey before its signature was verified, and the memory of nonces is open to permitted hotkeys
only, so nobody can fill it with keys that he makes himself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from natix_miner.errors import RefusedRequestError
from natix_miner.neuron.rate import RateLimit
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.verify import SeenNonces, Verifier
from natix_miner.neuron.wire import RequestHead


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """Limits of one axon: bytes of a body, bytes of all bodies held at once, places in all and for
    one hotkey, and whether a validator permit is demanded."""

    max_body_bytes: int
    max_held_bytes: int
    max_in_flight: int
    max_in_flight_per_hotkey: int
    require_permit: bool


class Admission:
    """The doorkeeper. Lives on the axon's loop; not thread-safe.

    `rate` bounds the pace of each hotkey; None lets everybody be as quick as he likes.
    """

    def __init__(
        self,
        own_hotkey: str,
        verifier: Verifier,
        seen: SeenNonces,
        snapshot: Callable[[], ChainSnapshot | None],
        rules: AdmissionRules,
        rate: RateLimit | None = None,
    ) -> None:
        self._own_hotkey = own_hotkey
        self._verifier = verifier
        self._seen = seen
        self._snapshot = snapshot
        self.rules = rules
        self._rate = rate
        self._inside: Counter[str] = Counter()
        self._held_bytes = 0
        #: Until the rehearsal is over, only our own hotkey is let in.
        self.rehearsing = False
        self.stopping = False

    @property
    def in_flight(self) -> int:
        """Requests that are inside."""
        return self._inside.total()

    def check_open(self) -> None:
        """Raises RefusedRequestError (503) while the miner is stopping."""
        if self.stopping:
            raise RefusedRequestError(503, "stopping", "the miner is stopping")

    def check_announced_size(self, content_length: int | None) -> None:
        """Raises RefusedRequestError (413) when the sender announces too much."""
        if content_length is not None and content_length > self.rules.max_body_bytes:
            raise self.too_large()

    def too_large(self) -> RefusedRequestError:
        """The refusal of a body over the limit."""
        return RefusedRequestError(
            413, "too-large", f"the body is larger than {self.rules.max_body_bytes} bytes"
        )

    def admit(self, head: RequestHead) -> str:
        """The verified hotkey of a request that may come in.

        Raises RefusedRequestError: 401 not verified, 403 not of this subnet or no permit, 429 too
        many of one hotkey or too fast, 503 no room, no snapshot, not yet serving."""
        if head.content_type is not None and "json" not in head.content_type.lower():
            raise RefusedRequestError(415, "content-type", "send application/json")
        key = self._verifier.verify(head)
        hotkey = head.hotkey or ""
        if self.rehearsing:
            if hotkey != self._own_hotkey:
                raise RefusedRequestError(503, "starting", "the miner is not yet serving")
        else:
            self._check_registered(hotkey)
        self._seen.remember(key)
        if self.in_flight >= self.rules.max_in_flight:
            raise RefusedRequestError(503, "full", "too many requests in flight")
        if self._inside[hotkey] >= self.rules.max_in_flight_per_hotkey:
            raise RefusedRequestError(429, "too-many", "too many requests of one hotkey in flight")
        if not self.rehearsing and self._rate is not None:
            self._check_pace(self._rate, hotkey)
        return hotkey

    @staticmethod
    def _check_pace(rate: RateLimit, hotkey: str) -> None:
        # Last of all: what is refused for another reason, a replay by somebody else above all,
        # takes nothing of this hotkey's share.
        wait = rate.take(hotkey)
        if wait > 0.0:
            raise RefusedRequestError(
                429, "rate", f"too many queries of one hotkey; wait {wait:.1f} s", wait
            )

    def _check_registered(self, hotkey: str) -> None:
        snapshot = self._snapshot()
        if snapshot is None:
            raise RefusedRequestError(503, "no-snapshot", "no snapshot of the chain yet")
        neuron = snapshot.neuron_of(hotkey)
        if neuron is None:
            raise RefusedRequestError(
                403, "unregistered", f"forbidden: hotkey is not registered on {snapshot.netuid}"
            )
        if self.rules.require_permit and not neuron.validator_permit:
            raise RefusedRequestError(403, "no-permit", "forbidden: no validator permit")

    @contextmanager
    def place(self, hotkey: str) -> Iterator[None]:
        """One place inside for as long as a request is worked on."""
        self._inside[hotkey] += 1
        try:
            yield
        finally:
            self._inside[hotkey] -= 1
            if not self._inside[hotkey]:
                del self._inside[hotkey]

    def hold(self, size: int) -> None:
        """Account for `size` more bytes of bodies in memory; raises 503 when that is too much.

        Whatever was held must be given back with `release`.
        """
        if self._held_bytes + size > self.rules.max_held_bytes:
            raise RefusedRequestError(503, "full", "too many bytes of bodies in flight")
        self._held_bytes += size

    def release(self, size: int) -> None:
        """Give back what `hold` took."""
        self._held_bytes -= size
