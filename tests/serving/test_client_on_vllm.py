"""The client on a real vLLM server with the tiny model; P(yes) as transformers has it."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from natix_miner.clock import Deadline
from natix_miner.errors import ServerAnswerError, UnavailableError
from natix_miner.experts.vlm.port import Question
from natix_miner.serving.client import Client
from natix_miner.serving.guarded import GuardedServer
from natix_miner.serving.settings import ServerSettings

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[2]
TINY = ROOT / "models" / "tiny-vlm"
PICTURES = sorted((ROOT / "natix_miner" / "demo" / "queries").glob("cropped-*.jpg"))
TEXT = "Is there roadwork in this street picture? Answer yes or no."


def soon(seconds: float = 60.0) -> Deadline:
    return Deadline.after(seconds)


def noise(seed: int) -> bytes:
    """A picture that no server has seen before."""
    pixels = np.random.default_rng(seed).integers(0, 256, (224, 224, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG")
    return written.getvalue()


@pytest.fixture
async def client(vllm) -> AsyncIterator[Client]:
    made = Client("tiny", vllm.url, vllm.model, vllm.key, "chosen")
    await made.prepare(soon())
    yield made
    await made.close()


class Reference:
    """P(yes) and P(no) by transformers: its picture processor, its model, its tokenizer."""

    def __init__(self) -> None:
        torch = pytest.importorskip("torch")
        from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        self._torch = torch
        self._processor = Qwen2VLImageProcessorPil.from_pretrained(TINY)
        self._tokenizer = AutoTokenizer.from_pretrained(TINY)
        self._model = Qwen3VLForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32)

    def masses(self, question: Question) -> tuple[float, float, int]:
        """Yes, no, and the length of the prompt."""
        torch = self._torch
        assert question.picture is not None
        picture = Image.open(io.BytesIO(question.picture)).convert("RGB")
        patches = self._processor(images=[picture], return_tensors="pt")
        content = [{"type": "text", "text": question.before}, {"type": "image"}]
        content += [{"type": "text", "text": question.after}] if question.after else []
        messages = [{"role": "system", "content": question.system}] if question.system else []
        messages += [{"role": "user", "content": content}]
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        tokens = int(patches["image_grid_thw"].prod()) // 4
        text = text.replace("<|image_pad|>", "<|image_pad|>" * tokens) + question.thought
        ids = self._tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        kinds = (ids == self._model.config.image_token_id).long()
        with torch.no_grad():
            logits = self._model(input_ids=ids, mm_token_type_ids=kinds, **patches).logits[0, -1]
        softmax = np.exp(logits.double().numpy() - float(logits.max()))
        softmax /= softmax.sum()
        words = [self._tokenizer.decode([token]).strip().lower() for token in range(len(softmax))]
        yes, no = (
            sum(softmax[i] for i, w in enumerate(words) if w == word) for word in ("yes", "no")
        )
        return float(yes), float(no), ids.shape[1]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


@pytest.mark.parametrize(
    "question",
    [
        *(Question(TEXT, picture.read_bytes()) for picture in PICTURES[:6]),
        Question("Roadwork?", PICTURES[0].read_bytes(), "You judge pictures.", "Answer yes or no."),
        Question(TEXT, PICTURES[1].read_bytes(), thought="I see cones. So: "),
    ],
    ids=[*(picture.stem for picture in PICTURES[:6]), "system and after", "thought"],
)
async def test_p_yes_is_that_of_transformers(client, reference, question):
    answer = await client.ask(question, soon())
    yes, no, tokens = reference.masses(question)
    assert answer.yes == pytest.approx(yes, abs=1e-3)
    assert answer.no == pytest.approx(no, abs=1e-3)
    assert answer.probability == pytest.approx(yes / (yes + no), abs=1e-3)
    assert answer.prompt_tokens == tokens


async def test_fifty_at_once_are_all_right(client):
    pictures = [picture.read_bytes() for picture in PICTURES] + [noise(seed) for seed in range(26)]
    alone = [await client.ask(Question(TEXT, picture), soon()) for picture in pictures]
    together = await asyncio.gather(*(client.ask(Question(TEXT, p), soon()) for p in pictures))
    assert len(together) == 50
    assert [a.probability for a in together] == pytest.approx(
        [a.probability for a in alone], abs=1e-3
    )
    assert [a.yes + a.no for a in together] == pytest.approx(
        [a.yes + a.no for a in alone], abs=1e-3
    )


async def test_text_is_written_beside_answers(client):
    question = Question(TEXT, PICTURES[0].read_bytes())
    alone = await client.ask(question, soon())
    text, *answers = await asyncio.gather(
        client.write(question, 12, soon()), *(client.ask(question, soon()) for _ in range(8))
    )
    assert isinstance(text, str)
    assert [a.probability for a in answers] == pytest.approx([alone.probability] * 8, abs=1e-3)


async def test_a_question_without_a_picture_is_answered(client):
    answer = await client.ask(Question("Two say yes, one says no. Roadwork?"), soon())
    assert 0.0 < answer.probability < 1.0


@pytest.mark.parametrize(
    ("picture", "text", "says"),
    [
        (b"\xff\xd8\xff no picture", TEXT, r"400 \(.*image"),
        (PICTURES[0].read_bytes()[:200], TEXT, "400"),
        (PICTURES[0].read_bytes(), TEXT * 200, r"400 \(.*context length"),
    ],
    ids=["no picture", "cut off", "too long"],
)
async def test_what_the_server_does_not_take_is_a_400(client, picture, text, says):
    with pytest.raises(ServerAnswerError, match=says) as error:
        await client.ask(Question(text, picture), soon())
    assert error.value.status == 400
    await client.ask(Question(TEXT, PICTURES[0].read_bytes()), soon())


async def test_the_wrong_key_is_a_401(vllm):
    client = Client("tiny", vllm.url, vllm.model, "not-the-key", "top")
    with pytest.raises(ServerAnswerError, match="key is wrong") as error:
        await client.ask(Question(TEXT, PICTURES[0].read_bytes()), soon())
    assert error.value.status == 401
    assert "not-the-key" not in str(error.value)
    await client.close()


async def test_the_wrong_model_is_a_404_before_anything_is_asked(vllm):
    client = Client("tiny", vllm.url, "another", vllm.key, "chosen")
    with pytest.raises(ServerAnswerError, match="`another` does not exist") as error:
        await client.prepare(soon())
    assert error.value.status == 404
    await client.close()


async def metric(vllm, name: str) -> float:
    """The sum of one metric of the server."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{vllm.url.removesuffix('/v1')}/metrics")).text
    values = re.findall(rf"^vllm:{name}\{{.*\}} (\S+)$", text, re.MULTILINE)
    assert values, f"the server knows no metric {name}"
    return sum(map(float, values))


