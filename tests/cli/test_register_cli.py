"""`natix-miner register subnet` against a double of the chain, `register natix` against a double of
the NATIX server on loopback; wallets are real throw-away ones."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import pytest
import typer
from bittensor_wallet import Wallet
from loguru import logger
from typer.testing import CliRunner

from natix_miner.cli import app
from natix_miner.cli.register_natix import register_natix
from natix_miner.cli.register_subnet import register_subnet
from natix_miner.errors import ConfigurationError
from natix_miner.neuron.settings import RunSettings
from natix_miner.neuron.wallet import open_wallet
from tests.registration.chain_double import ChainDouble, neuron
from tests.registration.natix_double import NatixServerDouble

BLOCK = 6_000_000


@pytest.fixture(scope="module")
def wallets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wallets: `cold` with its coldkey beside it, `miner` without, as it should be."""
    folder = tmp_path_factory.mktemp("wallets")
    for name in ("cold", "miner"):
        Wallet(name=name, hotkey="default", path=str(folder)).create_if_non_existent(
            coldkey_use_password=False, hotkey_use_password=False, suppress=True
        )
    (folder / "miner" / "coldkey").unlink()
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WALLET_NAME", "WALLET_HOTKEY", "WALLET_PATH", "NETUID", "SUBTENSOR_NETWORK"):
        monkeypatch.delenv(name, raising=False)


def chain(*more, **changes) -> ChainDouble:
    validator = neuron(0, "validator", permit=True, last_update=BLOCK - 40)
    miners = [neuron(1, "miner-a", incentive=0.6), neuron(2, "miner-b", incentive=0.4)]
    return ChainDouble([validator, *miners, *more], **changes)


def subnet(
    double: ChainDouble, wallets: Path, name: str, *, yes=False, as_json=False, max_cost=None
) -> int:
    settings = RunSettings(wallet_name=name, wallet_path=str(wallets))
    keys = open_wallet(name, "default", str(wallets))
    return register_subnet(
        double,
        settings,
        keys,
        max_cost=max_cost,
        yes=yes,
        as_json=as_json,
        sleep=lambda seconds: None,
    )


def test_cost_balance_and_state_come_first_and_without_a_terminal_nothing_is_spent(wallets, capsys):
    double = chain()
    assert subnet(double, wallets, "cold") == 3
    output = capsys.readouterr().out
    rows = dict(line.split("\t") for line in output.splitlines() if "\t" in line)
    assert rows["cost"] == "0.0250 TAO"
    assert rows["balance"] == "1.0000 TAO"
    assert rows["state"].startswith("paying: 1 validators")
    assert rows["registered"] == "no"
    assert "nobody can be asked here; --yes spends up to 0.025125 TAO unasked" in output
    assert double.registered == []


def test_yes_pays_the_price_shown_at_most(wallets, capsys):
    double = chain()
    assert subnet(double, wallets, "cold", yes=True) == 0
    assert "registered, uid 3" in capsys.readouterr().out
    (paid,) = double.registered
    assert (paid["netuid"], paid["limit"]) == (72, 25_125_000)


