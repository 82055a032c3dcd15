"""Florence-2 on a tiny model saved in the genuine format, against transformers' own way."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.families.florence import (
    TASKS,
    FlorenceDetector,
    FlorenceSettings,
    boxes_in,
)
from natix_miner.experts.family import Surroundings

transformers = pytest.importorskip("transformers", reason="needs the extra `detectors`")
torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
PHRASES = {"traffic cone": "cone", "road work sign": "sign", "excavator": "machine"}
DETECTION = TASKS["open-vocabulary-detection"]
GROUNDING = TASKS["phrase-grounding"]
SIZE = (1000, 500)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Wide, tall and square ones of coarse noise."""
    rng = np.random.default_rng(1)
    return [
        np.kron(rng.integers(0, 256, (*s, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
        for s in ((6, 9), (9, 5), (7, 7))
    ]


@pytest.fixture(scope="module")
def processor(tiny):
    return transformers.Florence2Processor.from_pretrained(tiny("florence"))


def detector(folder: Path, surroundings: Surroundings | None = None, **said):
    said = {
        "phrases": PHRASES,
        "view_size": 224,
        "threshold": 0.0,
        "max_new_tokens": 40,
        **said,
    }
    settings = FlorenceSettings(folder=folder, **said)
    return FlorenceDetector("florence", settings, surroundings or Surroundings(ROOT / "configs"))


_loaded: dict[str, FlorenceDetector] = {}


def loaded(folder: Path, **said):
    """Loaded once for every way to load it."""
    key = repr((folder, said))
    if key not in _loaded:
        expert = detector(folder, **said)
        expert.load()
        _loaded[key] = expert
    return _loaded[key]


def tokens_of(processor, text: str) -> list[int]:
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


def rows(found) -> list[tuple]:
    return sorted(
        (label, round(score, 4), *box)
        for label, score, box in zip(
            found.labels, found.scores.tolist(), found.boxes.tolist(), strict=True
        )
    )


@pytest.mark.parametrize("together", [1, 2, 8])
def test_boxes_are_those_of_the_librarys_own_generation(tiny, processor, pictures, together):
    """One encoding of the picture for all prompts, against generate(**processor(...)) for each."""
    model = transformers.Florence2ForConditionalGeneration.from_pretrained(tiny("florence")).eval()
    expert = loaded(tiny("florence"), prompts_at_once=together)
    for picture in pictures:
        height, width = picture.shape[:2]
        expected = []
        for phrase in PHRASES:
            inputs = processor(
                images=Image.fromarray(picture), text=DETECTION + phrase, return_tensors="pt"
            )
            with torch.inference_mode():
                ids = model.generate(**inputs, max_new_tokens=40, num_beams=1, do_sample=False)
            said = processor.post_process_generation(
                sequence=ids[0, 1:], task=DETECTION, image_size=(width, height)
            )[DETECTION]
            # Places that no word stands before are read from the second one on, as "loc_7>".
            expected += [
                (phrase, *map(float, box))
                for box, label in zip(said["bboxes"], said["bboxes_labels"], strict=True)
                if not re.fullmatch(r"loc_\d+>", label)
            ]
        found = expert.detect([picture])[0]
        # A box of no area, which a random model writes as well, is none.
        expected = [row for row in expected if row[3] > row[1] and row[4] > row[2]]
        assert sorted((row[0], *row[2:]) for row in rows(found)) == sorted(expected)
        assert expected


def test_the_score_is_how_sure_the_model_was_of_the_words_and_places_of_a_box(
    tiny, processor, pictures
):
    """Worked by hand: the text is read back through the model, and its own tokens looked up."""
    model = transformers.Florence2ForConditionalGeneration.from_pretrained(tiny("florence")).eval()
    found = loaded(tiny("florence"), phrases={"excavator": "machine"}).detect(pictures[:1])[0]
    inputs = processor(
        images=Image.fromarray(pictures[0]), text=DETECTION + "excavator", return_tensors="pt"
    )
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=40, num_beams=1, do_sample=False)
        logits = model(**inputs, decoder_input_ids=ids[:, :-1]).logits
    written = ids[0, 1:]
    sure = logits[0].softmax(-1)[torch.arange(len(written)), written].numpy()
    names = processor.tokenizer.convert_ids_to_tokens(written.tolist())
    spelt = "".join("L" if re.match(r"<loc_", name) else "w" for name in names)
    expected = set()
    for match in re.finditer(r"(w+)((?:LLLL)+)", spelt.replace("w", "s", 1)):
        words = range(*match.span(1))
        for start in range(match.start(2), match.end(2), 4):
            some = np.log([*sure[list(words)], *sure[start : start + 4]])
            expected.add(round(float(np.exp(some.mean())), 4))
    scores = {round(float(score), 4) for score in found.scores}
    assert scores
    assert scores <= expected


class TestReadingWhatWasWritten:
    def test_boxes_of_several_phrases(self, processor):
        ids = tokens_of(
            processor,
            "<s>traffic cone<loc_100><loc_200><loc_300><loc_400><loc_1><loc_2><loc_3><loc_4>"
            "excavator<loc_0><loc_0><loc_999><loc_999></s>",
        )
        boxes = boxes_in(ids, processor, GROUNDING, SIZE)
        assert [box.label for box in boxes] == ["traffic cone", "traffic cone", "excavator"]
        assert boxes[0].corners == (100, 100, 300, 200)
        assert boxes[2].corners == (0, 0, 999, 499)
        names = processor.tokenizer.convert_ids_to_tokens(ids)
        places = [[names[token] for token in box.tokens if "<" in names[token]] for box in boxes]
        assert places[1] == ["<loc_1>", "<loc_2>", "<loc_3>", "<loc_4>"]

    @pytest.mark.parametrize("task", [DETECTION, GROUNDING])
    def test_pieces_read_the_same_as_the_whole(self, processor, task):
        rng = np.random.default_rng(0)
        seen = 0
        for _ in range(60):
            parts = []
            for _ in range(rng.integers(1, 6)):
                parts.append("".join(rng.choice(list("abc de"), rng.integers(1, 8))))
                places = rng.choice([0, 4, 5, 8, 11])
                parts += [f"<loc_{rng.integers(1000)}>" for _ in range(places)]
            ids = tokens_of(processor, "<s>" + "".join(parts) + "</s>")
            told = processor.post_process_generation(sequence=ids, task=task, image_size=SIZE)[task]
            boxes = boxes_in(ids, processor, task, SIZE)
            assert [list(box.corners) for box in boxes] == told["bboxes"]
            labels = told.get("bboxes_labels", told.get("labels"))
            assert [box.label for box in boxes] == labels
            seen += len(boxes)
        assert seen > 50

    def test_a_polygon_becomes_a_box_with_an_outline(self, processor):
        text = "excavator<poly><loc_100><loc_100><loc_300><loc_100><loc_200><loc_400></poly>"
        (box,) = boxes_in(tokens_of(processor, text), processor, DETECTION, SIZE)
        assert box.corners == (100, 50, 300, 200)
        assert box.outline == ((100.0, 50.0), (300.0, 50.0), (200.0, 200.0))

    @pytest.mark.parametrize(
        "text",
        ["", "<s></s>", "no places", "cone<loc_1><loc_2><loc_3>", "<loc_1><loc_2><loc_3><loc_4>"],
    )
    def test_what_is_no_object_gives_none(self, processor, text):
        assert boxes_in(tokens_of(processor, text), processor, DETECTION, SIZE) == []

    def test_the_models_wording_is_brought_back_to_the_phrase_asked_for(
        self, tiny, processor, pictures, monkeypatch
    ):
        expert = detector(tiny("florence"), task="phrase-grounding")
        expert.load()
        ids = tokens_of(
            processor,
            "<s>A Traffic cone.<loc_1><loc_2><loc_300><loc_400>"
            "giraffe<loc_1><loc_2><loc_300><loc_400></s>",
        )
        sure = np.log(np.full(len(ids), 0.25))
        monkeypatch.setattr(expert, "_written", lambda prompts, seen: [(ids, sure)])
        (found,) = expert.detect(pictures[:1])
        assert found.labels == ("traffic cone",)
        assert found.scores == pytest.approx([0.25])

    def test_grounding_asks_for_all_phrases_in_one_caption(self, tiny, processor):
        expert = loaded(tiny("florence"), task="phrase-grounding")
        (prompt,) = expert._prompts
        said = processor.tokenizer.decode(prompt["input_ids"][0], skip_special_tokens=True)
        assert said.endswith(
            "Locate the phrases in the caption: traffic cone. road work sign. excavator."
        )


def test_a_batch_says_the_same_as_one_by_one(tiny, pictures):
    expert = loaded(tiny("florence"))
    for together, picture in zip(expert.detect(pictures), pictures, strict=True):
        assert rows(together) == rows(expert.detect([picture])[0])


def test_the_picture_is_encoded_once_for_all_prompts(tiny, pictures):
    expert = detector(tiny("florence"), prompts_at_once=1)
    expert.load()
    calls = []
    expert._loaded.model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    expert.detect(pictures)
    assert len(calls) == 1


def test_no_more_tokens_are_written_than_allowed(tiny, pictures):
    expert = detector(tiny("florence"), max_new_tokens=7)
    expert.load()
    written = []
    expert._loaded.model.lm_head.register_forward_hook(lambda *_: written.append(1))
    expert.detect(pictures[:1])
    assert len(written) == 7


def test_boxes_lie_inside_the_frame_and_pictures_make_a_difference(tiny, squares):
    expert = loaded(tiny("florence"), views=("whole", "upright"), mirror=True)
    looks = expert.look_at(squares[:2])
    assert looks[0].probability != looks[1].probability
    assert all(look.evidence for look in looks)
    for frame, look in zip(squares, looks, strict=False):
        assert 0.0 <= look.probability <= 1.0
        for evidence in look.evidence:
            assert 0.0 <= evidence.score <= 1.0
            assert evidence.what in PHRASES
            assert 0 <= evidence.box[0] < evidence.box[2] <= frame.width
            assert 0 <= evidence.box[1] < evidence.box[3] <= frame.height


def test_what_scores_below_the_threshold_is_not_told(tiny, pictures):
    every = loaded(tiny("florence")).detect(pictures[:1])[0]
    bound = float(np.median(every.scores))
    some = loaded(tiny("florence"), threshold=bound).detect(pictures[:1])[0]
    assert 0 < len(some) < len(every)
    assert some.scores.min() >= bound


def test_bfloat16_writes_something_as_well(tiny, pictures):
    found = loaded(tiny("florence"), precision="bf16").detect(pictures)
    assert sum(map(len, found)) > 0


def test_two_experts_share_one_load(tiny):
    around = Surroundings(ROOT / "configs")
    one = detector(tiny("florence"), around)
    other = detector(tiny("florence"), around, task="phrase-grounding")
    one.load()
    other.load()
    assert one._shared is other._shared
    key = one._key
    asyncio.run(one.close())
    asyncio.run(other.close())
    assert around.models.users(key) == 0


class TestWhatCannotBeLoaded:
    @pytest.fixture
    def torn(self, tiny, tmp_path):
        return Path(shutil.copytree(tiny("florence"), tmp_path / "torn"))

    def test_another_architecture_is_named(self, tmp_path):
        transformers.ViTConfig(hidden_size=8).save_pretrained(tmp_path)
        with pytest.raises(ModelError, match=r"'vit'.*florence2"):
            loaded(tmp_path)

    def test_a_missing_tokenizer(self, torn):
        for file in torn.glob("tokenizer*"):
            file.unlink()
        with pytest.raises(ModelError, match=r"tokenizer|processor"):
            loaded(torn)

    def test_torn_weights(self, torn):
        weights = torn / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:2000])
        with pytest.raises(ModelError, match="weights"):
            loaded(torn)

    def test_a_prompt_longer_than_the_model_reads(self, tiny):
        with pytest.raises(ModelError, match="256"):
            loaded(tiny("florence"), phrases={"excavator " * 30: "machine"})

    def test_a_class_that_the_rule_does_not_weigh(self, tiny):
        with pytest.raises(ModelError, match="gives no weight"):
            loaded(tiny("florence"), phrases={"cones": "cones"})

    def test_a_gpu_that_is_not_there(self, tiny):
        with pytest.raises(ModelError, match="cuda:7"):
            loaded(tiny("florence"), device="cuda:7")

    def test_a_package_that_is_not_installed(self, tiny, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match="detectors"):
            detector(tiny("florence")).load()

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({"task": "caption"}, "task"),
            ({"max_new_tokens": 0}, "max_new_tokens"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_settings_that_cannot_work(self, section, word):
        with pytest.raises(ValidationError, match=word):
            FlorenceSettings.model_validate({"folder": "a", **section})
