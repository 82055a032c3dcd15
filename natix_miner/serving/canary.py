"""The picture question that tells whether a server is alive.

A server's /health says 200 before its engine has warmed up and while it hangs; an answered picture
does not lie. Each canary is a picture of another colour, so that no cache answers for the engine.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from PIL import Image

from natix_miner.clock import Clock, Deadline
from natix_miner.errors import NatixMinerError, ServerAnswerError
from natix_miner.experts.vlm.port import Question, TokenAnswer

#: Side of the picture in pixels: that of the smaller kind of queries.
SIDE = 224
#: Between two attempts to get an answer.
LOOK_SECONDS = 0.25
#: A server that answers the picture wrongly so often in a row will not do better.
WRONG_ANSWERS = 3
TEXT = "Is this picture of a single colour? Answer yes or no."

#: Asks a client one picture, once.
Ask = Callable[[Any, Deadline], Awaitable[None]]


class Answers(Protocol):
    """What is asked: a `Client`."""

    async def prepare(self, deadline: Deadline) -> None:
        """Find out what must be known before asking."""
        ...

    async def ask(self, question: Question, deadline: Deadline) -> TokenAnswer:
        """The masses on yes and no."""
        ...


async def ask_canary(client: Answers, deadline: Deadline, rng: random.Random) -> None:
    """Returns when the picture was answered in the right form, whatever the answer.

    Raises what the client raises: ServerAnswerError, UnavailableError, TimeoutError.
    """
    await client.prepare(deadline)
    await client.ask(Question(before=TEXT, picture=picture(rng)), deadline)


def picture(rng: random.Random) -> bytes:
    """A JPEG of one colour, less than 2 kB."""
    buffer = io.BytesIO()
    colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
    Image.new("RGB", (SIDE, SIDE), colour).save(buffer, "JPEG")
    return buffer.getvalue()


async def until_answered(
    ask: Callable[[Deadline], Awaitable[None]], seconds: float, clock: Clock
) -> str:
    """Ask again and again until there is an answer; empty then, else why there was none.

    Gives up after `seconds`, or after WRONG_ANSWERS in the wrong form in a row. A server that does
    not listen yet, breaks connections or is full is asked again.
    """
    deadline = Deadline.after(seconds, clock)
    last, wrong = "", 0
    while (left := deadline.remaining()) > 0.0:
        try:
            async with asyncio.timeout(left):
                await ask(deadline)
            return ""
        except TimeoutError:
            if left > LOOK_SECONDS:  # else there was no time for more than the attempt before
                last = ""
        except NatixMinerError as error:
            last = str(error)
            wrong = wrong + 1 if _is_wrong(error) else 0
            if wrong == WRONG_ANSWERS:
                return f"a picture was answered wrongly ({last})"
        await asyncio.sleep(max(0.0, min(LOOK_SECONDS, deadline.remaining())))
    return f"no answer to a picture within {seconds:g} s" + (f" ({last})" if last else "")


def _is_wrong(error: NatixMinerError) -> bool:
    """Whether it was an answer in the wrong form, not a server that cannot answer yet."""
    return isinstance(error, ServerAnswerError) and 0 < error.status < 500
