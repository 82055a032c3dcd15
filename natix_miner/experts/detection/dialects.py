"""How each kind of open-vocabulary detector in transformers wants to be asked, and how it answers.

A dialect encodes the phrases when it is made, and is then called with pictures.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from natix_miner.errors import ModelError
from natix_miner.experts.detection.detections import Detections
from natix_miner.experts.detection.prompted import Loaded
from natix_miner.experts.detection.prompts import check_lengths, inside
from natix_miner.experts.weights.placement import Placement

Pictures = list[NDArray[np.uint8]]


class Asking(Protocol):
    """What a profile says of asking; see `families.open_vocabulary`."""

    @property
    def threshold(self) -> float: ...
    @property
    def text_threshold(self) -> float: ...
    @property
    def words(self) -> Literal["all", "best"]: ...
    @property
    def template(self) -> str: ...


class Dialect(ABC):
    """One kind of model, asked for `phrases`."""

    #: The part of the model that does most of the work, where it is not called as a whole.
    heavy = ""

    def __init__(
        self, loaded: Loaded, phrases: tuple[str, ...], asking: Asking, placement: Placement
    ) -> None:
        self.model, self.processor = loaded.model, loaded.processor
        self.phrases, self.asking, self.placement = phrases, asking, placement

    @abstractmethod
    def __call__(self, pictures: Pictures) -> list[Detections]:
        """Objects in each picture, of any sizes, in its pixels, above the threshold."""

    def pixels(self, pictures: Pictures) -> dict[str, Any]:
        """What the model's own image processor makes of pictures, where the model runs."""
        made = self.processor.image_processor(
            images=_own(pictures), input_data_format="channels_last", return_tensors="pt"
        )
        return self.placement.send(made)


class Grounding(Dialect):
    """Grounding DINO and MM Grounding DINO (LLMDet): all phrases in one text, a score for each of
    its tokens.

    A phrase's score is the mean over its tokens, as its authors score classes (IDEA-Research,
    GroundingDINO, demo/test_ap_on_coco.py; OpenMMLab, convert_grounding_to_cls_scores), or that of
    its best token, as the post-processing of transformers has it. Phrases are told by the places of
    their tokens: the words that transformers puts together may belong to several phrases.
    """

    def __init__(
        self, loaded: Loaded, phrases: tuple[str, ...], asking: Asking, placement: Placement
    ) -> None:
        super().__init__(loaded, phrases, asking, placement)
        text = "".join(f"{_clean(phrase)}. " for phrase in phrases).strip()
        told = loaded.processor.tokenizer(text, return_token_type_ids=True, return_tensors="pt")
        length, most = told["input_ids"].shape[1], int(loaded.model.config.max_text_len)
        if length > most:
            raise ModelError(
                f"the {len(phrases)} phrases are {length} tokens together, the model reads {most}; "
                "ask for less, or let two experts share the model"
            )
        self._text = placement.send(told)
        self._places = _places(told["input_ids"][0].tolist(), loaded.processor.tokenizer, phrases)

    def __call__(self, pictures: Pictures) -> list[Detections]:
        """Pictures of one size together: padding one to the size of another would change it."""
        found: dict[int, Detections] = {}
        for shape in dict.fromkeys(picture.shape for picture in pictures):
            numbers = [n for n, picture in enumerate(pictures) if picture.shape == shape]
            same = self._of_one_size([pictures[number] for number in numbers])
            found.update(zip(numbers, same, strict=True))
        return [found[number] for number in range(len(pictures))]

    def _of_one_size(self, pictures: Pictures) -> list[Detections]:
        text = {
            name: value.expand(len(pictures), *value.shape[1:])
            for name, value in self._text.items()
        }
        answer = self.model(**self.pixels(pictures), **text)
        height, width = pictures[0].shape[:2]
        tokens = answer.logits.float().sigmoid().cpu().numpy()  # (n, queries, tokens)
        boxes = _corners(answer.pred_boxes, (width, height))
        return [self._named(*seen, width, height) for seen in zip(tokens, boxes, strict=True)]

    def _named(
        self, tokens: NDArray[np.float32], boxes: NDArray[np.float64], width: int, height: int
    ) -> Detections:
        best_words = np.stack([tokens[:, place].max(1) for place in self._places], axis=1)
        scores = best_words
        if self.asking.words == "all":
            scores = np.stack([tokens[:, place].mean(1) for place in self._places], axis=1)
        which = scores.argmax(1)
        rows = np.arange(len(which))
        seen = best_words[rows, which] > self.asking.text_threshold
        keep = np.flatnonzero(seen & (scores[rows, which] > self.asking.threshold))
        return Detections.of(
            inside(boxes[keep], width, height),
            scores[keep, which[keep]],
            [self.phrases[which[number]] for number in keep],
        )


