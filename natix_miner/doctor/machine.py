"""The machine and what is installed on it: Python, packages, GPU."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from natix_miner.doctor.row import Finding, fail, ok, warn
from natix_miner.errors import PlanError

DISTRIBUTION = "natix-miner"
#: Extras that belong into the miner's own environment; the others are for servers, tests, training.
MINER_EXTRAS = ("classifier", "detectors", "memory", "ultralytics", "otel")
_QUERY = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits")
_TOOL_SECONDS = 20.0


def check_python(version: str, requires: str | None) -> Finding:
    """Is this Python one that the package is made for? `requires` is its Requires-Python."""
    from packaging.specifiers import SpecifierSet

    if not requires:
        return warn(
            f"Python {version}; {DISTRIBUTION} is not installed as a package, so nothing says which"
            " it needs",
            "pip install -e . in the checkout",
        )
    if SpecifierSet(requires).contains(version, prereleases=True):
        return ok(f"Python {version} (wanted {requires})")
    return fail(
        f"Python {version}, wanted is {requires}",
        "make the virtual environment anew with python3.11 or python3.12",
    )


def check_packages(
    requirements: Iterable[str] | None,
    installed: Callable[[str], str | None],
    constraints: Mapping[str, str],
) -> Finding:
    """Are the packages those that were asked for? `requirements` are those of the metadata,
    `installed` gives a version by name, `constraints` the versions that were tested together."""
    from packaging.requirements import Requirement

    if requirements is None:
        return warn(f"{DISTRIBUTION} is not installed as a package", "pip install -e .")
    missing, wrong, untested, fine = [], [], [], 0
    for text in requirements:
        wanted = Requirement(text)
        extra = _extra_of(wanted, {"extra": ""})
        version = installed(wanted.name)
        if extra is not None and (version is None or extra not in MINER_EXTRAS):
            continue
        if version is None:
            missing.append(str(wanted))
        elif not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} {version} (wanted {wanted.specifier})")
        else:
            fine += 1
            tested = constraints.get(wanted.name.lower())
            if tested is not None and tested != version.partition("+")[0]:
                untested.append(f"{wanted.name} {version} (tested {tested})")
    if missing or wrong:
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"wrong version: {', '.join(wrong)}"] if wrong else []
        return fail("; ".join(parts), "pip install -c constraints.txt -e .")
    if untested:
        return warn(
            f"{fine} packages fit, but others than those tested together: {', '.join(untested)}",
            "pip install -c constraints.txt -e .",
        )
    return ok(f"{fine} packages as the project asks for")


def _extra_of(wanted: object, base: dict[str, str]) -> str | None:
    """The extra that a requirement belongs to, None for one of everybody."""
    marker = getattr(wanted, "marker", None)
    if marker is None or marker.evaluate(base):
        return None
    found = [extra for extra in MINER_EXTRAS if marker.evaluate({"extra": extra})]
    return found[0] if found else "another"


def requirements_here() -> list[str] | None:
    """The requirements of this package by its metadata, None when it is not installed."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None


def requires_python_here() -> str | None:
    """The Pythons that this package is made for, None when it is not installed."""
    try:
        told = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    return next(iter(told.get_all("Requires-Python") or ()), None)


def version_of(name: str) -> str | None:
    """The installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def read_constraints(path: Path) -> dict[str, str]:
    """Versions by name out of a constraints file; empty where there is none."""
    if not path.is_file():
        return {}
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {name.strip().lower(): version.strip() for name, _, version in pairs}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as its driver tells it; `gigabytes` of 10^9 bytes."""

    name: str
    driver: str
    gigabytes: float


def gpus_told(tool: str = "nvidia-smi") -> list[Gpu] | None:
    """The GPUs here, None where there is no such tool. Raises PlanError when it is there and does
    not answer as expected."""
    try:
        done = subprocess.run(
            [tool, *_QUERY], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False
        )
    except FileNotFoundError:
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(f"{tool} does not answer ({error}); install the driver anew") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise PlanError(f"{tool} does not tell which GPUs there are ({said}); see to the driver")
    rows = [line.split(",") for line in done.stdout.splitlines() if line.strip()]
    try:
        return [Gpu(a.strip(), b.strip(), int(c) * 2**20 / 1e9) for a, b, c in rows]
    except ValueError as error:
        raise PlanError(f"{tool} answered {done.stdout.strip()!r}; see to the driver") from error


def check_gpu(
    servers: frozenset[int],
    experts: frozenset[int],
    told: Callable[[], list[Gpu] | None],
    torch_sees: Callable[[], int],
) -> Finding:
    """Are the GPUs there that a profile names by index, for its servers and for the experts of the
    miner's own process? `torch_sees` counts those that the miner's torch can use; it is asked only
    where an expert wants one."""
    wanted = servers | experts
    try:
        found = told()
    except PlanError:
        if wanted:
            raise
        return warn(
            "the driver's tool is there and does not answer; this profile needs no GPU",
            "see to the driver before you take a profile with GPUs",
        )
    shown = (
        ", ".join(f"{gpu.name} {gpu.gigabytes:.0f} GB, driver {gpu.driver}" for gpu in found or ())
        or "none"
    )
    if not wanted:
        return ok(f"this profile needs none; here: {shown}")
    missing = sorted(index for index in wanted if index >= len(found or ()))
    if missing:
        return fail(
            f"the profile wants GPU {', '.join(map(str, missing))}; here: {shown}",
            "take another --profile, or install the driver (nvidia-smi must list the GPU)",
        )
    if experts and (seen := torch_sees()) <= max(experts):
        return fail(
            f"torch sees {seen} GPUs, the profile's experts want index {max(experts)};"
            f" here: {shown}",
            "install the torch that is built for CUDA",
        )
    return ok(shown)
