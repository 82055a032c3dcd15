"""The page's server: one HTML page, its pictures, and the answers that come back."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from natix_miner.errors import JournalError
from natix_miner.lab.labelling.guard import POLICY, Guard
from natix_miner.lab.labelling.pictures import media_type, scaled
from natix_miner.lab.labelling.queue import Choice
from natix_miner.lab.labelling.rule import reasons
from natix_miner.lab.labelling.session import Answer, GoneError, NotAskedError, Session

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = Path(__file__).parent / "page.html"
#: Outcomes that are remembered, for requests whose answer was lost on the way and that come again.
REMEMBERED = 200


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(min_length=8, max_length=64)  # the same when a request is sent again


class _AnswerBody(_Body):
    id: str
    answer: Answer


class LabelPage:
    """The routes of the page over one session; `show_opinion`: what the miner says is shown before
    the answer as well."""

    def __init__(self, session: Session, *, show_opinion: bool = False) -> None:
        self._session = session
        self._show_opinion = show_opinion
        self._page = PAGE.read_text(encoding="utf-8")
        self._turn = asyncio.Lock()
        self._outcomes: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()

    def app(self, token: str, port: int) -> Guard:
        """The ASGI application; everything in it needs the token."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        routes = [
            Route("/", self._html, methods=["GET"]),
            Route("/picture/{sha256}", self._picture, methods=["GET"]),
            Route("/api/state", self._state, methods=["GET"]),
            Route("/api/answer", self._answer, methods=["POST"]),
            Route("/api/undo", self._undo, methods=["POST"]),
            Route("/api/more", self._more, methods=["POST"]),
        ]
        return Guard(Starlette(routes=routes), token, port)

    async def _html(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(
            self._page.replace("{{nonce}}", nonce),
            headers={"Content-Security-Policy": POLICY.format(nonce=nonce)},
        )

    async def _picture(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse, Response

        sha256, side = request.path_params["sha256"], request.query_params.get("side", "")

        def load() -> bytes | None:
            picture = self._session.picture(sha256)
            return scaled(picture, int(side)) if picture and side.isdecimal() else picture

        try:
            picture = await run_in_threadpool(load)
        except JournalError as error:
            return PlainTextResponse(str(error), status_code=503)
        if picture is None:
            return PlainTextResponse("the journal does not hold this picture", status_code=404)
        return Response(picture, media_type=media_type(picture))

    async def _state(self, request: Request) -> Response:
        return await self._reply(lambda: self._whole(self._session.waiting))

    async def _more(self, request: Request) -> Response:
        return await self._reply(lambda: self._whole(self._session.refill()))

    async def _answer(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        try:
            body = _AnswerBody.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": f"not an answer: {error}"}, status_code=422)

        def write() -> dict[str, Any]:
            revealed = self._session.answer(body.id, body.answer)
            return {"revealed": None if revealed is None else asdict(revealed)}

        return await self._reply(write, body.key)

    async def _undo(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        try:
            body = _Body.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": f"not an undo: {error}"}, status_code=422)

        def write() -> dict[str, Any]:
            choice = self._session.undo()
            return {"item": None if choice is None else self._item(choice)}

        return await self._reply(write, body.key)

    async def _reply(self, work: Callable[[], dict[str, Any]], key: str | None = None) -> Response:
        """Do the work in a thread; with a `key` only once, however often it is asked for."""
        from starlette.responses import JSONResponse

        # One after the other: a request that comes again finds the outcome of the first.
        async with self._turn:
            status, content = self._outcomes.get(key or "") or await self._done(work)
            if key is not None and status < 500:
                self._outcomes[key] = status, content
                while len(self._outcomes) > REMEMBERED:
                    self._outcomes.popitem(last=False)
        return JSONResponse(content, status_code=status)

    async def _done(self, work: Callable[[], dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        from starlette.concurrency import run_in_threadpool

        def worked() -> dict[str, Any]:
            return {**work(), "progress": asdict(self._session.progress())}

        try:
            return 200, await run_in_threadpool(worked)
        except NotAskedError as error:
            return 409, {"error": str(error)}
        except GoneError as error:
            return 410, {"error": str(error)}
        except JournalError as error:
            return 503, {"error": str(error)}

    def _whole(self, waiting: tuple[Choice, ...]) -> dict[str, Any]:
        return {"who": self._session.who, "items": [self._item(choice) for choice in waiting]}

    def _item(self, choice: Choice) -> dict[str, Any]:
        told = ("drawn at random",) if choice.drawn else ()
        why = reasons(choice.signals, labelled=choice.labelled, opinion=self._show_opinion)
        return {
            "id": choice.id,
            "sha256": choice.sha256,
            "why": [*told, *(() if choice.drawn else why)],
            "at": choice.received_at,
            "prediction": choice.prediction if self._show_opinion else None,
        }
