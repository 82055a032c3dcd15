"""Florence-2: a language model that writes where things are, in words and location tokens.

Xiao et al., "Florence-2", 2023 (arXiv 2311.06242). It gives no scores and rarely says that
something is not there. The score of a box is the geometric mean of the probabilities that the model
gave to the tokens it wrote for it, phrase and places; that is no probability of an object, and the
rule needs a slope and an intercept fitted for it.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from natix_miner.errors import ModelError
from natix_miner.experts.detection.detections import Detections, Outline
from natix_miner.experts.detection.prompted import Loaded, PromptedExpert
from natix_miner.experts.detection.prompts import inside, phrase_of
from natix_miner.experts.detection.settings import PromptedSettings
from natix_miner.experts.family import Family, Surroundings
from natix_miner.experts.weights.locating import Place
from natix_miner.torch_stack import TorchStack

ARCHITECTURES = {"florence2": "Florence2ForConditionalGeneration"}
TASKS = {
    "open-vocabulary-detection": "<OPEN_VOCABULARY_DETECTION>",
    "phrase-grounding": "<CAPTION_TO_PHRASE_GROUNDING>",
}
#: Tokens of a polygon that are not places.
DRAWING = frozenset({"<poly>", "</poly>", "<sep>"})


class FlorenceSettings(PromptedSettings):
    """`task` asks for every phrase by itself (slower, surer), or writes all of them into one
    caption; `prompts_at_once` are answered together. At most `max_new_tokens` are written for each
    prompt, about five an object: that bounds the time."""

    type: Literal["florence"] = "florence"
    task: Literal["open-vocabulary-detection", "phrase-grounding"] = "open-vocabulary-detection"
    max_new_tokens: PositiveInt = 128
    prompts_at_once: PositiveInt = 8


class Box(NamedTuple):
    """One object that was written: corners in pixels, the label as written, the positions of its
    tokens in the text, the polygon if it is one."""

    corners: tuple[float, ...]
    label: str
    tokens: tuple[int, ...]
    outline: Outline = ()


class FlorenceDetector(PromptedExpert):
    """Encodes the picture once and lets the model write about it, prompt by prompt."""

    view_size = 1024

    def __init__(self, name: str, settings: FlorenceSettings, surroundings: Surroundings) -> None:
        super().__init__(name, settings, surroundings)
        self._asking = settings
        self._task = TASKS[settings.task]
        self._loaded: Loaded
        self._phrases: tuple[str, ...]
        self._prompts: list[dict[str, Any]]

    def read(self, stack: TorchStack, place: Place) -> Loaded:
        model, processor = self.read_pretrained(stack, place, ARCHITECTURES, "Florence2Processor")
        return self.placed(model, processor, heavy="model.vision_tower")

    def prepare(self, loaded: Loaded, phrases: tuple[str, ...]) -> None:
        alone = self._asking.task == "open-vocabulary-detection"
        asked = list(phrases) if alone else [". ".join(phrases) + "."]
        step, most = self._asking.prompts_at_once, loaded.model.config.text_config
        self._loaded, self._phrases, self._prompts = loaded, phrases, []
        for some in (asked[start : start + step] for start in range(0, len(asked), step)):
            told = loaded.processor(
                images=[np.zeros((64, 64, 3), np.uint8)] * len(some),
                text=[f"{self._task}{phrase}" for phrase in some],
                padding=True,
                return_tensors="pt",
            )
            length = told["input_ids"].shape[1]
            if length > most.max_position_embeddings:
                raise ModelError(
                    f"expert {self.name!r}: a prompt and its picture are {length} tokens long, the "
                    f"model reads {most.max_position_embeddings}: ask for less"
                )
            text = {name: told[name] for name in ("input_ids", "attention_mask")}
            self._prompts.append(self._placement.send(text))

    def found(self, pictures: list[NDArray[np.uint8]]) -> list[Detections]:
        made = self._loaded.processor.image_processor(
            images=[np.array(picture) for picture in pictures],  # torch warns of read-only ones
            input_data_format="channels_last",
            return_tensors="pt",
        )
        pixels = self._placement.send({"pixel_values": made["pixel_values"]})
        seen = self._loaded.model.get_image_features(**pixels).pooler_output
        return [
            self._in_one(picture, seen[number : number + 1])
            for number, picture in enumerate(pictures)
        ]

    def _in_one(self, picture: NDArray[np.uint8], seen: Any) -> Detections:
        """What all prompts find; `seen` (1, tokens, width) is the encoded picture."""
        written = [answer for prompts in self._prompts for answer in self._written(prompts, seen)]
        height, width = picture.shape[:2]
        parts = []
        for number, (tokens, sure) in enumerate(written):
            boxes = boxes_in(tokens, self._loaded.processor, self._task, (width, height))
            parts.append(self._named(boxes, sure, number, width, height))
        return Detections.joined(parts)

    def _named(
        self, boxes: list[Box], sure: NDArray[np.float64], number: int, width: int, height: int
    ) -> Detections:
        """The boxes of one answer with phrase and score; what belongs to no phrase is left out."""
        alone = self._asking.task == "open-vocabulary-detection"
        names = [
            self._phrases[number] if alone else phrase_of(box.label, self._phrases) for box in boxes
        ]
        known = [(box, name) for box, name in zip(boxes, names, strict=True) if name is not None]
        return Detections.of(
            inside(np.array([box.corners for box, _ in known], np.float64), width, height),
            [float(np.exp(sure[list(box.tokens)].mean())) for box, _ in known],
            [name for _, name in known],
            [box.outline for box, _ in known],
        ).at_least(self._asking.threshold)

    def _written(
        self, prompts: dict[str, Any], seen: Any
    ) -> list[tuple[list[int], NDArray[np.float64]]]:
        """Token ids that the model writes for each prompt, and the logarithm of the probability it
        gave to each of them."""
        model, ids, mask = self._loaded.model, prompts["input_ids"], prompts["attention_mask"]
        words = model.get_input_embeddings()(ids)
        features = seen.expand(len(ids), *seen.shape[1:]).to(words.dtype)
        places = model.get_placeholder_mask(ids, words, features)
        read = model.get_encoder()(
            inputs_embeds=words.masked_scatter(places, features), attention_mask=mask
        )
        answer = model.generate(
            encoder_outputs=read,
            attention_mask=mask,
            max_new_tokens=self._asking.max_new_tokens,
            num_beams=1,
            do_sample=False,
            early_stopping=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        steps = len(answer.logits)
        tokens = answer.sequences[:, -steps:]
        sure = [
            logits.float().log_softmax(-1).gather(1, tokens[:, step, None])[:, 0].cpu().numpy()
            for step, logits in enumerate(answer.logits)
        ]
        by_prompt = np.stack(sure, axis=1).astype(np.float64)
        return list(zip(tokens.tolist(), by_prompt, strict=True))


def boxes_in(ids: list[int], processor: Any, task: str, size: tuple[int, int]) -> list[Box]:
    """The objects in a text of location tokens, for a picture of this size (width, height).

    The text is cut into pieces of one object each, words and four places (or a polygon), which the
    processor's own post-processing reads: so it is known which tokens belong to which object.
    """
    tokenizer = processor.tokenizer
    names = tokenizer.convert_ids_to_tokens(ids)
    boxes: list[Box] = []
    for words, places in _runs(names, set(tokenizer.all_special_tokens) - DRAWING):
        drawn = any(names[place] in DRAWING for place in places)
        whole = [places] if drawn else [places[n : n + 4] for n in range(0, len(places) - 3, 4)]
        for some in whole:
            tokens = (*words, *some)
            told = processor.post_process_generation(
                sequence=[ids[token] for token in tokens], task=task, image_size=size
            )[task]
            boxes += _read(told, tokens)
    return boxes


def _runs(names: list[str], skipped: set[str]) -> list[tuple[list[int], list[int]]]:
    """Positions of words, and of the location tokens that follow them; in order."""
    found: list[tuple[list[int], list[int]]] = [([], [])]
    for position, name in enumerate(names):
        if re.fullmatch(r"<loc_\d+>", name) or name in DRAWING:
            found[-1][1].append(position)
        elif name not in skipped:
            if found[-1][1]:
                found.append(([], []))
            found[-1][0].append(position)
    return [(words, places) for words, places in found if words and len(places) >= 4]


def _read(told: dict[str, list[Any]], tokens: tuple[int, ...]) -> list[Box]:
    """The objects of one piece as the processor tells them."""
    labels = told.get("bboxes_labels", told.get("labels", []))
    boxes = [
        Box(tuple(box), label, tokens)
        for box, label in zip(told.get("bboxes", []), labels, strict=True)
    ]
    for polygons, label in zip(
        told.get("polygons", []), told.get("polygons_labels", []), strict=True
    ):
        points = np.array(max(polygons, key=len), np.float64).reshape(-1, 2)
        if len(points) < 3:
            continue
        outline = tuple((float(x), float(y)) for x, y in points)
        boxes.append(Box((*points.min(0), *points.max(0)), label, tokens, outline))
    return boxes


FAMILY = Family(type="florence", settings=FlorenceSettings, build=FlorenceDetector)
