"""The age of a submission, and the rule that upstream planned for it."""

from __future__ import annotations

FULL_DAYS = 45
ZERO_DAYS = 90
_DAY_SECONDS = 86400
RULE = (
    f"upstream planned: full reward for {FULL_DAYS} days after a submission, falling to zero at"
    f" day {ZERO_DAYS}; its documents struck this in February 2026"
)


def age_days(submission_time: int, now: float) -> float:
    """Days since a submission; negative when it lies in the future."""
    return (now - submission_time) / _DAY_SECONDS


def word_for(days: float) -> str:
    """What the planned rule would say of a submission of this age."""
    if days < 0:
        return "lies in the future: check the clock of the machine that published it"
    if days <= FULL_DAYS:
        return f"full reward for {FULL_DAYS - days:.0f} more days"
    if days < ZERO_DAYS:
        return f"reward falling, zero in {ZERO_DAYS - days:.0f} days"
    return "no reward any more"
