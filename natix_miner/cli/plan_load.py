"""The part of `natix-miner plan --load` that loads experts and tells what they took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from natix_miner.cli.tables import show_table

if TYPE_CHECKING:
    from natix_miner.catalogue import Catalogue
    from natix_miner.experts.family import ExpertSettings
    from natix_miner.profile import Profile
    from natix_miner.serving.measured import Measured

HEADS = (
    "expert",
    "type",
    "device",
    "computed MB",
    "resident MB",
    "peak MB",
    "on the GPU MB",
    "libraries MB",
    "seconds",
    "remark",
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One expert: what was computed (MB of weights, None where nobody knows) and what it took."""

    expert: str
    settings: ExpertSettings
    computed: float | None
    measured: Measured


def load_all(profile: Profile, catalogue: Catalogue) -> list[Loaded]:
    """Load every expert of a profile that runs in the miner's process, one after the other.

    Raises LicenceError as starting the miner would.
    """
    from natix_miner.profile.licences import refuse_unaccepted
    from natix_miner.serving.in_process import weights_of
    from natix_miner.serving.measured import measure

    refuse_unaccepted(profile)
    found = []
    for section in profile.experts:
        for name, settings in profile.experts_of(section).items():
            if settings.asks:
                continue
            sizes = [part.gigabytes for part in weights_of(settings, catalogue, profile.folder)]
            known = [size for size in sizes if size is not None]
            computed = sum(known) * 1000 if len(known) == len(sizes) else None
            took = measure(name, settings, profile.folder, profile.path(profile.catalogue))
            found.append(Loaded(name, settings, computed, took))
    return found


def show_loaded(profile: str, loaded: list[Loaded]) -> None:
    """The table; experts that could not be loaded say why in their row."""
    rows = [_row(one) for one in loaded]
    show_table(HEADS, rows, title=f"{profile}: experts as loaded", whole=range(len(HEADS) - 1))


def documents(loaded: list[Loaded]) -> list[dict[str, Any]]:
    """The same as plain values, in MB and seconds; figures are None where loading failed."""
    return [
        {
            "expert": one.expert,
            "type": one.settings.type,
            "device": _device(one.settings),
            "computed_mb": None if one.computed is None else round(one.computed, 1),
            **_figures(one.measured),
        }
        for one in loaded
    ]


def _figures(measured: Measured) -> dict[str, Any]:
    plain = asdict(measured)
    error = plain.pop("error")
    names = {"seconds": "seconds"} | {name: f"{name}_mb" for name in plain if name != "seconds"}
    return {
        **{
            names[name]: None if error or value is None else round(value, 2)
            for name, value in plain.items()
        },
        "error": error,
    }


def _row(one: Loaded) -> tuple[str, ...]:
    took = one.measured
    figures = (took.resident, took.peak, took.on_gpu, took.libraries)
    told = ["-"] * 5 if took.error else [*map(_mb, figures), f"{took.seconds:.1f}"]
    return (
        one.expert,
        one.settings.type,
        _device(one.settings),
        "?" if one.computed is None else _mb(one.computed),
        *told,
        took.error or "-",
    )


def _device(settings: ExpertSettings) -> str:
    return str(getattr(settings, "device", "cpu"))


def _mb(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