async def until_idle(vllm) -> None:
    """Until nothing runs or waits at the server, for half a minute at most."""
    begun = time.monotonic()
    while await metric(vllm, "num_requests_running") + await metric(vllm, "num_requests_waiting"):
        assert time.monotonic() - begun < 30.0
        await asyncio.sleep(0.05)


async def test_cancelling_ends_the_work_at_the_server(vllm, client):
    before = await metric(vllm, "request_success_total")
    asking = [
        asyncio.ensure_future(client.ask(Question(TEXT, noise(seed)), soon()))
        for seed in range(1000, 1060)
    ]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED, timeout=30.0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert sum(task.cancelled() for task in asking) > 30
    # Time enough for what was cancelled to be answered too, had it gone on.
    for seed in range(30):
        await client.ask(Question(TEXT, noise(seed)), soon())
    await until_idle(vllm)
    assert await metric(vllm, "request_success_total") < before + len(asking) + 30 - 10


async def test_a_guard_keeps_to_its_deadline_and_its_most(vllm, client):
    guard = GuardedServer("tiny", ServerSettings(model="tiny", max_in_flight=8))
    guard.attach(client)
    asking = (guard.ask(Question(TEXT, noise(seed)), soon()) for seed in range(2000, 2020))
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(answer, UnavailableError) for answer in answers) == 12
    assert guard.counts().answered == 8
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await guard.ask(Question(TEXT, noise(3000)), soon(0.003))
    assert time.monotonic() - begun < 1.0