@pytest.mark.parametrize(("answer", "code", "paid"), [("y\n", 0, 1), ("n\n", 3, 0), ("\n", 3, 0)])
def test_on_a_terminal_it_asks_before_spending(answer, code, paid, wallets, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    double = chain()
    assert subnet(double, wallets, "cold") == code
    output = capsys.readouterr().out
    assert re.search(r"Spend up to 0.025125 TAO of 5\w{47}\?", output)
    assert output.index("cost\t") < output.index("Spend up to")
    assert len(double.registered) == paid


def test_a_locked_coldkey_without_anybody_to_type_spends_nothing(wallets, tmp_path, capsys):
    shutil.copytree(wallets / "cold", tmp_path / "locked")
    (tmp_path / "locked" / "coldkey").chmod(0o600)
    (tmp_path / "locked" / "coldkey").write_bytes(b"$NACL" + bytes(range(200)))
    double = chain()
    assert subnet(double, tmp_path, "locked", yes=True) == 3
    assert "needs its password typed on a terminal" in capsys.readouterr().out
    assert double.registered == []


def test_without_a_coldkey_the_btcli_line_is_printed_and_nothing_done(wallets, capsys):
    double = chain()
    assert subnet(double, wallets, "miner", yes=True) == 3
    output = capsys.readouterr().out
    line = shlex.split(output.splitlines()[-1])
    assert line[:3] == ["btcli", "subnets", "register"]
    assert dict(zip(line[3::2], line[4::2], strict=True)) == {
        "--netuid": "72",
        "--network": "finney",
        "--wallet-name": "miner",
        "--wallet-hotkey": "default",
    }
    assert "nothing was done" in output
    assert double.registered == []


def test_a_registered_hotkey_pays_nothing(wallets, capsys):
    address = open_wallet("cold", "default", str(wallets)).address
    double = chain(neuron(9, address))
    assert subnet(double, wallets, "cold", yes=True) == 0
    assert "registered already, uid 9" in capsys.readouterr().out
    assert double.registered == []


@pytest.mark.parametrize(
    ("changes", "max_cost", "said"),
    [
        ({"balance": 24_999_999}, None, "it costs 0.0250 TAO, the coldkey holds 0.024999999 TAO"),
        ({}, 0.02, "it costs 0.0250 TAO, more than --max-cost 0.0200 TAO"),
    ],
)
def test_too_dear_is_not_even_asked(changes, max_cost, said, wallets, capsys):
    double = chain(**changes)
    assert subnet(double, wallets, "cold", yes=True, max_cost=max_cost) == 3
    assert said in capsys.readouterr().out
    assert double.registered == []


@pytest.mark.parametrize("amount", [float("nan"), float("inf")])
def test_a_max_cost_that_is_no_amount_is_refused(amount, wallets):
    with pytest.raises(ConfigurationError, match="--max-cost"):
        subnet(chain(), wallets, "cold", yes=True, max_cost=amount)


def test_max_cost_is_the_limit_that_the_chain_gets(wallets):
    double = chain()
    assert subnet(double, wallets, "cold", yes=True, max_cost=0.02501) == 0
    assert double.registered[0]["limit"] == 25_010_000


@pytest.mark.parametrize(
    ("neurons", "word"),
    [
        ([neuron(0, "v", permit=True, last_update=BLOCK - 9), neuron(1, "o", incentive=1.0)],
         "burning"),
        ([neuron(0, "v", permit=True, last_update=BLOCK - 90_000), neuron(1, "m", incentive=1.0)],
         "silent"),
    ],
)  # fmt: skip
def test_a_subnet_that_pays_nobody_is_said_in_red_before_anything_else(neurons, word, wallets):
    """Through the command line, whose colours are kept."""
    one = typer.Typer()
    double = ChainDouble(neurons)
    one.command()(lambda: subnet(double, wallets, "cold"))
    output = CliRunner().invoke(one, [], color=True).stdout
    assert output.startswith("\x1b[31m\x1b[1m" + f"subnet 72 is {word}: ")


def test_a_refusal_of_the_chain_is_told_with_exit_code_1(wallets, capsys):
    double = chain(says=(False, "Subtensor returned `RegistrationPriceLimitExceeded`"))
    assert subnet(double, wallets, "cold", yes=True) == 1
    assert "not registered: Subtensor returned `RegistrationPrice" in capsys.readouterr().out


def test_json_is_one_object_with_the_outcome(wallets, capsys):
    assert subnet(chain(), wallets, "cold", yes=True, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["outcome"], document["uid"], document["cost_rao"]) == (
        "registered", 3, 25_000_000,
    )  # fmt: skip
    assert document["state"]["word"] == "paying"
    assert subnet(chain(), wallets, "miner", yes=True, as_json=True) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["outcome"], document["coldkey_on_this_machine"]) == ("no-coldkey", False)


