"""What the chain says: the clock against a block's time, our registration, the subnet's state."""

from __future__ import annotations

import subprocess

from natix_miner.doctor.chain import ChainFacts
from natix_miner.doctor.row import Finding, fail, ok, skipped, warn
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.subnet_state import SubnetWord, state_of

#: Nonces more than 13 s off are refused (`nonce_window_seconds`), so this much costs nothing yet.
WARN_SECONDS = 2.0
FAIL_SECONDS = 10.0
_CORRECT = "timedatectl set-ntp true, or install chrony; then look again"
_TOOL_SECONDS = 5.0


def check_clock(facts: ChainFacts) -> Finding:
    """This machine's clock against the time of a block.

    A block may be heard of up to `facts.lag` seconds after it was made, so what is told is what
    cannot be explained by that; a block from the future cannot be explained at all.
    """
    made = facts.snapshot.time
    if made is None:
        return skipped("the chain snapshot does not tell the time of its block")
    late = facts.heard_at - made
    if late < 0:
        off, word = -late, "behind"
    else:
        off, word = max(0.0, late - facts.lag), "ahead of"
    if off <= WARN_SECONDS:
        return ok(f"within {WARN_SECONDS:g} s of the chain's clock, as far as blocks can tell")
    told = f"this machine's clock is {off:.1f} s {word} the time of block {facts.snapshot.block}"
    if off <= FAIL_SECONDS:
        return warn(f"{told}; requests over 13 s off are refused", _CORRECT)
    return fail(f"{told}: signed requests of validators look stale or forged", _CORRECT)


def check_clock_offline(synchronised: bool | None) -> Finding:
    """The system's own word for its clock, when there is no chain to ask."""
    if synchronised is None:
        return skipped(
            "no time of a block to compare with, and the system does not tell whether its clock is"
            " synchronised"
        )
    if synchronised:
        return ok("the system says that its clock is synchronised; no block to compare with")
    return warn("the system says that its clock is not synchronised", _CORRECT)


def synchronised_here() -> bool | None:
    """Whether timedatectl says that the clock is kept by a time server; None when it cannot."""
    command = ["timedatectl", "show", "--property", "NTPSynchronized", "--value"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip()) if done.returncode == 0 else None


def check_registration(address: str, facts: ChainFacts) -> Finding:
    """Is our hotkey on the subnet, and if not, what would it cost?"""
    snapshot = facts.snapshot
    neuron = snapshot.neuron_of(address)
    if neuron is None:
        cost = "not known here" if facts.cost is None else f"{facts.cost:.6g} TAO now"
        return warn(
            f"hotkey {address} is not registered on subnet {snapshot.netuid}; registration costs:"
            f" {cost}",
            "read the row `subnet` first; then natix-miner register subnet",
        )
    where = f"{neuron.ip}:{neuron.port}" if neuron.port else "no axon published yet"
    return ok(
        f"uid {neuron.uid} on subnet {snapshot.netuid}, {where}, incentive {neuron.incentive:.5f},"
        f" emission {neuron.emission:.4f} alpha a tempo"
    )


def check_subnet(snapshot: ChainSnapshot) -> Finding:
    """Does the subnet live? What is halted there is no fault of this miner, so nothing here fails;
    but it is what to look at before money is spent."""
    state = state_of(snapshot)
    newest = state.newest_update_blocks
    miners = sum(n.emission for n in snapshot.neurons if not n.validator_permit)
    detail = (
        f"{state.word}: {state.reason}; validators with a permit: {state.validators}, newest"
        f" weights: {'not told' if newest is None else f'{newest} blocks ago'}, emission to uids"
        f" without one: {miners:.4f} alpha a tempo to {state.paid_miners} of them, largest share"
        f" of the incentive: {state.largest_share:.1%}"
    )
    if state.word is SubnetWord.PAYING:
        return ok(detail)
    if state.word is SubnetWord.UNKNOWN:
        return warn(detail, "ask a real chain endpoint before you spend anything")
    return warn(
        detail,
        "not a fault of this miner: wait, and spend nothing on registration until this row says"
        " paying",
    )
