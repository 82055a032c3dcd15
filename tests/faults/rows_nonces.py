"""Very many signatures, each of them new, and some of them again."""

from __future__ import annotations

import gc
import time
from collections import deque
from itertools import cycle
from pathlib import Path

from bittensor_wallet import Keypair

from natix_miner.errors import RefusedRequestError
from natix_miner.neuron.client import signed_headers
from natix_miner.neuron.verify import SeenNonces, Verifier
from natix_miner.neuron.wire import RequestHead, parse_head
from tests.faults.frame import Claims, Outcome, Scale, fault
from tests.faults.miners import VALIDATORS

WINDOW_SECONDS = 13.0
_OWN = Keypair.create_from_seed("0x" + "07" * 32).ss58_address


class _Clock:
    """Time that goes on by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@fault("distinct-nonces", "a million distinct signatures against the memory for replays")
async def distinct_nonces(scale: Scale, folder: Path) -> Outcome:
    """Real signatures through the real verifier and its memory, in this process (the wire would
    take hours) and in a time of its own: first a fifth more than there is room for within one
    lifetime, then a steady stream that keeps the memory all but full."""
    claims, clock = Claims(), _Clock()
    many = scale.count(20_000, 1_000_000)
    capacity = max(1, many // 5)
    lifetime = 2 * WINDOW_SECONDS
    verifier = Verifier(_OWN, WINDOW_SECONDS, clock)
    seen = SeenNonces(lifetime, capacity, clock)
    validators = cycle(VALIDATORS)
    gc.collect()
    resident_before = _resident_kb()
    begun = time.perf_counter()
    taken = full = other = sent = most = 0
    heads: deque[RequestHead] = deque(maxlen=400)
    flood = capacity + capacity // 5
    for number in range(many):
        if scale.over():
            break
        if number >= flood:
            clock.now += 1.02 * lifetime / capacity
        head = _head(next(validators), int(clock.now * 1e9) + number)
        sent += 1
        try:
            seen.remember(verifier.verify(head))
            taken += 1
            heads.append(head)
        except RefusedRequestError as error:
            full += error.reason == "nonces-full"
            other += error.reason != "nonces-full"
        most = max(most, len(seen))
        if number == flood:
            clock.now += lifetime  # all of the flood is forgotten
    seconds = time.perf_counter() - begun
    grown_kb = _resident_kb() - resident_before
    replayed = sum(_refused_as(seen, verifier, head) == "replayed" for head in heads)
    claims.hold(most <= capacity, f"{most} remembered with room for {capacity}")
    # The first of the steady stream comes before the flood has run out, and is refused too.
    expected = flood - capacity + 1
    claims.hold(sent < many or full == expected, f"{full} refused for want of room, not {expected}")
    claims.hold(other == 0, f"{other} refused for another reason")
    claims.hold(replayed == len(heads), f"{replayed} of {len(heads)} repetitions refused")
    bound_kb = 4000 + capacity * 0.4
    claims.hold(grown_kb < bound_kb, f"memory rose by {grown_kb} KB, over {bound_kb:.0f}")
    return Outcome(
        {
            "signatures": sent,
            "wanted": many,
            "room_for": capacity,
            "accepted": taken,
            "refused_full_503": full,
            "most_remembered": most,
            "repeated": len(heads),
            "repetitions_refused": replayed,
            "memory_grown_kb": grown_kb,
            "bytes_per_place": round(1024 * max(0, grown_kb) / capacity),
            "signed_and_verified_us": round(1e6 * seconds / max(1, sent), 1),
        },
        tuple(claims.broken),
    )


def _head(validator: Keypair, nonce: int) -> RequestHead:
    headers = signed_headers(validator, _OWN, nonce)
    return parse_head((name.encode(), value.encode()) for name, value in headers.items())


def _refused_as(seen: SeenNonces, verifier: Verifier, head: RequestHead) -> str | None:
    try:
        seen.remember(verifier.verify(head))
    except RefusedRequestError as error:
        return error.reason
    return None


def _resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4
