"""Running checks one after the other so that none of them can spoil the others.

A check that raises what this package raises on purpose becomes a row that fails with that message;
any other exception becomes one that names it; one that does not come to an end within its time is
left behind and told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from natix_miner.doctor.row import Finding, Row, Status, fail
from natix_miner.errors import NatixMinerError

#: Seconds that a check may take unless it says otherwise.
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Check:
    """One look: its stable name in kebab case, what to call, seconds it may take."""

    name: str
    look: Callable[[], Finding]
    seconds: float = SECONDS


def examine(
    checks: Iterable[Check],
    on_begin: Callable[[str], None] | None = None,
    on_row: Callable[[Row], None] | None = None,
    clean: Callable[[str], str] = str,
) -> list[Row]:
    """A row for every check, in order. Never raises for what a check does.

    `clean` takes secrets out of what is told (keys in addresses come back in errors)."""
    rows = []
    for check in checks:
        if on_begin is not None:
            on_begin(check.name)
        finding = _found(check)
        detail, advice = clean(finding.detail), clean(finding.advice)
        row = Row(check.name, finding.status, detail, advice)
        if on_row is not None:
            on_row(row)
        rows.append(row)
    return rows


def failed(rows: Iterable[Row]) -> bool:
    """Whether any row fails."""
    return any(row.status is Status.FAIL for row in rows)


def _found(check: Check) -> Finding:
    """The check's finding, or what became of the check: libraries below it raise dozens of types,
    so the end of its thread is looked at instead of catching by type."""
    worker = ThreadPoolExecutor(1, thread_name_prefix=f"doctor-{check.name}")
    future: Future[Finding] = worker.submit(check.look)
    wait({future}, timeout=check.seconds)
    worker.shutdown(wait=False, cancel_futures=True)
    if not future.done():
        return fail(
            f"the check did not come to an end within {check.seconds:g} s",
            "try it again on a quieter machine; if it stays, what it asks hangs",
        )
    failure = future.exception()
    if failure is None:
        return future.result()
    if isinstance(failure, NatixMinerError):
        said, _, advice = " ".join(str(failure).split()).rpartition("; ")
        return fail(said or advice, advice if said else "see the detail")
    return fail(
        f"the check itself broke: {type(failure).__name__}: {str(failure)[:300]}",
        "a fault of this program: report it with this line; the other rows hold",
    )
