"""Registering and publishing: what an operator does once, before the miner runs.

Registering on the subnet (costs TAO), registering with the NATIX application server and publishing
the model (both optional). Nothing here is needed by a running miner.
"""

from __future__ import annotations

from natix_miner.registration.btcli import btcli_line
from natix_miner.registration.names import check_base_url, check_repository, check_uid
from natix_miner.registration.natix import NatixResult, Outcome, register_with_natix
from natix_miner.registration.subnet import SubnetOffer, read_offer, register_on_subnet

__all__ = [
    "NatixResult",
    "Outcome",
    "SubnetOffer",
    "btcli_line",
    "check_base_url",
    "check_repository",
    "check_uid",
    "read_offer",
    "register_on_subnet",
    "register_with_natix",
]
