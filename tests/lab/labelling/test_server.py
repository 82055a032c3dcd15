"""The page's server, asked as a browser would and as it should not be."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from natix_miner.errors import PortTakenError
from natix_miner.journal import Journal, Label
from natix_miner.lab.labelling.notes import Notes
from natix_miner.lab.labelling.queue import choose
from natix_miner.lab.labelling.serve import listen
from natix_miner.lab.labelling.server import LabelPage
from natix_miner.lab.labelling.session import Session
from tests.lab.labelling.journals import START, Asked, jpeg, make_journal

TOKEN = "a-token-of-this-test"
HEADERS = {"X-Label-Token": TOKEN}
PORT = 4711
LARGE = jpeg(3, (3000, 2000))
ASKED = [
    Asked(1, probability=0.50),
    Asked(2, probability=0.42, labels=(Label(1, "testnet", START),)),
    Asked(3, probability=0.60, picture=LARGE),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_journal(tmp_path / "journal.sqlite3", ASKED)


def page(path: Path, **settings: Any) -> LabelPage:
    choosing = partial(choose, who="ada", limit=100, random_share=0.0)
    return LabelPage(Session(Journal(path), Notes(path), "ada", choosing), **settings)


def client_of(one: LabelPage) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=one.app(TOKEN, PORT))
    return httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}")


@pytest.fixture
async def client(path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(page(path)) as client:
        yield client


async def answer(client: httpx.AsyncClient, asked: Asked, what: str, key: str = "") -> Any:
    body = {"id": asked.id, "answer": what, "key": key or f"key-of-{asked.id}-{what}"}
    return await client.post("/api/answer", json=body, headers=HEADERS)


def holds(path: Path, asked: Asked) -> tuple[int | None, str | None]:
    with Journal(path) as journal:
        entry = journal.find(asked.id)
    return entry.label, entry.label_source


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/"),
        ("GET", "/api/state"),
        ("GET", f"/picture/{ASKED[0].sha256}"),
        ("POST", "/api/answer"),
        ("POST", "/api/undo"),
        ("POST", "/api/more"),
        ("GET", "/nothing/here"),
        ("OPTIONS", "/api/answer"),
    ],
)
async def test_without_the_token_nothing_is_told(
    client: httpx.AsyncClient, method: str, address: str
) -> None:
    for given in ({}, {"X-Label-Token": "wrong"}, {"X-Label-Token": TOKEN[:-1]}):
        reply = await client.request(method, address, headers=given)
        assert reply.status_code == 403
        assert "ada" not in reply.text
        assert "access-control-allow-origin" not in reply.headers


async def test_the_token_in_the_address_is_enough_to_read_not_to_write(
    client: httpx.AsyncClient, path: Path
) -> None:
    assert (await client.get("/", params={"token": TOKEN})).status_code == 200
    body = {"id": ASKED[0].id, "answer": "roadwork", "key": "12345678"}
    reply = await client.post("/api/answer", params={"token": TOKEN}, json=body)
    assert reply.status_code == 403
    twice = await client.get("/", params=[("token", TOKEN), ("token", "other")])
    assert twice.status_code == 403
    assert holds(path, ASKED[0]) == (None, None)


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:80", ""]
)
async def test_another_name_for_this_machine_is_refused(
    client: httpx.AsyncClient, host: str
) -> None:
    reply = await client.get("/api/state", headers={**HEADERS, "Host": host})
    assert reply.status_code == 403


async def test_its_own_names_are_answered(client: httpx.AsyncClient) -> None:
    for host in (f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}"):
        reply = await client.get("/api/state", headers={**HEADERS, "Host": host})
        assert reply.status_code == 200


async def test_the_page_may_load_nothing_but_its_own(client: httpx.AsyncClient) -> None:
    replies = [await client.get("/", params={"token": TOKEN}) for _ in range(2)]
    nonces = set()
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        nonces |= set(re.findall(r"nonce-([\w-]+)", policy))
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert TOKEN not in reply.text
        assert not re.findall(r"https?://", reply.text)
    assert len(nonces) == 2


async def test_the_state_lists_what_waits_without_the_opinion(client: httpx.AsyncClient) -> None:
    state = (await client.get("/api/state", headers=HEADERS)).json()
    assert [item["id"] for item in state["items"]] == [ASKED[0].id, ASKED[2].id, ASKED[1].id]
    assert all(item["prediction"] is None for item in state["items"])
    assert "0.42" not in str(state)
    assert "testnet" not in str(state)
    assert state["progress"]["left"] == 3


async def test_the_opinion_is_shown_where_it_was_asked_for(path: Path) -> None:
    async with client_of(page(path, show_opinion=True)) as client:
        state = (await client.get("/api/state", headers=HEADERS)).json()
    item = state["items"][-1]
    assert item["prediction"] == 0.42
    assert "unsure: p = 0.42" in item["why"]


async def test_an_answer_is_written_and_reveals_the_others(
    client: httpx.AsyncClient, path: Path
) -> None:
    reply = (await answer(client, ASKED[1], "none")).json()
    assert reply["revealed"] == {"labels": {"testnet": 1}, "prediction": 0.42}
    assert reply["progress"]["others"] == {"n": 1, "same": 0}
    assert holds(path, ASKED[1]) == (0, "label:ada")


async def test_a_request_that_comes_again_is_done_once(
    client: httpx.AsyncClient, path: Path
) -> None:
    first = await answer(client, ASKED[0], "roadwork", "the-same-key")
    again = await answer(client, ASKED[0], "roadwork", "the-same-key")
    assert first.json() == again.json()
    undone = {"key": "undo-once"}
    await answer(client, ASKED[1], "none")
    replies = [await client.post("/api/undo", json=undone, headers=HEADERS) for _ in range(2)]
    assert [reply.json()["item"]["id"] for reply in replies] == [ASKED[1].id] * 2
    assert holds(path, ASKED[0]) == (1, "label:ada")  # the second undo did not reach it
    assert holds(path, ASKED[1]) == (1, "testnet")


async def test_undo_of_nothing_is_no_error(client: httpx.AsyncClient) -> None:
    reply = await client.post("/api/undo", json={"key": "12345678"}, headers=HEADERS)
    assert (reply.status_code, reply.json()["item"]) == (200, None)


async def test_an_answer_to_nothing_and_nonsense_are_refused_with_words(
    client: httpx.AsyncClient,
) -> None:
    await answer(client, ASKED[0], "roadwork")
    second = await answer(client, ASKED[0], "none")
    assert second.status_code == 409
    assert "not waiting" in second.json()["error"]
    for body in ({}, {"id": ASKED[1].id, "answer": "maybe", "key": "12345678"}):
        reply = await client.post("/api/answer", json=body, headers=HEADERS)
        assert reply.status_code == 422
    reply = await client.post("/api/undo", content=b"{", headers=HEADERS)
    assert reply.status_code == 422


async def test_a_journal_that_goes_away_is_told_and_the_same_answer_can_come_again(
    client: httpx.AsyncClient, path: Path
) -> None:
    away = path.with_name("away")
    path.rename(away)
    failed = await answer(client, ASKED[0], "roadwork", "the-same-key")
    assert failed.status_code == 503
    assert "there is no journal at" in failed.json()["error"]
    away.rename(path)
    assert (await answer(client, ASKED[0], "roadwork", "the-same-key")).status_code == 200
    assert holds(path, ASKED[0]) == (1, "label:ada")


async def test_pictures_come_as_they_are_or_as_large_as_asked_for(
    client: httpx.AsyncClient,
) -> None:
    small = f"/picture/{ASKED[0].sha256}"
    for address in (small, small + "?side=1280", small + "?side=many"):
        reply = await client.get(address, headers=HEADERS)
        assert reply.content == ASKED[0].bytes
        assert reply.headers["content-type"] == "image/jpeg"
    large = f"/picture/{ASKED[2].sha256}"
    assert (await client.get(large, headers=HEADERS)).content == LARGE
    scaled = await client.get(large + "?side=1024", headers=HEADERS)
    assert Image.open(io.BytesIO(scaled.content)).size == (1024, 683)
    gone = await client.get(f"/picture/{hashlib.sha256(b'').hexdigest()}", headers=HEADERS)
    assert gone.status_code == 404


async def test_more_chooses_from_what_came_in_meanwhile(
    client: httpx.AsyncClient, path: Path
) -> None:
    for asked in ASKED:
        await answer(client, asked, "skip")
    new = Asked(9)
    make_journal(path, [new])
    reply = (await client.post("/api/more", headers=HEADERS)).json()
    assert [item["id"] for item in reply["items"]] == [new.id]


def test_a_port_that_is_taken_is_said() -> None:
    listener = listen(0)
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        port = listener.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1 is taken"):
            listen(port)
