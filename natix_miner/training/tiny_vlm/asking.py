"""How the model is asked: prompts as token numbers, pictures as patches, answers as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from natix_miner.training.tiny_vlm.architecture import MERGE, PATCH, TOKEN
from natix_miner.training.tiny_vlm.folder import CHAT_TEMPLATE
from natix_miner.training.tiny_vlm.questions import QUESTIONS
from natix_miner.training.tiny_vlm.tokenizer import ANSWERS, make_tokenizer


@dataclass(frozen=True, slots=True)
class Sight:
    """What the vision part made of a batch of pictures of one shape.

    `encoded` is its output as the whole model takes it, `patches` (N x patches, hidden) its last
    hidden states in the order of `in_order`, `grid` (N, 3) frames, rows and columns of patches.
    """

    encoded: Any
    patches: Tensor
    grid: Tensor


class Asker:
    """Asks a model the four questions about pictures whose sides are multiples of 32."""

    def __init__(self, model: Qwen3VLForConditionalGeneration) -> None:
        self.model = model
        tokenizer = make_tokenizer()
        self._image = model.config.image_token_id
        template = jinja2.Template(CHAT_TEMPLATE)
        self._prompts = {}
        for name, text in QUESTIONS.items():
            content = [{"type": "text", "text": text}, {"type": "image"}]
            message = {"role": "user", "content": content}
            said = template.render(messages=[message], add_generation_prompt=True)
            self._prompts[name] = tokenizer.encode(said).ids
        spellings = {side: [word for word in ANSWERS if word.lower() == side]
                     for side in ("yes", "no")}  # fmt: skip
        self.yes, self.no = (tokenizer.encode(word).ids[0] for word in ("yes", "no"))
        self._yes, self._no = (
            torch.tensor([tokenizer.encode(form).ids[0]
                          for word in spellings[side] for form in (word, f" {word}")])
            for side in ("yes", "no")
        )  # fmt: skip

    def prompt(self, name: str, picture_tokens: int) -> list[int]:
        """The question's token numbers with so many places for the picture."""
        made: list[int] = []
        for token in self._prompts[name]:
            made += [token] * (picture_tokens if token == self._image else 1)
        return made

    def see(self, pixels: npt.NDArray[np.uint8]) -> Sight:
        """Run the vision part on uint8 (N, H, W, 3)."""
        count, height, width = pixels.shape[:3]
        rows, columns = height // PATCH, width // PATCH
        grid = torch.tensor([[1, rows, columns]] * count)
        encoded = self.model.model.get_image_features(patches_of(pixels), grid, return_dict=True)
        return Sight(encoded, encoded.last_hidden_state, grid)

    def answer(self, sight: Sight, name: str) -> Tensor:
        """Logits (N, vocabulary) of the answer token to one question."""
        rows, columns = int(sight.grid[0, 1]), int(sight.grid[0, 2])
        prompt = self.prompt(name, rows * columns // MERGE**2)
        tokens = torch.tensor([prompt]).expand(len(sight.grid), -1)
        output = self.model.model(
            input_ids=tokens,
            image_grid_thw=sight.grid,
            mm_token_type_ids=(tokens == self._image).int(),
            mm_encoder_outputs={"image": sight.encoded},
            use_cache=False,
        )
        logits: Tensor = self.model.lm_head(output.last_hidden_state[:, -1])
        return logits

    def masses(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The probability masses (N,) on all spellings of yes and of no."""
        shares = logits.float().softmax(-1)
        return shares[:, self._yes].sum(-1), shares[:, self._no].sum(-1)


def patches_of(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (N, H, W, 3) to the patches (N x patches, 1536) that Qwen3-VL's processor makes."""
    count, height, width = pixels.shape[:3]
    if height % TOKEN or width % TOKEN:
        raise ValueError(f"sides are multiples of {TOKEN}, got {height} x {width}")
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    cut = scaled.reshape(
        count, 3, height // TOKEN, MERGE, PATCH, width // TOKEN, MERGE, PATCH
    ).permute(0, 2, 5, 3, 6, 1, 4, 7)
    cut = cut.reshape(-1, 3, 1, PATCH, PATCH).expand(-1, 3, 2, PATCH, PATCH)
    return cut.reshape(len(cut), -1)


def in_order(patches: Tensor) -> Tensor:
    """(N, rows, columns, C) to (N x patches, C) in the order of `patches_of`: 2 x 2 at a time."""
    count, rows, columns, channels = patches.shape
    cut = patches.reshape(count, rows // MERGE, MERGE, columns // MERGE, MERGE, channels)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(-1, channels)