def test_no_key_gets_into_output_or_log(wallets, capsys):
    lines: list[str] = []
    number = logger.add(lines.append, level=0)
    try:
        assert subnet(chain(), wallets, "cold", yes=True) == 0
    finally:
        logger.remove(number)
    captured = capsys.readouterr()
    shown = captured.out + captured.err + "".join(map(str, lines))
    for file in ("coldkey", "hotkeys/default"):
        secrets = json.loads((wallets / "cold" / file).read_text())
        for name in ("secretSeed", "privateKey", "secretPhrase"):
            if secrets.get(name):
                assert secrets[name].removeprefix("0x") not in shown


@pytest.fixture
def logs_put_back():
    """For a command that sets up the logs of its process: take them down again."""
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio", "bittensor")]
    before = [(each.handlers, each.propagate, each.level) for each in loggers]
    yield
    logger.remove()
    for each, (handlers, propagate, level) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.mark.usefixtures("logs_put_back")
def test_an_unreachable_chain_is_one_line_and_exit_code_2(wallets):
    result = CliRunner().invoke(
        app,
        ["register", "subnet", "--wallet-name", "miner", "--wallet-path", str(wallets),
         "--chain-endpoint", "ws://127.0.0.1:9"],
    )  # fmt: skip
    assert result.exit_code == 2
    assert "nothing was sent" in result.stderr
    assert "Traceback" not in result.stderr


def natix(*more: str, wallets: Path, uid="17", repo="owner/roadwork"):
    return CliRunner().invoke(
        app,
        ["register", "natix", "--uid", uid, "--model-repo", repo, "--wallet-name", "miner",
         "--wallet-path", str(wallets), *more],
    )  # fmt: skip


def test_registering_with_natix_in_real_time(wallets):
    with NatixServerDouble("succeeded") as double:
        result = natix("--base-url", double.url, wallets=wallets)
    assert result.exit_code == 0, result.output
    assert "optional: upstream struck" in result.stderr
    assert re.search(r"succeeded: the server has registered this miner \(1 questions, 3\.\d s\)",
                     result.stdout)  # fmt: skip
    assert (
        double.posts[0]["natix_public_key"] == open_wallet("miner", "default", str(wallets)).address
    )


class Waited:
    """A clock that goes on by what is waited for."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def time(self) -> float:
        return 1_795_000_000.0 + self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("words", "code", "outcome", "reason"),
    [
        (("pending", "success"), 0, "succeeded", "success"),
        (("pending", "failed:no model card"), 1, "failed", "failed"),
        (("pending",), 1, "timed-out", "pending"),
        (("not-json",), 1, "failed", "not-json"),
    ],
)
def test_the_end_of_natix_registration_as_json(words, code, outcome, reason, wallets, capsys):
    keys = open_wallet("miner", "default", str(wallets))
    time = Waited()
    run = partial(register_natix, keys.hotkey, 17, "owner/roadwork", total_seconds=30.0)
    with NatixServerDouble(*words) as double:
        assert run(double.url, as_json=True, clock=time, sleep=time.sleep) == code
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["outcome"], document["reason"]) == (outcome, reason)
    assert (document["uid"], document["hotkey"]) == (17, keys.address)
    assert captured.err.count("status 'pending'") <= 1  # News only, not sixty times the same.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"uid": "70000"}, "uid 70000 is not in 0..65535"),
        ({"repo": "roadwork"}, "'roadwork' is not a repository"),
        ({"more": ("--base-url", "http://hydra.example")}, "would send the signature in the clear"),
        ({"more": ("--wallet-hotkey", "nobody")}, "no hotkey at"),
    ],
)
def test_wrong_use_is_exit_code_2_and_nothing_is_sent(change, said, wallets):
    result = natix(*change.pop("more", ()), wallets=wallets, **change)
    assert result.exit_code == 2
    assert said in result.stderr
