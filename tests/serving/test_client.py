"""The client against a real socket server that misbehaves in every way we know."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import time

import pytest

from natix_miner.clock import Deadline
from natix_miner.errors import ConfigurationError, ServerAnswerError, UnavailableError
from natix_miner.experts.vlm.port import Question
from natix_miner.serving.client import Client
from tests.serving import misbehaving as m

PICTURE = bytes(range(256)) * 20
QUESTION = Question(before="Roadwork?", picture=PICTURE)
KEY = "a-key-of-ours"
ERROR = {"error": {"message": "it was so", "code": 0}}


@pytest.fixture
async def server():
    async with m.Misbehaving().running() as running:
        yield running


@pytest.fixture
async def client(server):
    made = Client("fast", server.url, "tiny", KEY, "chosen")
    await made.prepare(soon())
    yield made
    await made.close()


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(seconds)


async def failing(client: Client, expected: type[Exception] = ServerAnswerError) -> Exception:
    """The error of one question; nothing in it gives the key or the picture away."""
    with pytest.raises(expected) as error:
        await client.ask(QUESTION, soon())
    text = str(error.value)
    assert "'fast'" in text
    assert KEY not in text
    assert base64.b64encode(PICTURE)[:30].decode() not in text
    assert len(text) < 500
    return error.value


async def test_one_question_and_its_answer(server, client):
    answer = await client.ask(QUESTION, soon())
    assert answer.yes == pytest.approx(5 * math.exp(-3.0))
    assert answer.no == pytest.approx(5 * math.exp(-3.0))
    assert answer.prompt_tokens == 73
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["content-type"] == "application/json"
    assert seen.json()["logprob_token_ids"] == [*m.YES, *m.NO]
    url = seen.json()["messages"][0]["content"][1]["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) == PICTURE


async def test_token_ids_are_asked_for_once(server, client):
    await client.prepare(soon())
    await client.ask(QUESTION, soon())
    await client.ask(QUESTION, soon())
    assert sorted(seen.json()["prompt"] for seen in server.tokenized) == sorted(m.WORDS)
    assert all(seen.headers["authorization"] == f"Bearer {KEY}" for seen in server.tokenized)


async def test_one_connection_is_kept_for_all_of_it(server, client):
    for _ in range(3):
        await client.ask(QUESTION, soon())
    assert len({seen.port for seen in server.seen + server.tokenized}) == 1


async def test_asking_before_prepare_is_a_mistake(server):
    client = Client("fast", server.url, "tiny", None, "chosen")
    with pytest.raises(RuntimeError, match="before prepare"):
        await client.ask(QUESTION, soon())
    await client.close()


async def test_a_model_without_a_token_for_no_is_refused(server):
    server.tokenize = m.tokenize(m.WORDS | {w: [1, 2] for w in m.WORDS if "n" in w.lower()})
    client = Client("fast", server.url, "tiny", None, "chosen")
    with pytest.raises(ServerAnswerError, match=r"'fast' no spelling of 'no' is a single token"):
        await client.prepare(soon())
    await client.close()


async def test_a_server_that_cannot_tokenize_is_told_apart(server):
    server.tokenize = m.answer(404, {"detail": "Not Found"})
    client = Client("fast", server.url, "tiny", None, "chosen")
    with pytest.raises(ServerAnswerError, match=r"404 \(Not Found\).*`logprobs: top`") as error:
        await client.prepare(soon())
    assert error.value.status == 404
    await client.close()


async def test_top_needs_no_token_ids(server):
    server.script = [m.answer(200, m.completion({"Yes": -0.5, " no": -1.5}))]
    client = Client("fast", server.url + "/v1", "tiny", None, "top")
    await client.prepare(soon())
    answer = await client.ask(QUESTION, soon())
    assert (answer.yes, answer.no) == pytest.approx((math.exp(-0.5), math.exp(-1.5)))
    assert server.tokenized == []
    assert server.seen[0].json()["top_logprobs"] == 20
    assert "authorization" not in server.seen[0].headers
    await client.close()


async def test_text_is_written(server, client):
    message = {"reasoning": "cones", "content": "yes"}
    server.script = [m.answer(200, {"choices": [{"message": message}]})]
    assert await client.write(QUESTION, 7, soon()) == "cones\nyes"
    assert server.seen[0].json()["max_tokens"] == 7


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, r"refused with 400 \(it was so\); the picture is broken, or the prompt longer"),
        (401, r"refused with 401 .* key is wrong"),
        (403, r"refused with 403 .* key is wrong"),
        (404, r"refused with 404 .* model or address"),
        (413, r"refused with 413 .* max_pixels"),
        (422, r"refused with 422 .* shape"),
        (500, r"refused with 500 .* log"),
        (502, r"refused with 502 .* log"),
        (302, r"refused with 302 \(it was so\); .*base_url"),
        (204, r"refused with 204; .*base_url"),
    ],
)
async def test_a_refusal_says_what_to_do(server, client, status, says):
    server.script = [m.answer(status, ERROR if status != 204 else b"")]
    error = await failing(client)
    assert re.search(says, str(error))
    assert error.status == status
    assert len(server.seen) == 1, "not asked again"


@pytest.mark.parametrize("status", [503, 429])
async def test_a_full_queue_is_not_a_broken_server(server, client, status):
    server.script = [m.answer(status, ERROR)]
    assert "is full (" in str(await failing(client, UnavailableError))


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": f"bad input: {base64.b64encode(PICTURE).decode()}"}},
        {"detail": [{"input": {"url": base64.b64encode(PICTURE).decode()}, "key": KEY}]},
        {"error": f"wrong key {KEY}\r\nX: y"},
        {"object": "error", "message": "word " * 5000},
        f"Bearer {KEY} {'A' * 10_000}".encode(),
        b"\xff" * 3000,
        b"[" * 50_000,
        {"error": {"error": {"error": None}}},
        {"error": []},
        b"",
    ],
)
async def test_what_a_server_says_is_shortened_and_gives_nothing_away(server, client, said):
    server.script = [m.answer(400, said)]
    text = str(await failing(client))
    assert text.isprintable()
    assert "AAAAAAAA" not in text


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (m.answer(200, b"<html>hello</html>"), "18 bytes that are no JSON"),
        (m.answer(200, {"choices": []}), "without `choices`"),
        (m.answer(200, {"choices": [{"message": {"content": "yes"}}]}), "without log-prob"),
        (m.answer(200, m.completion({f"token_id:{t}": -3.0 for t in m.YES})), "left out"),
        (m.answer(200, m.completion({"yes": -0.5, "no": -1.0})), "left out"),
        (m.raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "broke off: RemoteProtocolError"),
        (m.raw(b""), "broke off: RemoteProtocolError"),
        (m.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"), "broke off: RemoteProtocol"),
        (m.reset, "broke off: ReadError"),
        (m.reset_after(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"), "broke off: ReadError"),
        (m.reset_after(b"HTTP/1.1 500 No\r\nContent-Length: 90\r\n\r\n{"), "broke off: ReadError"),
        (m.endless, "sent more than"),
        (m.answer(200, b"\0\1", headers="Content-Encoding: gzip\r\n"), "broke off: DecodingError"),
    ],
)
async def test_whatever_is_no_answer_is_an_error_that_says_what_came(
    server, client, behaviour, says
):
    server.script = [behaviour]
    error = await failing(client)
    assert re.search(says, str(error)), str(error)


async def test_nobody_there(client, server):
    gone = Client("fast", "http://127.0.0.1:9", "tiny", KEY, "top")
    assert "broke off: ConnectError" in str(await failing(gone))
    assert gone.retried == 0
    await gone.close()


@pytest.mark.parametrize(
    "broken",
    [m.reset, m.raw(b""), m.reset_after(b"HTTP/1.1 500 No\r\nContent-Length: 90\r\n\r\n{")],
)
async def test_a_broken_connection_is_tried_once_more_on_a_fresh_one(server, client, broken):
    # Two kept connections: the second attempt must not take the other kept one.
    await asyncio.gather(*(client.ask(QUESTION, soon()) for _ in range(2)))
    kept = {seen.port for seen in server.seen}
    assert len(kept) == 2
    server.script = [broken, m.right()]
    answer = await client.ask(QUESTION, soon())
    assert answer.prompt_tokens == 73
    first, second = server.seen[-2:]
    assert first.port in kept
    assert second.port not in kept
    assert first.body == second.body
    assert client.retried == 1
    await asyncio.wait_for(second.hung_up.wait(), 5.0)


async def test_a_second_broken_connection_is_the_end_of_it(server, client):
    server.script = [m.reset]
    await failing(client)
    assert len(server.seen) == 2
    assert client.retried == 1


@pytest.mark.parametrize(("needs", "attempts"), [(19.0, 2), (21.0, 1)])
async def test_there_is_a_second_attempt_only_if_it_fits(server, needs, attempts):
    client = Client("fast", server.url, "tiny", None, "top", retry_needs=lambda: needs)
    server.script = [m.reset]
    await failing(client)
    assert len(server.seen) == attempts
    assert client.retried == attempts - 1
    await client.close()


async def test_what_a_second_attempt_needs_is_learnt_from_the_answers(server, client):
    server.script = [m.slow(0.5)]
    await client.ask(QUESTION, soon())
    server.script = [m.reset]
    with pytest.raises(ServerAnswerError):
        await client.ask(QUESTION, soon(0.3))
    assert client.retried == 0
    with pytest.raises(ServerAnswerError):
        await client.ask(QUESTION, soon())
    assert client.retried == 1


@pytest.mark.parametrize("behaviour", [m.hang, m.slow(5.0)])
async def test_the_deadline_ends_a_question_and_its_connection(server, client, behaviour):
    server.script = [behaviour]
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"server 'fast': no answer within 0\.(20|19) s"):
        await client.ask(QUESTION, soon(0.2))
    assert 0.19 < time.monotonic() - began < 0.6
    await asyncio.wait_for(server.seen[0].hung_up.wait(), 5.0)
    assert client.retried == 0


async def test_the_deadline_holds_for_the_second_attempt_too(server, client):
    server.script = [m.reset, m.hang]
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await client.ask(QUESTION, soon(0.2))
    assert time.monotonic() - began < 0.6
    assert len(server.seen) == 2


async def test_the_deadline_holds_for_text_and_for_token_ids(server, client):
    server.script = [m.hang]
    with pytest.raises(TimeoutError):
        await client.write(QUESTION, 9, soon(0.1))
    server.tokenize = m.hang
    unprepared = Client("fast", server.url, "tiny", None, "chosen")
    with pytest.raises(TimeoutError):
        await unprepared.prepare(soon(0.1))
    await unprepared.close()


async def test_without_time_left_nothing_is_sent(server, client):
    with pytest.raises(TimeoutError, match="no time was left"):
        await client.ask(QUESTION, soon(-0.5))
    assert server.seen == []


async def test_cancelling_closes_the_connection_and_the_client_goes_on(server, client):
    server.script = [m.hang, m.right()]
    task = asyncio.ensure_future(client.ask(QUESTION, soon()))
    await asyncio.wait_for(server.came.wait(), 5.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.seen[0].hung_up.wait(), 5.0)
    await client.ask(QUESTION, soon())
    assert server.seen[1].port != server.seen[0].port


async def test_closing_ends_what_is_under_way_and_refuses_what_comes(server, client):
    server.script = [m.hang]
    task = asyncio.ensure_future(client.ask(QUESTION, soon()))
    await asyncio.wait_for(server.came.wait(), 5.0)
    await client.close()
    await client.close()
    with pytest.raises(ServerAnswerError, match="broke off"):
        await asyncio.wait_for(task, 5.0)
    assert len(server.seen) == 1
    assert "closed" in str(await failing(client, UnavailableError))


async def test_many_at_once_are_told_apart(server, client):
    async def echo(seen, transport):
        # The later it came the sooner it is answered.
        number = int(json.loads(seen.body)["messages"][0]["content"][0]["text"])
        await asyncio.sleep(0.002 * (50 - number))
        await m.answer(200, m.completion(m.numbered(seen), number))(seen, transport)

    server.script = [echo]
    questions = [Question(before=str(number), picture=PICTURE) for number in range(50)]
    answers = await asyncio.gather(*(client.ask(question, soon()) for question in questions))
    assert [answer.prompt_tokens for answer in answers] == list(range(50))
    assert client.retried == 0


@pytest.mark.parametrize(
    ("url", "key", "says"),
    [
        ("http://host:port", None, "base_url 'http://host:port' is no address"),
        ("http://127.0.0.1:9", "a\nb", "API key holds characters"),
        ("http://127.0.0.1:9", "schlüssel", "API key holds characters"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(url, key, says):
    with pytest.raises(ConfigurationError, match=says) as error:
        Client("fast", url, "tiny", key, "top")
    assert key is None or key not in str(error.value)


async def test_a_proxy_of_the_environment_is_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    client = Client("fast", server.url, "tiny", None, "chosen")
    await client.prepare(soon())
    await client.ask(QUESTION, soon())
    await client.close()
