"""Registering with the NATIX server, over real HTTP against its double, in virtual time."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bittensor_wallet import Keypair

from natix_miner.registration import NatixResult, Outcome, register_with_natix
from natix_miner.registration.natix import Progress
from natix_miner.registration.natix_server import NatixServer, open_client
from tests.registration.conftest import NOW, WaitedTime
from tests.registration.natix_double import NatixServerDouble

UID, REPO = 17, "owner/roadwork"


def register(
    url: str, hotkey: Keypair, time: WaitedTime, request_seconds: float = 5.0
) -> tuple[NatixResult, list[Progress]]:
    told: list[Progress] = []

    async def main() -> NatixResult:
        async with open_client(request_seconds) as client:
            return await register_with_natix(
                NatixServer(client, url, request_seconds),
                hotkey,
                UID,
                REPO,
                clock=time,
                sleep=time.sleep,
                on_progress=told.append,
            )

    return asyncio.run(main()), told


def test_a_signed_registration_is_posted_once_and_asked_for_until_it_succeeded(hotkey, time):
    with NatixServerDouble("pending", "processing", "succeeded") as double:
        result, told = register(double.url, hotkey, time)
    assert result == NatixResult(
        Outcome.SUCCEEDED, "succeeded", "the server has registered this miner", 3, 9.0
    )
    (body,) = double.posts  # The double has verified the signature.
    assert double.refused == []
    assert (body["uid"], body["model_repo"], body["type"]) == (UID, REPO, "miner")
    assert body["message"] == str(int(NOW))
    assert body["natix_public_key"] == hotkey.ss58_address
    assert double.questions == [UID] * 3
    assert [step.said for step in told] == ["posted", "status 'pending'", "status 'processing'"]


def test_the_double_refuses_another_keys_signature(hotkey, time):
    class Forger:
        ss58_address = hotkey.ss58_address
        sign = Keypair.create_from_seed("0x" + "06" * 32).sign

    with NatixServerDouble() as double:
        result, _ = register(double.url, Forger(), time)  # type: ignore[arg-type]
    assert (result.outcome, result.reason) == (Outcome.FAILED, "http-status")
    assert "401" in result.message
    assert "invalid signature" in result.message
    assert double.refused == ["invalid signature"]


@pytest.mark.parametrize("word", ["success", "SUCCEEDED"])
def test_other_spellings_of_success_count(word, hotkey, time):
    with NatixServerDouble(word) as double:
        assert register(double.url, hotkey, time)[0].outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("failed:model card is missing", "the server refuses: model card is missing"),
        ("error:uid 17 is another's", "the server refuses: uid 17 is another's"),
        ("failed", "the server refuses: the server gives no reason"),
    ],
)
def test_a_refusal_is_told_with_its_reason(word, said, hotkey, time):
    with NatixServerDouble("pending", word) as double:
        result, _ = register(double.url, hotkey, time)
    assert (result.outcome, result.message) == (Outcome.FAILED, said)
    assert result.reason == word.split(":")[0]


def test_a_server_that_never_decides_is_left_after_three_minutes(hotkey, time):
    with NatixServerDouble("pending") as double:
        result, _ = register(double.url, hotkey, time)
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "pending")
    assert result.seconds == 180.0
    assert result.polls == len(double.questions) == 60
    assert set(time.waited) == {3.0}
    assert len(double.posts) == 1


def test_an_unknown_status_word_is_waited_on_and_named(hotkey, time):
    with NatixServerDouble("contemplating") as double:
        result, told = register(double.url, hotkey, time)
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "contemplating")
    assert "'contemplating', a word we do not know" in result.message
    assert told[-1].seconds == 180.0


def test_questions_are_repeated_more_slowly_while_the_server_fails(hotkey, time):
    with NatixServerDouble("500", "cut", "404", "503", "429", "pending", "succeeded") as double:
        result, _ = register(double.url, hotkey, time)
    assert result.outcome is Outcome.SUCCEEDED
    assert time.waited == [3.0, 6.0, 12.0, 24.0, 24.0, 24.0, 3.0]
    assert len(double.posts) == 1


def test_a_server_that_only_fails_times_out_with_its_last_failure(hotkey, time):
    with NatixServerDouble("500") as double:
        result, _ = register(double.url, hotkey, time)
    assert (result.outcome, result.reason) == (Outcome.TIMED_OUT, "http-status")
    assert "HTTP 500: <h1>Trouble</h1>" in result.message
    assert "\x1b" not in result.message  # What a server sends must not steer a terminal.
    assert len(result.message) < 600
    assert result.seconds == 180.0


@pytest.mark.parametrize(
    ("word", "reason"), [("not-json", "not-json"), ("list", "shape"), ("large", "too-large")]
)
def test_answers_of_no_such_server_end_it_after_the_third(word, reason, hotkey, time):
    with NatixServerDouble(word) as double:
        result, _ = register(double.url, hotkey, time)
    assert (result.outcome, result.reason, result.polls) == (Outcome.FAILED, reason, 3)


@pytest.mark.parametrize("status", ["400", "403", "422"])
def test_a_question_that_is_refused_is_not_repeated(status, hotkey, time):
    with NatixServerDouble(status) as double:
        result, _ = register(double.url, hotkey, time)
    assert (result.outcome, result.reason, result.polls) == (Outcome.FAILED, "http-status", 1)


@pytest.mark.parametrize(
    ("on_post", "reason"),
    [("500", "http-status"), ("400", "http-status"), ("redirect", "redirect")],
)
def test_a_post_that_is_refused_ends_it_at_once(on_post, reason, hotkey, time):
    with NatixServerDouble(on_post=on_post) as double:
        result, _ = register(double.url, hotkey, time)
    assert (result.outcome, result.reason, result.polls) == (Outcome.FAILED, reason, 0)
    assert (len(double.posts), double.questions) == (1, [])


def test_a_redirect_is_told_and_not_followed(hotkey, time):
    with NatixServerDouble(on_post="redirect") as double:
        result, _ = register(double.url, hotkey, time)
    assert "http://elsewhere.example/register" in result.message


@pytest.mark.parametrize("on_post", ["cut", "504", "not-json", "slow"])
def test_a_post_that_may_have_arrived_is_not_repeated_but_asked_for(on_post, hotkey, time):
    with NatixServerDouble("succeeded", on_post=on_post) as double:
        result, told = register(double.url, hotkey, time, request_seconds=0.3)
    assert result.outcome is Outcome.SUCCEEDED
    assert len(double.posts) == 1
    assert "it may have arrived" in told[0].said


def test_a_slow_answer_is_a_value_not_a_hang(hotkey, time):
    with NatixServerDouble("slow", "succeeded") as double:
        result, told = register(double.url, hotkey, time, request_seconds=0.3)
    assert result.outcome is Outcome.SUCCEEDED
    assert "no answer within 0.3 s" in told[1].said


def test_a_refused_connection_is_told_and_nothing_was_sent(hotkey, time):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        result, told = register(url, hotkey, time)
    assert (result.outcome, result.reason, result.polls) == (Outcome.FAILED, "refused", 0)
    assert told == []
    assert "check --base-url" in result.message


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A TLS server on loopback whose certificate nobody has vouched for."""
    folder: Path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj",
         "/CN=127.0.0.1"],
        cwd=folder, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


def test_an_untrusted_certificate_gets_no_signature(self_signed, hotkey, time):
    result, _ = register(self_signed, hotkey, time)
    assert (result.outcome, result.reason) == (Outcome.FAILED, "tls")
    assert "certificate" in result.message.lower()