class Owl(Dialect):
    """OWLv2 and OWL-ViT: each phrase is a text of its own, encoded once."""

    heavy = "{base}.vision_model"

    def __init__(
        self, loaded: Loaded, phrases: tuple[str, ...], asking: Asking, placement: Placement
    ) -> None:
        super().__init__(loaded, phrases, asking, placement)
        tokenizer, model = loaded.processor.tokenizer, loaded.model
        towers = getattr(model, model.base_model_prefix)
        texts = [asking.template.format(phrase) for phrase in phrases]
        check_lengths(
            texts,
            tokenizer(texts)["input_ids"],
            int(model.config.text_config.max_position_embeddings),
        )
        told = tokenizer(texts, padding="max_length", return_tensors="pt")
        sent = placement.send(told)
        features = towers.get_text_features(**sent).pooler_output
        self._queries = features / features.norm(dim=-1, keepdim=True)

    def __call__(self, pictures: Pictures) -> list[Detections]:
        model = self.model
        grid, _ = model.image_embedder(self.pixels(pictures)["pixel_values"])
        patches = grid.flatten(1, 2)
        queries = self._queries.expand(len(pictures), *self._queries.shape)
        logits, _ = model.class_predictor(patches, queries)
        answer = SimpleNamespace(
            logits=logits.float(), pred_boxes=model.box_predictor(patches, grid).float()
        )
        results = self.processor.post_process_grounded_object_detection(
            answer,
            threshold=self.asking.threshold,
            target_sizes=[picture.shape[:2] for picture in pictures],
            text_labels=[list(self.phrases)] * len(pictures),
        )
        return [_found(*pair) for pair in zip(results, pictures, strict=True)]


class OmDet(Dialect):
    """OmDet-Turbo: each phrase a text of its own, and a task that names them all. The model keeps
    what it has encoded."""

    def __call__(self, pictures: Pictures) -> list[Detections]:
        asked = [list(self.phrases)] * len(pictures)
        made = self.processor(
            images=_own(pictures),
            text=asked,
            input_data_format="channels_last",
            return_tensors="pt",
        )
        results = self.processor.post_process_grounded_object_detection(
            self.model(**self.placement.send(made)),
            text_labels=asked,
            threshold=self.asking.threshold,
            target_sizes=[picture.shape[:2] for picture in pictures],
        )
        return [_found(*pair) for pair in zip(results, pictures, strict=True)]


def _own(pictures: Pictures) -> Pictures:
    """Copies: torch warns of the read-only pixels of frames."""
    return [np.array(picture) for picture in pictures]


def _clean(phrase: str) -> str:
    """Lower case, without the signs by which Grounding DINO tells phrases apart."""
    return " ".join(re.sub(r"[.?]", " ", phrase.lower()).split())


def _places(ids: list[int], tokenizer: Any, phrases: tuple[str, ...]) -> list[list[int]]:
    """Where the tokens of each phrase stand in a text of all of them, each ended by a full stop."""
    stop, special = tokenizer.convert_tokens_to_ids("."), set(tokenizer.all_special_ids)
    places: list[list[int]] = [[]]
    for place, token in enumerate(ids):
        if token == stop:
            places.append([])
        elif token not in special:
            places[-1].append(place)
    places.pop()
    if len(places) != len(phrases) or not all(places):
        raise ModelError(
            f"the tokenizer makes {len(places)} phrases of {len(phrases)}: {', '.join(phrases)}; "
            "write them in words it knows"
        )
    return places


def _corners(boxes: Any, scale: tuple[float, float]) -> NDArray[np.float64]:
    """Boxes (..., 4) of centre and size in shares as left, top, right, bottom in pixels."""
    middle, half = np.split(boxes.double().cpu().numpy(), 2, axis=-1)
    return np.concatenate((middle - half / 2, middle + half / 2), axis=-1) * (*scale, *scale)


def _found(result: dict[str, Any], picture: NDArray[np.uint8]) -> Detections:
    """What the post-processing of transformers returns for one picture."""
    height, width = picture.shape[:2]
    return Detections.of(
        inside(result["boxes"].double().cpu().numpy(), width, height),
        result["scores"].double().cpu().numpy(),
        list(result["text_labels"]),
    )


#: By the architecture that a saved model names.
DIALECTS: dict[str, type[Dialect]] = {
    "grounding-dino": Grounding,
    "mm-grounding-dino": Grounding,
    "owlv2": Owl,
    "owlvit": Owl,
    "omdet-turbo": OmDet,
}
