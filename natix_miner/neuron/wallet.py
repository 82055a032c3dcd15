"""The wallet as far as a miner needs it: the hotkey to sign with, the coldkey's public half.

The private coldkey has no business on a machine that serves the internet; nothing here opens it,
and finding its file beside the wallet is worth a warning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natix_miner.errors import WalletError


@dataclass(frozen=True, slots=True)
class MinerKeys:
    """What the miner holds: `hotkey` signs (a bittensor_wallet.Keypair, unlocked),
    `coldkey_address` is the SS58 address of the owner or None when coldkeypub.txt is not there,
    `wallet` the SDK's object for publishing on chain."""

    hotkey: Any
    address: str
    coldkey_address: str | None
    wallet: Any
    coldkey_present: bool


def open_wallet(name: str, hotkey: str, path: str) -> MinerKeys:
    """Unlock a hotkey once and for all.

    Raises WalletError when its file is missing, unreadable, or encrypted (a miner has nobody who
    could type a password).
    """
    from bittensor_wallet import Wallet
    from bittensor_wallet.errors import KeyFileError, PasswordError

    folder = Path(path).expanduser() / name
    hotkey_file = folder / "hotkeys" / hotkey
    if not hotkey_file.is_file():
        raise WalletError(
            f"no hotkey at {hotkey_file}; give --wallet-name, --wallet-hotkey and --wallet-path of"
            " a wallet that exists"
        )
    wallet = Wallet(name=name, hotkey=hotkey, path=str(Path(path).expanduser()))
    if wallet.hotkey_file.is_encrypted():
        raise WalletError(
            f"the hotkey at {hotkey_file} is encrypted; a miner starts unattended and needs one"
            " without a password"
        )
    try:
        key = wallet.unlock_hotkey()
    except (KeyFileError, PasswordError, OSError) as error:
        raise WalletError(
            f"the hotkey at {hotkey_file} cannot be read ({type(error).__name__}); restore it from"
            " its mnemonic"
        ) from None
    return MinerKeys(
        hotkey=key,
        address=str(key.ss58_address),
        coldkey_address=_coldkey_address(wallet, folder),
        wallet=wallet,
        coldkey_present=(folder / "coldkey").exists(),
    )


def _coldkey_address(wallet: Any, folder: Path) -> str | None:
    public = folder / "coldkeypub.txt"
    if not public.is_file():
        return None
    from bittensor_wallet.errors import KeyFileError

    try:
        return str(wallet.get_coldkeypub().ss58_address)
    except (KeyFileError, OSError) as error:
        raise WalletError(
            f"{public} cannot be read ({type(error).__name__}); copy it again from the machine that"
            " holds the coldkey"
        ) from None
