"""What a miner writes for people to read: no key, no picture, no secret, nothing a terminal obeys.

A real process is asked, offended and made to fail; then everything it wrote is searched.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import re
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from natix_miner.neuron.client import exchange, http_request, signed_headers, synapse_body
from natix_miner.neuron.hiding import Hiding, one_line, secrets_in, secrets_in_address
from natix_miner.neuron.log_file import KEEP_FILES, LogFile
from natix_miner.neuron.logging import set_up_logs

TOKEN = "hf_MnKq8sTwYzAbCdEfGhJkLmNpQr"
OTLP_KEY = "weave-9f8e7d6c5b4a"
PROVIDER_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
#: How a line of the terminal begins: the time and the level, or the mark of a traceback.
LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) |         \| ")
ODD = "\x1b[31mred\x1b[0m \x9b2J"


def picture(first: bytes) -> bytes:
    return first + bytes(random.Random(7).randbytes(4000))


class Written:
    """All that one miner process wrote while it was treated badly, and what it must not hold."""

    def __init__(
        self, terminal: str, file: str, said: str, forbidden: dict[str, list[str]]
    ) -> None:
        self.terminal, self.file, self.said, self.forbidden = terminal, file, said, forbidden


@pytest.fixture(scope="module")
def written(shared_miners, keys):
    environment = {
        "HF_TOKEN": TOKEN,
        "OTEL_EXPORTER_OTLP_HEADERS": f"wandb-api-key={OTLP_KEY}",
        "SUBTENSOR_CHAIN_ENDPOINT": f"wss://provider.example/{PROVIDER_KEY}",
        "FORCE_COLOR": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        miner = shared_miners.start("leaky", log_level="debug")
    sent = asyncio.run(_offend(miner, keys))
    with socket.create_connection(miner.address, timeout=5) as raw:
        raw.sendall(b"GET /\x1b[31m%0a%1b[2J HTTP/1.1\r\nhost: x\r\n\r\n")
        raw.recv(4096)
    miner.stop()
    stdout = miner.ready_line + miner.process.stdout.read()
    hotkey = json.loads((shared_miners.folder / "wallets/miner/hotkeys/default").read_text())
    private = [str(hotkey[name]) for name in ("privateKey", "secretSeed", "secretPhrase")]
    pictures = [picture(first) for first in (b"p", b"s", b"t")]
    encoded = [base64.b64encode(one).decode() for one in pictures]
    forbidden = {
        "private key, seed or mnemonic": [*private, *(key.removeprefix("0x") for key in private)],
        "signature": [headers["bt_header_dendrite_signature"][2:] for headers in sent],
        "nonce": _long(headers["bt_header_dendrite_nonce"] for headers in sent),
        "uuid": _long(headers["bt_header_dendrite_uuid"] for headers in sent),
        "base64": [one[at : at + 24] for one in encoded for at in range(0, len(one) - 24, 24)],
        "bytes": [repr(one)[at : at + 40] for one in pictures for at in (200, 2000, 6000)],
        "secret": [TOKEN, OTLP_KEY, PROVIDER_KEY],
    }
    log, file = (shared_miners.folder / name for name in ("miner.log", "miner.jsonl"))
    return Written(log.read_bytes().decode(), file.read_bytes().decode(), stdout, forbidden)


async def _offend(miner, keys) -> list[dict[str, str]]:
    """Queries that fail within, replays, forgeries and odd headers; the headers of all of them."""
    sent = []

    async def ask(body: bytes, who: str = "validator", times: int = 1, **changes: str) -> None:
        headers = {**signed_headers(keys[who], miner.hotkey, time.time_ns()), **changes}
        sent.append(headers)
        for _ in range(times):
            await exchange(*miner.address, http_request(headers, body))

    for first in (b"p", b"s", b"t"):
        await ask(synapse_body(picture(first)), times=2)
    await ask(synapse_body(picture(b"p")), bt_header_dendrite_signature="0x" + "5a" * 64)
    await ask(synapse_body(picture(b"p")), who="stranger")
    await ask(synapse_body(picture(b"p")), who="no-permit")
    await ask(b'{"image": "###"}')
    await ask(b'{"image": "' + ODD.encode("latin-1") + b'"}')
    for name in ("hotkey", "nonce", "version", "uuid"):
        await ask(b"{}", **{f"bt_header_dendrite_{name}": "a word"})
    return sent


def test_the_miner_did_write_about_all_of_this(written):
    for reason in ("401 replayed", "401 forged", "403 unregistered", "403 no-permit"):
        assert f"refused a request: {reason}" in written.terminal
    assert "400 malformed-header" in written.terminal
    assert "UnicodeDecodeError" in written.terminal
    assert "UnicodeDecodeError" in written.file
    assert "the hub said no to ***" in written.terminal
    assert written.terminal.count("the judge raised") == 3


def test_neither_key_nor_picture_nor_signature_nor_secret_is_written_anywhere(written):
    for what, texts in written.forbidden.items():
        for text in texts:
            assert len(text) >= 8, what
            for place in ("terminal", "file", "said"):
                assert text not in getattr(written, place), f"{what} in what the {place} got"


def test_the_terminal_gets_one_line_a_record_and_no_control_characters(written):
    assert written.terminal.isascii() or not re.search(r"[\x80-\x9f]", written.terminal)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", written.terminal)
    lines = written.terminal.splitlines()
    assert all(LINE.match(line) for line in lines)
    assert not any(re.match(r"12:00:00 INFO    all is well", line) for line in lines)
    assert any(r"a fault\x1b[2J" in line for line in lines)


def test_each_line_of_the_file_is_one_json_object(written):
    records = [json.loads(line) for line in written.file.splitlines()]
    assert all({"time", "level", "message"} <= set(record) for record in records)
    assert max(map(len, written.file.splitlines())) < 20_000


def test_what_the_miner_writes_is_for_its_own_user(written, shared_miners):
    """The journal holds pictures; with its companions, the logs and the kept state."""
    folder = shared_miners.folder
    files = [folder / "journal.sqlite3", folder / "miner.jsonl", *(folder / "state").rglob("*")]
    assert all(path.exists() for path in files)
    for path in [*files, *folder.glob("journal.sqlite3-*")]:
        assert path.stat().st_mode & 0o077 == 0, path


@given(st.text())
def test_any_text_becomes_one_printable_line(text):
    shown = one_line(text, 100)
    assert shown.isprintable()
    if text.isprintable() and len(text) <= 100:
        assert shown == text


def test_names_tell_what_is_secret():
    environment = {
        "HF_TOKEN": "hf_abcdefgh",
        "WANDB_API_KEY": "wandb-12345678",
        "DB_PASSWORD": "correct horse",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20token-value-1,x=2",
        "TOKENIZERS_PARALLELISM": "false-or-true",
        "MY_TOKEN": "true",
        "WALLET_NAME": "a-long-enough-name",
    }
    hidden = Hiding(secrets_in(environment))
    for text in ("hf_abcdefgh", "wandb-12345678", "correct horse", "token-value-1"):
        assert hidden.clean(f"no to {text}!") == "no to ***!"
    for text in ("a-long-enough-name", "true", "false-or-true"):
        assert hidden.clean(text) == text


def test_keys_in_addresses_are_hidden_and_hosts_are_not():
    address = "wss://me:password1@chain.example:443/v2/0123456789abcdef01?api-key=abcdefghij"
    shown = Hiding(secrets_in_address(address)).clean(f"{address} did not answer")
    assert shown == "wss://me:***@chain.example:443/v2/***?api-key=*** did not answer"
    assert secrets_in_address("wss://entrypoint-finney.opentensor.ai:443") == set()


def test_the_file_is_rotated_and_so_many_are_kept(tmp_path):
    handler = LogFile(tmp_path / "logs" / "miner.jsonl", rotate_bytes=1000)
    for number in range(400):
        handler.handle(_record(f"{number:03} {'x' * 96}\n"))
    handler.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == KEEP_FILES + 1
    assert all(file.stat().st_size <= 1000 for file in files)
    assert (tmp_path / "logs" / "miner.jsonl").read_text().splitlines()[-1].startswith("399")


def test_a_full_disk_costs_lines_of_the_file_and_not_the_terminal(capsys):
    handler = LogFile(Path("/dev/full"))
    for _ in range(1000):
        handler.handle(_record("a line\n"))
    told = capsys.readouterr().err.splitlines()
    assert handler.lost == 1000
    assert told == ["log file /dev/full cannot be written (No space left on device): 1 lines lost"]


@pytest.mark.parametrize("terminal", [True, False])
def test_colours_only_on_a_terminal(terminal, quiet_logs, monkeypatch, root_logger):
    class Screen:
        def __init__(self):
            self.text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

        def isatty(self):
            return terminal

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("FORCE_COLOR", "1")
    set_up_logs("info", None)
    logger.info("a <red>line</red> with {braces} and 100 %")
    assert ("\x1b[" in screen.text) is terminal
    assert "a <red>line</red> with {braces} and 100 %" in screen.text


def test_warnings_of_other_libraries_take_the_same_way(quiet_logs, capsys, root_logger):
    set_up_logs("info", None)
    logging.getLogger("some.library").warning("odd\x1b[2J\nline")
    logging.getLogger("some.library").info("chatter")
    told = capsys.readouterr().err
    assert r"some.library: odd\x1b[2J\nline" in told
    assert "chatter" not in told


@pytest.fixture
def root_logger():
    """The root logger as it was."""
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before


def _long(texts) -> list[str]:
    return [text for text in texts if len(text) >= 8]


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x.py", 1, text, None, None)
