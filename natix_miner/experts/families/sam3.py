"""SAM 3: objects and their outlines for every phrase, from one encoding of the picture.

Carion et al., "SAM 3: Segment Anything with Concepts", 2025. Detector and segmenter are one model:
several experts on it share one load.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from natix_miner.experts.detection.detections import Detections, Outline, outline_of
from natix_miner.experts.detection.prompted import Loaded, PromptedExpert
from natix_miner.experts.detection.prompts import check_lengths, inside
from natix_miner.experts.detection.settings import PromptedSettings, Score
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.weights.locating import Place
from natix_miner.torch_stack import TorchStack

#: What the hub calls facebook/sam3 is the video model, with the detector in it.
ARCHITECTURES = {
    "sam3": "Sam3Model",
    "sam3_video": "Sam3Model",
    "sam3_lite_text": "Sam3LiteTextModel",
}
#: Masks are drawn with their longer side at most so long; the model itself makes them 288 wide.
MASK_SIDE = 640


class Sam3Settings(PromptedSettings):
    """`masks` draws the outlines of what is found; `phrases_at_once` are decoded together (more is
    faster on a GPU and takes more memory)."""

    type: Literal["sam3"] = "sam3"
    threshold: Score = 0.3
    masks: bool = False
    phrases_at_once: PositiveInt = 4


class Sam3Detector(PromptedExpert):
    """Encodes the phrases at load, every picture once, and decodes each phrase for it."""

    view_size = 1008

    def __init__(self, name: str, settings: Sam3Settings, surroundings: Surroundings) -> None:
        super().__init__(name, settings, surroundings)
        self._asking = settings
        self._loaded: Loaded
        self._phrases: tuple[str, ...]
        self._text: dict[str, Any]

    def read(self, stack: TorchStack, place: Place) -> Loaded:
        model, processor = self.read_pretrained(stack, place, ARCHITECTURES, "Sam3Processor")
        return self.placed(model, processor, heavy="vision_encoder")

    def prepare(self, loaded: Loaded, phrases: tuple[str, ...]) -> None:
        check_lengths(
            phrases,
            loaded.processor.tokenizer(list(phrases))["input_ids"],
            int(loaded.model.config.text_config.max_position_embeddings),
        )
        told = loaded.processor(text=list(phrases), return_tensors="pt")
        sent = self._placement.send(told)
        features = loaded.model.get_text_features(**sent).pooler_output
        self._text = {"features": features, "mask": sent["attention_mask"]}
        self._loaded, self._phrases = loaded, phrases

    def found(self, pictures: list[NDArray[np.uint8]]) -> list[Detections]:
        made = self._loaded.processor.image_processor(
            images=[np.array(picture) for picture in pictures],  # torch warns of read-only ones
            input_data_format="channels_last",
            return_tensors="pt",
        )
        pixels = self._placement.send({"pixel_values": made["pixel_values"]})
        seen = self._loaded.model.get_vision_features(**pixels)
        return [self._in_one(picture, seen, number) for number, picture in enumerate(pictures)]

    def _in_one(self, picture: NDArray[np.uint8], seen: Any, number: int) -> Detections:
        step = self._asking.phrases_at_once
        parts = []
        for start in range(0, len(self._phrases), step):
            some = slice(start, start + step)
            answer = self._decoded(seen, number, some)
            parts.append(self._objects(answer, self._phrases[some], picture))
        return Detections.joined(parts)

    def _decoded(self, seen: Any, number: int, some: slice) -> Any:
        """The model's answer to some phrases about one picture of those that were encoded."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        features, mask = self._text["features"][some], self._text["mask"][some]

        def repeated(levels: tuple[Any, ...]) -> tuple[Any, ...]:
            one = slice(number, number + 1)
            return tuple(level[one].expand(len(features), *level.shape[1:]) for level in levels)

        return self._loaded.model(
            vision_embeds=type(seen)(
                fpn_hidden_states=repeated(seen.fpn_hidden_states),
                fpn_position_encoding=repeated(seen.fpn_position_encoding),
            ),
            text_embeds=BaseModelOutputWithPooling(pooler_output=features),
            attention_mask=mask,
        )

    def _objects(
        self, answer: Any, phrases: tuple[str, ...], picture: NDArray[np.uint8]
    ) -> Detections:
        """Scores are those of the queries times that of the phrase's presence in the picture."""
        height, width = picture.shape[:2]
        scores = answer.pred_logits.float().sigmoid()
        if answer.presence_logits is not None:
            scores = scores * answer.presence_logits.float().sigmoid()
        best = scores.flatten().topk(min(self._asking.most_boxes, scores.numel()))
        which = best.indices[best.values > self._asking.threshold]
        boxes = answer.pred_boxes.flatten(0, 1)[which].double().cpu().numpy()
        masks = answer.pred_masks.flatten(0, 1)[which].float()
        return Detections.of(
            inside(boxes * (width, height, width, height), width, height),
            scores.flatten()[which].cpu().numpy(),
            [phrases[row] for row in (which // scores.shape[1]).tolist()],
            outlines(masks, width, height) if self._asking.masks else None,
        )


def outlines(masks: Any, width: int, height: int) -> list[Outline]:
    """The polygons of masks (n, h, w) of logits in a picture of this size."""
    from torch.nn.functional import interpolate

    if not len(masks):
        return []
    shrunk = min(1.0, MASK_SIDE / max(width, height))
    size = (max(1, round(height * shrunk)), max(1, round(width * shrunk)))
    drawn = interpolate(masks.sigmoid()[None], size=size, mode="bilinear", align_corners=False)[0]
    across, down = width / size[1], height / size[0]
    return [
        tuple((x * across, y * down) for x, y in outline_of(mask))
        for mask in (drawn > 0.5).cpu().numpy()
    ]


FAMILY = Family(type="sam3", settings=Sam3Settings, build=Sam3Detector)
