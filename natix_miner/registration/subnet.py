"""Registering the hotkey on the subnet: what it would cost and bring first, then paying for it.

The price agreed to is the price paid at most: it goes to the chain as a limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from natix_miner.errors import ChainError, RegistrationError
from natix_miner.neuron.snapshot import ChainSnapshot
from natix_miner.neuron.subnet_state import SubnetState, state_of
from natix_miner.neuron.subtensor import read_subnet

Result = TypeVar("Result")

RAO_PER_TAO = 1_000_000_000
#: Share of the price that it may rise by while the request travels; the SDK's own tolerance.
_TOLERANCE = 5 / 1000
#: Inclusion and finalisation take a handful of blocks of 12 s.
_REGISTER_SECONDS = 180.0
_READ_SECONDS = 30.0
_BLOCK_SECONDS = 12.0
#: How often the subnet is read again before a registration counts as not to be seen.
_LOOKS = 3


class Chain(Protocol):
    """neuron.subtensor.SubtensorSource: one bounded connection a call; raises ChainError."""

    def call(self, work: Callable[[Any], Awaitable[Result]], seconds: float) -> Result: ...


@dataclass(frozen=True, slots=True)
class SubnetOffer:
    """What registering would cost and bring, at one block.

    `cost_rao` and `balance_rao` in rao (10^-9 TAO); the balance is None without a coldkey's public
    address. `uid` is that of the hotkey, None while it is not registered.
    """

    netuid: int
    block: int
    state: SubnetState
    cost_rao: int
    balance_rao: int | None
    uid: int | None

    @property
    def limit_rao(self) -> int:
        """The most that registering may cost once this offer was agreed to."""
        return self.cost_rao + int(self.cost_rao * _TOLERANCE)


@dataclass(frozen=True, slots=True)
class SubnetResult:
    """What became of it: `uid` when the hotkey is registered now, else None and why not."""

    uid: int | None
    message: str


def tao(rao: int) -> str:
    """An amount for people, exact to the rao."""
    whole, rest = divmod(rao, RAO_PER_TAO)
    decimals = f"{rest:09d}".rstrip("0")
    return f"{whole}.{decimals.ljust(4, '0')} TAO"


def read_offer(
    chain: Chain, netuid: int, hotkey: str, coldkey: str | None, attempts: int = 1
) -> SubnetOffer:
    """Price, balance and state of the subnet now, tried on `attempts` endpoints in turn.

    Raises ChainError when none of them tells.
    """
    work = partial(_read_offer, netuid=netuid, hotkey=hotkey, coldkey=coldkey)
    failures = []
    for _ in range(attempts):
        try:
            return chain.call(work, _READ_SECONDS)
        except ChainError as error:
            failures.append(str(error).removesuffix("; the next one is asked").rstrip(": "))
    raise ChainError(
        f"{'; '.join(failures)}; nothing was sent: check the network, or give --chain-endpoint"
    )


def register_on_subnet(
    chain: Chain,
    wallet: Any,
    hotkey: str,
    offer: SubnetOffer,
    *,
    limit_rao: int,
    sleep: Callable[[float], None],
) -> SubnetResult:
    """Register, paying `limit_rao` at most, and look whether the chain shows it.

    `wallet` is the SDK's, its coldkey unlocked: asking for a password takes longer than a
    connection may. A chain that fell silent in the middle is asked again what came of it.
    """
    work = partial(_register, wallet=wallet, netuid=offer.netuid, limit_rao=limit_rao)
    try:
        success, message = chain.call(work, _REGISTER_SECONDS)
    except ChainError as error:
        success, message = False, f"the chain fell silent while registering ({error})"
        looks = _LOOKS
    else:
        looks = _LOOKS if success else 1
    try:
        uid = _look(chain, offer.netuid, hotkey, looks, sleep)
    except ChainError as error:
        said = "the chain took it" if success else message
        return SubnetResult(
            None, f"{said}; whether the hotkey is registered could not be read again ({error})"
        )
    if uid is not None:
        return SubnetResult(uid, message)
    if success:
        message = f"the chain said yes ({message}), yet does not show the hotkey"
    return SubnetResult(None, message)


def unlock_coldkey(wallet: Any) -> None:
    """Unlock the coldkey, asking for its password by the SDK's own way.

    Raises RegistrationError for a wrong password or an unreadable file; the message holds nothing
    of either.
    """
    from bittensor_wallet.errors import KeyFileError, PasswordError

    try:
        wallet.unlock_coldkey()
    except PasswordError:
        raise RegistrationError("the coldkey's password is wrong; nothing was sent") from None
    except (KeyFileError, OSError) as error:
        raise RegistrationError(
            f"the coldkey cannot be read ({type(error).__name__}); nothing was sent"
        ) from None


async def _read_offer(subtensor: Any, netuid: int, hotkey: str, coldkey: str | None) -> SubnetOffer:
    snapshot = await read_subnet(subtensor, netuid)
    cost = await subtensor.recycle(netuid=netuid, block=snapshot.block)
    if cost is None:
        raise ChainError(f"subnet {netuid} has no price; check --netuid and --network")
    balance = None
    if coldkey is not None:
        balance = await subtensor.get_balance(address=coldkey, block=snapshot.block)
    neuron = snapshot.neuron_of(hotkey)
    return SubnetOffer(
        netuid=netuid,
        block=snapshot.block,
        state=state_of(snapshot),
        cost_rao=int(cost.rao),
        balance_rao=None if balance is None else int(balance.rao),
        uid=None if neuron is None else neuron.uid,
    )


async def _register(subtensor: Any, wallet: Any, netuid: int, limit_rao: int) -> tuple[bool, str]:
    from bittensor.utils.balance import Balance

    response = await subtensor.register(
        wallet=wallet, netuid=netuid, limit_price=Balance.from_rao(limit_rao)
    )
    return bool(response.success), str(response.message)


def _look(
    chain: Chain, netuid: int, hotkey: str, times: int, sleep: Callable[[float], None]
) -> int | None:
    """The uid of the hotkey as the chain shows it; looks `times`, a block apart."""
    for look in range(times):
        if look:
            sleep(_BLOCK_SECONDS)
        snapshot: ChainSnapshot = chain.call(partial(read_subnet, netuid=netuid), _READ_SECONDS)
        neuron = snapshot.neuron_of(hotkey)
        if neuron is not None:
            return neuron.uid
    return None
