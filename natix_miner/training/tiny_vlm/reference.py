"""The model folder as transformers runs it, file by file: what servers' answers are compared to.

Uses nothing of the training's own picture and prompt handling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoImageProcessor, AutoTokenizer, Qwen3VLForConditionalGeneration

PICTURE = "<|image_pad|>"
SPELLINGS = {
    side: [f"{gap}{word}" for word in (side, side.title(), side.upper()) for gap in ("", " ")]
    for side in ("yes", "no")
}


class Reference:
    """Answers one question about one picture at a time, in float32."""

    def __init__(self, folder: Path) -> None:
        """Load everything from the folder; nothing is fetched."""
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        self.model = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        ).eval()
        self._sides = {
            side: [self.tokenizer.convert_tokens_to_ids(self.tokenizer.tokenize(word)[0])
                   for word in words]
            for side, words in SPELLINGS.items()
        }  # fmt: skip

    def masses(self, pixels: npt.NDArray[np.uint8], before: str) -> tuple[float, float]:
        """The probability masses on yes and on no; `pixels` RGB uint8 (H, W, 3) of any size."""
        shown = self.processor(
            images=[pixels], return_tensors="pt", input_data_format="channels_last"
        )
        grid = shown["image_grid_thw"]
        content = [{"type": "text", "text": before}, {"type": "image"}]
        messages: Any = [{"role": "user", "content": content}]
        said = str(
            self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
        places = int(grid.prod()) // self.processor.merge_size**2
        tokens = self.tokenizer(said.replace(PICTURE, PICTURE * places), return_tensors="pt")
        numbers = tokens["input_ids"]
        kinds = (numbers == self.model.config.image_token_id).int()
        with torch.inference_mode():
            output = self.model(
                input_ids=numbers,
                attention_mask=tokens["attention_mask"],
                pixel_values=shown["pixel_values"],
                image_grid_thw=grid,
                mm_token_type_ids=kinds,
            )
        shares = output.logits[0, -1].double().softmax(-1)
        return (float(shares[self._sides["yes"]].sum()), float(shares[self._sides["no"]].sum()))

    def probability(self, pixels: npt.NDArray[np.uint8], before: str) -> float:
        """P(yes), renormalised over yes and no."""
        yes, no = self.masses(pixels, before)
        return yes / (yes + no)
