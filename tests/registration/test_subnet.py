"""Reading the price of a registration and paying it, against a double of the chain."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
from bittensor_wallet import Keypair, Wallet
from bittensor_wallet.errors import PasswordError

from natix_miner.errors import ChainError, RegistrationError
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.subnet_state import SubnetWord
from natix_miner.registration import btcli_line, read_offer, register_on_subnet
from natix_miner.registration.subnet import tao, unlock_coldkey
from tests.registration.chain_double import ChainDouble, neuron

BLOCK = 6_000_000
COLDKEY = Keypair.create_from_seed("0x" + "07" * 32).ss58_address


def paying() -> list:
    return [
        neuron(0, "validator", permit=True, last_update=BLOCK - 40),
        neuron(1, "miner-a", incentive=0.6),
        neuron(2, "miner-b", incentive=0.4),
    ]


@pytest.fixture
def wallet(hotkey):
    return SimpleNamespace(hotkey=hotkey)


def test_an_offer_tells_cost_balance_state_and_uid(hotkey):
    chain = ChainDouble([*paying(), neuron(3, hotkey.ss58_address)])
    offer = read_offer(chain, 72, hotkey.ss58_address, COLDKEY)
    assert (offer.cost_rao, offer.balance_rao, offer.uid) == (25_000_000, 10**9, 3)
    assert offer.state.word is SubnetWord.PAYING
    assert offer.state.paid_miners == 2
    assert chain.asked == ["block", "neurons", "cost", f"balance {COLDKEY}"]


def test_without_a_coldkeys_address_no_balance_is_asked(hotkey):
    chain = ChainDouble(paying())
    offer = read_offer(chain, 72, hotkey.ss58_address, None)
    assert (offer.balance_rao, offer.uid) == (None, None)
    assert not any(word.startswith("balance") for word in chain.asked)


def test_a_subnet_without_a_price_is_refused(hotkey):
    with pytest.raises(ChainError, match="subnet 72 has no price"):
        read_offer(ChainDouble(paying(), cost=None), 72, hotkey.ss58_address, None)


def test_every_endpoint_is_tried_and_every_failure_told(hotkey):
    assert read_offer(ChainDouble(paying(), fails=1), 72, hotkey.ss58_address, None, attempts=2)
    with pytest.raises(ChainError, match=r"30 s; wss://double .* 30 s; nothing was sent"):
        read_offer(ChainDouble(paying(), fails=2), 72, hotkey.ss58_address, None, attempts=2)


def test_registering_pays_the_agreed_price_at_most_and_looks(wallet, hotkey, time):
    chain = ChainDouble(paying())
    offer = read_offer(chain, 72, hotkey.ss58_address, COLDKEY)
    result = register_on_subnet(
        chain, wallet, hotkey.ss58_address, offer, limit_rao=offer.limit_rao, sleep=time.sleep_here
    )
    assert (result.uid, result.message) == (3, "Success")
    assert [(paid["netuid"], paid["limit"]) for paid in chain.registered] == [(72, 25_125_000)]
    assert time.waited == []


def test_a_new_hotkey_may_take_blocks_to_be_seen(wallet, hotkey, time):
    chain = ChainDouble(paying(), shows_after=2)
    offer = read_offer(chain, 72, hotkey.ss58_address, COLDKEY)
    result = register_on_subnet(
        chain, wallet, hotkey.ss58_address, offer, limit_rao=1, sleep=time.sleep_here
    )
    assert result.uid == 3
    assert time.waited == [12.0, 12.0]


@pytest.mark.parametrize(
    ("changes", "uid", "said"),
    [
        ({"says": (False, "RegistrationPriceLimitExceeded")}, None, "PriceLimitExceeded"),
        ({"shows_after": 9}, None, "the chain said yes (Success), yet does not show the hotkey"),
        ({"silent_on_register": True}, 3, "the chain fell silent while registering"),
        ({"silent_on_register": True, "shows_after": 9}, None, "the chain fell silent"),
    ],
)
def test_what_the_chain_shows_afterwards_decides(changes, uid, said, wallet, hotkey, time):
    chain = ChainDouble(paying(), **changes)
    offer = read_offer(chain, 72, hotkey.ss58_address, COLDKEY)
    result = register_on_subnet(
        chain, wallet, hotkey.ss58_address, offer, limit_rao=1, sleep=time.sleep_here
    )
    assert result.uid == uid
    assert said in result.message
    assert len(chain.registered) == 1


def test_a_chain_that_cannot_be_read_again_is_told(wallet, hotkey, time):
    class LostAfterwards(ChainDouble):
        def call(self, work, seconds):
            self.fails = len(self.registered)
            return super().call(work, seconds)

    chain = LostAfterwards(paying())
    offer = read_offer(chain, 72, hotkey.ss58_address, COLDKEY)
    result = register_on_subnet(
        chain, wallet, hotkey.ss58_address, offer, limit_rao=1, sleep=time.sleep_here
    )
    assert result.uid is None
    assert "the chain took it; whether the hotkey is registered could not be read" in result.message


def test_the_installed_sdk_has_what_is_called_on_it():
    from bittensor import AsyncSubtensor

    signature = inspect.signature
    signature(AsyncSubtensor.register).bind(None, wallet=1, netuid=72, limit_price=1)
    signature(AsyncSubtensor.recycle).bind(None, netuid=72, block=1)
    signature(AsyncSubtensor.get_balance).bind(None, address="", block=1)
    signature(AsyncSubtensor.neurons_lite).bind(None, netuid=72, block=1)


def test_a_wrong_password_is_told_without_it():
    class LockedWalletDouble:
        """Raises what a real wallet does, without its seconds of key derivation."""

        def unlock_coldkey(self) -> None:
            raise PasswordError("wrong-horse does not open it")

    with pytest.raises(RegistrationError, match="password is wrong") as caught:
        unlock_coldkey(LockedWalletDouble())
    assert "horse" not in str(caught.value)


def test_an_unlocked_coldkey_stays_so_for_the_sdk_which_unlocks_it_again(tmp_path):
    wallet = Wallet(name="w", hotkey="h", path=str(tmp_path))
    wallet.create_new_coldkey(use_password=False, suppress=True, overwrite=True)
    opened = Wallet(name="w", hotkey="h", path=str(tmp_path))
    unlock_coldkey(opened)
    (tmp_path / "w" / "coldkey").unlink()
    opened.unlock_coldkey()
    assert opened.coldkey.ss58_address == wallet.coldkeypub.ss58_address


def test_an_unreadable_coldkey_is_told(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "coldkey").write_text("no key at all")
    with pytest.raises(RegistrationError, match="cannot be read"):
        unlock_coldkey(Wallet(name="w", hotkey="h", path=str(tmp_path)))


@pytest.mark.parametrize(
    ("rao", "text"),
    [(0, "0.0000 TAO"), (25_000_000, "0.0250 TAO"), (1_000_000_001, "1.000000001 TAO")],
)
def test_amounts_are_exact(rao, text):
    assert tao(rao) == text


def test_the_btcli_line_quotes_what_the_shell_would_split():
    settings = RunSettings(wallet_name="my miner", wallet_hotkey="hot", netuid=323, network="test")
    assert btcli_line(settings) == (
        "btcli subnets register --netuid 323 --network test --wallet-name 'my miner'"
        " --wallet-hotkey hot"
    )
    local = RunSettings(chain_endpoint="ws://127.0.0.1:9944, ws://other:9944")
    assert "--network ws://127.0.0.1:9944 " in btcli_line(local)
