"""The doctor: looks at the machine, the wallet, the chain and the judge before money is spent."""

from natix_miner.doctor.diagnosis import Diagnosis, Options
from natix_miner.doctor.examine import Check, examine, failed
from natix_miner.doctor.row import Finding, Row, Status

__all__ = [
    "Check",
    "Diagnosis",
    "Finding",
    "Options",
    "Row",
    "Status",
    "examine",
    "failed",
]
