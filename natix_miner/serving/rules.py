"""What speaks against one server on one GPU, and in which words."""

from __future__ import annotations

from collections.abc import Sequence

from natix_miner.serving.memory import GB, ModelSize, Need, cache_of, utilization
from natix_miner.serving.plan import Card
from natix_miner.serving.settings import ServerSettings
from natix_miner.serving.sizes import Unplannable

#: Rounding of stated sizes is no reason to refuse.
SLACK = 0.05 * GB
#: What is wrong and whether it is certain; None where nothing is.
Verdict = tuple[str, bool] | None


def verdict_on(size: ModelSize, settings: ServerSettings, need: Need, card: Card) -> Verdict:
    """The first thing wrong with adding a server to what sits on a GPU already."""
    return (
        too_heavy(size, need, card)
        or share_too_small(settings, size, need, card)
        or start_refused(settings, card)
        or cache_too_small(settings, size, need)
        or card_full(need, card)
    )


def too_heavy(size: ModelSize, need: Need, card: Card) -> Verdict:
    """The weights alone exceed the GPU."""
    if need.weights <= card.total:
        return None
    return (
        f"the weights of {size.name} alone are {gb(need.weights)} on GPU {card.index}, which has "
        f"{gb(card.total)}{floor(size)}",
        True,
    )


def share_too_small(settings: ServerSettings, size: ModelSize, need: Need, card: Card) -> Verdict:
    """The claimed share does not cover W + K + A + G + C."""
    share = utilization(settings.arguments) * card.total
    if need.total <= share + SLACK:
        return None
    claimed = (
        f"gpu_memory_utilization {utilization(settings.arguments):g} of {gb(card.total)} is "
        f"{gb(share)}"
    )
    if need.weights > share:
        # With its cache's size given, vLLM would look at nothing but free memory.
        certain = settings.arguments.kv_cache_memory_bytes is None
        weights = f"the weights of {size.name} alone are {gb(need.weights)}"
        return (f"{claimed}, but {weights}{floor(size)}", certain)
    return (f"{claimed}, but {size.name} needs {parts(need)}", False)


def start_refused(settings: ServerSettings, card: Card) -> Verdict:
    """The claimed share is not free by the time that the server starts (rule 1)."""
    share = utilization(settings.arguments) * card.total
    if share <= card.left + SLACK:
        return None
    unset = settings.arguments.gpu_memory_utilization is None
    which = "vLLM's default of 0.92, as none is set" if unset else "its gpu_memory_utilization"
    lightest = card.total - sum(part.need.weights for part in card.shares)
    return (
        f"starts only when {gb(share)} of GPU {card.index} are free ({which}), but "
        f"{gb(max(card.left, 0.0))} are left by then",
        share > lightest,
    )


def cache_too_small(settings: ServerSettings, size: ModelSize, need: Need) -> Verdict:
    """The cache does not hold one sequence of the longest length (rule 2)."""
    longest = settings.arguments.max_model_len or size.context
    if longest is None or not size.has_shape:
        return None
    least = cache_of(size, settings.arguments, 1, longest)
    if need.cache >= least:
        return None
    hint = "" if settings.arguments.max_model_len else "; set max_model_len, our prompts are short"
    return (
        f"a cache of {gb(need.cache)} does not hold one sequence of {longest} tokens "
        f"({gb(least)}){hint}",
        not size.state_bytes,
    )


def card_full(need: Need, card: Card) -> Verdict:
    """Together with those before it takes more than there is."""
    if need.total <= card.left + SLACK:
        return None
    lightest = need.weights + sum(part.need.weights for part in card.shares)
    return (
        f"needs {parts(need)} of GPU {card.index}, where {gb(max(card.left, 0.0))} of "
        f"{gb(card.total)} are left",
        lightest > card.total,
    )


def cannot(settings: ServerSettings, size: Unplannable, totals: Sequence[float]) -> str:
    """Why a model cannot be placed at all; with what its name promises against what was claimed."""
    claim = settings.arguments.gpu_memory_utilization
    known = [totals[index] for index in settings.gpus if index < len(totals)]
    if size.floor_gb is None:
        return size.reason
    told = f"{size.reason}; what its name promises takes at least {size.floor_gb:.1f} GB (4.16 bit)"
    return f"{told}, not {gb(claim * sum(known))}" if claim and known else told


def parts(need: Need) -> str:
    """A sum and what it is made of."""
    return (
        f"{gb(need.total)} (weights {need.weights / GB:.1f}, cache {need.cache / GB:.1f}, "
        f"activations {need.activations / GB:.1f}, graphs and context "
        f"{(need.graphs + need.context) / GB:.1f})"
    )


def floor(size: ModelSize) -> str:
    """The end of a sentence: the least that the model could take in any format."""
    if size.floor is None:
        return ""
    return f"; no format in use takes it below {gb(size.floor)} (4.16 bit)"


def gb(size: float) -> str:
    """Bytes in GB, for people."""
    return f"{size / GB:.1f} GB"
