"""Is the subnet worth serving now? A halted subnet told apart from a broken miner.

Read off one snapshot of the chain: who may set weights, when they last did, and who holds the
incentive. A miner that hears nothing on a subnet whose validators are silent is not broken."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from natix_miner.neuron.snapshot import ChainSnapshot, Neuron

#: Blocks without new weights after which validators count as silent: a day of 12-second blocks.
SILENT_BLOCKS = 7200
#: Share of all incentive on one uid from which the emission counts as burnt.
BURNT_SHARE = 0.99


class SubnetWord(StrEnum):
    """What a subnet does, in one word."""

    PAYING = "paying"
    BURNING = "burning"  # all incentive goes to one uid
    SILENT = "silent"  # no validator sets weights any more
    UNKNOWN = "unknown"  # the snapshot does not tell


@dataclass(frozen=True, slots=True)
class SubnetState:
    """A subnet at one block.

    `validators` have a permit; `newest_update_blocks` is how many blocks ago any of them set
    weights, None when that is not told; `paid_miners` have incentive and no permit;
    `largest_share`, in [0, 1], is the part of all incentive that one uid holds; `reason` is one
    sentence for an operator.
    """

    word: SubnetWord
    validators: int
    newest_update_blocks: int | None
    paid_miners: int
    largest_share: float
    reason: str


def state_of(snapshot: ChainSnapshot) -> SubnetState:
    """What the subnet of a snapshot does. Silence is said before burning: where nobody sets
    weights, what incentive the chain still shows is old."""
    validators = [neuron for neuron in snapshot.neurons if neuron.validator_permit]
    updates = [v.last_update for v in validators if v.last_update is not None]
    newest = max(0, snapshot.block - max(updates)) if updates else None
    paid = sum(n.incentive > 0 and not n.validator_permit for n in snapshot.neurons)
    richest, share = _richest(snapshot.neurons)
    word, reason = _word(len(validators), newest, paid, richest, share)
    return SubnetState(word, len(validators), newest, paid, share, reason)


def _richest(neurons: tuple[Neuron, ...]) -> tuple[Neuron | None, float]:
    """The neuron with the most incentive and its share of all; None and 0 where nobody has any."""
    total = sum(neuron.incentive for neuron in neurons)
    if total <= 0:
        return None, 0.0
    richest = max(neurons, key=lambda neuron: neuron.incentive)
    return richest, richest.incentive / total


def _word(
    validators: int, newest: int | None, paid: int, richest: Neuron | None, share: float
) -> tuple[SubnetWord, str]:
    if not validators:
        return SubnetWord.SILENT, "no validator has a permit: nobody can send queries or pay"
    if newest is not None and newest > SILENT_BLOCKS:
        return (
            SubnetWord.SILENT,
            f"none of {validators} validators set weights for {newest} blocks"
            f" ({newest / SILENT_BLOCKS:.1f} days): the subnet is halted, not this miner broken",
        )
    if richest is not None and share >= BURNT_SHARE:
        return (
            SubnetWord.BURNING,
            f"uid {richest.uid} holds {share:.1%} of all incentive: emission is burnt, no answer of"
            " a miner is paid",
        )
    if richest is None:
        return SubnetWord.UNKNOWN, "no uid has any incentive: nobody is paid, and nothing says why"
    if newest is None:
        return SubnetWord.UNKNOWN, "the snapshot does not tell when validators last set weights"
    return (
        SubnetWord.PAYING,
        f"{validators} validators, the newest weights {newest} blocks old;"
        f" {paid} miners hold incentive",
    )
