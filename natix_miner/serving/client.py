"""The client of one server: one-token questions and free text over HTTP, always in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import httpx

from natix_miner.clock import SYSTEM_CLOCK, Clock, Deadline
from natix_miner.errors import ConfigurationError, ServerAnswerError, UnavailableError
from natix_miner.experts.vlm.port import Question, TokenAnswer
from natix_miner.serving import token_ids, wire
from natix_miner.serving.durations import RecentSeconds
from natix_miner.serving.pools import FRESH, Pools
from natix_miner.serving.refusals import FULL_STATUSES, refusal, said
from natix_miner.serving.top_logprobs import read_top

_Read = TypeVar("_Read")

#: More than any answer of ours takes; a server that sends more is sending something else.
_MOST_BYTES = 4 * 1024 * 1024
#: A connection that broke under a request. A refused one is not among them: nobody listens there,
#: and a second attempt a moment later would find nobody either.
_BROKEN = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)


class Client:
    """Asks one server, by one kind of log-probabilities (see `wire`).

    `base_url` with or without `/v1`; `model` is the name it is served under. `retry_needs` says how
    many seconds must be left for a second attempt; without one it is what such requests took
    lately. `retried` counts second attempts. Lives on one event loop.

    All methods raise TimeoutError when the deadline has passed, UnavailableError when the server
    has too much to do (503) or the client is closed, and ServerAnswerError for everything else that
    is no answer; no message holds a picture or the key. Cancelling closes the connection, and so
    ends the work at the server.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        model: str,
        api_key: str | None,
        kind: wire.Kind,
        clock: Clock = SYSTEM_CLOCK,
        retry_needs: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.retried = 0
        self._model = model
        self._key = api_key
        self._kind = kind
        self._clock = clock
        self._retry_needs = retry_needs
        self._tokens: token_ids.AnswerTokens | None = None
        self._closed = False
        self._asking, self._writing, self._tokenizing = (RecentSeconds() for _ in range(3))
        addresses = wire.Addresses.of(base_url)
        try:
            self._completions = httpx.URL(addresses.completions)
            self._tokenize = httpx.URL(addresses.tokenize)
        except httpx.InvalidURL as error:
            raise ConfigurationError(
                f"server {name!r}: base_url {base_url!r} is no address ({error})"
            ) from error
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise ConfigurationError(
                    f"server {name!r}: its API key holds characters that cannot be sent; check "
                    "`api_key_file`"
                )
            headers["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=None,  # every request is cut at its own deadline
            trust_env=False,
            transport=Pools(secure=self._completions.scheme == "https"),
        )

    async def prepare(self, deadline: Deadline) -> None:
        """Ask which tokens say yes and no; does nothing when that is known or not needed.

        ServerAnswerError also when the model has no single token for one of the words.
        """
        if self._kind == "top" or self._tokens is not None:
            return
        found: dict[str, tuple[int, ...]] = {}
        for word in ("yes", "no"):
            ids = [
                await self._single_token(word, written, deadline)
                for written in token_ids.spellings(word)
            ]
            found[word] = tuple(sorted({token for token in ids if token is not None}))
        self._tokens = self._checked(lambda: token_ids.AnswerTokens(found["yes"], found["no"]))

    async def ask(self, question: Question, deadline: Deadline) -> TokenAnswer:
        """The masses on yes and no; `prepare` must have been called."""
        if self._kind == "top":
            body = wire.asking_for_top(self._model, question)
            answer = await self._post(self._completions, body, deadline, self._asking)
            return self._checked(lambda: read_top(answer))
        if (tokens := self._tokens) is None:
            raise RuntimeError(f"server {self.name!r} was asked before prepare()")
        body = wire.asking_for_chosen(self._model, question, tokens.all)
        answer = await self._post(self._completions, body, deadline, self._asking)
        return self._checked(lambda: token_ids.read_chosen(answer, tokens))

    async def write(self, question: Question, most_tokens: int, deadline: Deadline) -> str:
        """Free text of up to `most_tokens` tokens: thoughts, where there are any, and content."""
        body = wire.asking_for_text(self._model, question, most_tokens)
        answer = await self._post(self._completions, body, deadline, self._writing)
        return self._checked(lambda: wire.read_text(wire.read_object(answer)))

    async def close(self) -> None:
        """Close all connections, those of requests under way too; may be called twice."""
        self._closed = True
        await self._http.aclose()

    async def _single_token(self, word: str, written: str, deadline: Deadline) -> int | None:
        body = token_ids.tokenizing(self._model, written)
        try:
            answer = await self._post(self._tokenize, body, deadline, self._tokenizing)
        except ServerAnswerError as error:
            if error.status not in (404, 405):
                raise
            hint = "an engine without /tokenize can be asked with `logprobs: top` only"
            raise ServerAnswerError(f"{error}; {hint}", error.status) from error
        return self._checked(lambda: token_ids.read_single_token(word, answer))

    async def _post(
        self, url: httpx.URL, body: bytes, deadline: Deadline, took: RecentSeconds
    ) -> bytes:
        """The body of the answer with status 200."""
        if self._closed:
            raise UnavailableError(f"server {self.name!r}: its client is closed")
        seconds, began = deadline.remaining(), self._clock.monotonic()
        if seconds <= 0.0:
            raise TimeoutError(f"server {self.name!r}: no time was left to ask it")
        try:
            async with asyncio.timeout(seconds):
                status, answer = await self._twice_at_most(url, body, deadline, took)
        except TimeoutError:
            raise TimeoutError(f"server {self.name!r}: no answer within {seconds:.2f} s") from None
        except httpx.HTTPError as error:
            raise self._error(f"broke off: {type(error).__name__} {error}".rstrip()) from error
        if status in FULL_STATUSES:
            words = said(answer, self._key)
            raise UnavailableError(f"server {self.name!r} is full ({status}: {words})")
        if status != 200:
            raise self._error(refusal(status, answer, self._key), status)
        took.add(self._clock.monotonic() - began)
        return answer

    async def _twice_at_most(
        self, url: httpx.URL, body: bytes, deadline: Deadline, took: RecentSeconds
    ) -> tuple[int, bytes]:
        try:
            return await self._once(url, body, {})
        except _BROKEN:
            needs = self._retry_needs or took.usual
            if self._closed or deadline.remaining() <= needs():
                raise
        self.retried += 1
        return await self._once(url, body, {FRESH: True})

    async def _once(self, url: httpx.URL, body: bytes, how: dict[str, bool]) -> tuple[int, bytes]:
        request = self._http.build_request("POST", url, content=body, extensions=how)
        response = await self._http.send(request, stream=True)
        try:
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise self._error(f"sent more than {_MOST_BYTES} bytes", response.status_code)
        finally:
            await response.aclose()
        return response.status_code, b"".join(chunks)

    def _checked(self, read: Callable[[], _Read]) -> _Read:
        """What `read` returns; its error gets the server's name."""
        try:
            return read()
        except ServerAnswerError as error:
            raise self._error(str(error), error.status) from error

    def _error(self, what: str, status: int = 0) -> ServerAnswerError:
        return ServerAnswerError(f"server {self.name!r} {what}", status)
