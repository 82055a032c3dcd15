"""What one look at the machine found: a row of the doctor's table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARN = "warn"  # the miner runs, but something costs or will cost
    FAIL = "fail"  # the miner cannot start, or cannot earn
    SKIPPED = "skipped"  # not looked at; `detail` says why


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says: `detail` is what is so, `advice` what to do, empty when all is well."""

    status: Status
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A finding under the stable name of its check."""

    check: str
    status: Status
    detail: str
    advice: str

    def document(self) -> dict[str, str]:
        """The row as plain values, for JSON."""
        return {
            "check": self.check,
            "status": str(self.status),
            "detail": self.detail,
            "advice": self.advice,
        }


def ok(detail: str) -> Finding:
    """Nothing to do."""
    return Finding(Status.OK, detail)


def warn(detail: str, advice: str) -> Finding:
    """It runs, but see to it."""
    return Finding(Status.WARN, detail, advice)


def fail(detail: str, advice: str) -> Finding:
    """It does not run like this."""
    return Finding(Status.FAIL, detail, advice)


def skipped(reason: str) -> Finding:
    """Not looked at."""
    return Finding(Status.SKIPPED, reason)


#: From harmless to serious.
_ORDER = (Status.SKIPPED, Status.OK, Status.WARN, Status.FAIL)


def worst_of(findings: Iterable[Finding]) -> Finding:
    """Several findings as one: the most serious status, all details and advices, worst first."""
    ranked = sorted(findings, key=lambda finding: -_ORDER.index(finding.status))
    if not ranked:
        raise ValueError("worst_of needs a finding")
    return Finding(
        ranked[0].status,
        "; ".join(finding.detail for finding in ranked),
        "; ".join(dict.fromkeys(finding.advice for finding in ranked if finding.advice)),
    )
