"""Image-text models on tiny genuine ones: CLIP, MetaCLIP 2, SigLIP 2 of a fixed and of any size."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import ConfigurationError, MissingExtraError, ModelError
from natix_miner.experts.families.zero_shot import FAMILY, ZeroShot, ZeroShotSettings
from natix_miner.experts.family import Surroundings, family_of
from natix_miner.experts.image_text import load_prompts
from natix_miner.log_odds import expit, logit

transformers = pytest.importorskip("transformers", reason="needs the extra `detectors`")
torch = pytest.importorskip("torch")

ALL = ("clip", "metaclip-2", "siglip-2", "siglip-2-naflex")
CONES = {"roadwork": "orange traffic cones on a road", "none": "an open road with trees"}
WORKERS = {"roadwork": "road workers beside an excavator", "none": "a street with parked cars"}
SHIPPED = Path(__file__).parents[2] / "configs" / "prompts" / "zero-shot.yaml"


@pytest.fixture
def loaded(tiny):
    """Makes loaded experts of a tiny model, in surroundings of their own unless given."""

    def load(model="clip", surroundings=None, **section) -> ZeroShot:
        if "prompts" not in section:
            section.setdefault("pairs", [CONES])
        section = {"folder": tiny(f"zero-shot-{model}"), **section}
        settings = ZeroShotSettings.model_validate(section)
        expert = FAMILY.build("gate", settings, surroundings or Surroundings(Path()))
        expert.load()
        return expert

    return load


def said(expert: ZeroShot, frames) -> list[float]:
    return [look.probability for look in expert.look_at(list(frames))]


def preprocessing(folder: Path):
    return transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")


@cache
def pipeline(folder: Path):
    return transformers.pipeline(
        "zero-shot-image-classification",
        model=str(folder),
        image_processor=preprocessing(folder),
        device="cpu",
    )


def by_pipeline(folder: Path, pixels: np.ndarray, pair: dict[str, str]) -> float:
    """Independent reference: scores of transformers' own pipeline, as odds of one of two."""
    phrases, pipe = [pair["roadwork"], pair["none"]], pipeline(folder)
    scores = pipe(Image.fromarray(pixels), candidate_labels=phrases, hypothesis_template="{}")
    by_phrase = {score["label"]: score["score"] for score in scores}
    p, q = by_phrase[phrases[0]], by_phrase[phrases[1]]
    if "siglip" not in pipe.model.config.model_type:
        return p
    return p * (1 - q) / (p * (1 - q) + q * (1 - p))


class TestAnswers:
    @pytest.mark.parametrize("model", ALL)
    def test_one_pair_says_what_the_transformers_pipeline_says(
        self, model, loaded, tiny, squares, full_frames
    ):
        frames = [*squares[:4], full_frames[0]]
        answers = said(loaded(model), frames)
        expected = [
            by_pipeline(tiny(f"zero-shot-{model}"), frame.pixels, CONES) for frame in frames
        ]
        assert answers == pytest.approx(expected, abs=2e-5)
        assert max(answers) - min(answers) > 1e-3, "the pictures must make a difference"

    @pytest.mark.parametrize("model", ["clip", "siglip-2"])
    def test_several_pairs_are_the_mean_of_their_log_odds(self, model, loaded, tiny, squares):
        expert = loaded(model, pairs=[CONES, WORKERS])
        for frame, look in zip(squares[:2], expert.look_at(squares[:2]), strict=True):
            odds = [
                logit(by_pipeline(tiny(f"zero-shot-{model}"), frame.pixels, p))
                for p in (CONES, WORKERS)
            ]
            assert look.probability == pytest.approx(expit(sum(odds) / 2), abs=2e-5)
            (evidence,) = look.evidence
            pair = (CONES, WORKERS)[int(np.argmax(odds))]
            assert evidence.what == pair["roadwork"]
            assert evidence.score == pytest.approx(expit(max(odds)), abs=2e-5)
            assert evidence.box is None

    def test_templates_are_averaged_as_unit_vectors(self, loaded, tiny, squares):
        templates = ["a photo of {}", "a picture of {} on a road"]
        answer = said(loaded(templates=templates), squares[:1])[0]
        model = transformers.CLIPModel.from_pretrained(tiny("zero-shot-clip"))
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("zero-shot-clip"))

        def unit(vectors):
            return vectors / vectors.norm(dim=-1, keepdim=True)

        with torch.inference_mode():
            picture = preprocessing(tiny("zero-shot-clip"))(
                [squares[0].pixels], return_tensors="pt"
            )
            seen = unit(model.get_image_features(**picture).pooler_output)[0]
            logits = []
            for phrase in (CONES["roadwork"], CONES["none"]):
                words = [template.format(phrase) for template in templates]
                tokens = tokenizer(words, return_tensors="pt", padding=True)
                mean = unit(model.get_text_features(**tokens).pooler_output).mean(0)
                logits.append(model.logit_scale.exp() * seen @ unit(mean))
        assert answer == pytest.approx(torch.stack(logits).softmax(0)[0].item(), abs=2e-5)
        assert answer != pytest.approx(said(loaded(), squares[:1])[0], abs=1e-3)

    @pytest.mark.parametrize("model", ALL)
    def test_a_batch_says_the_same_as_one_by_one(self, model, loaded, squares, full_frames):
        expert = loaded(model, batch=3)
        frames = [*squares[:3], full_frames[0]]
        alone = [said(expert, [frame])[0] for frame in frames]
        assert said(expert, frames) == pytest.approx(alone, abs=1e-5)

    @pytest.mark.parametrize("model", ALL)
    def test_bf16_stays_close_to_fp32(self, model, loaded, squares):
        exact, rounded = (
            said(loaded(model), squares),
            said(loaded(model, precision="bf16"), squares),
        )
        assert rounded == pytest.approx(exact, abs=0.05)
        assert rounded != exact

    def test_siglip_reads_lower_case_whatever_the_prompt(self, loaded, squares):
        shouted = {key: phrase.upper() for key, phrase in CONES.items()}
        assert said(loaded("siglip-2", pairs=[shouted]), squares) == pytest.approx(
            said(loaded("siglip-2"), squares)
        )

    def test_the_shipped_prompts_load_and_judge(self, loaded, squares):
        surroundings = Surroundings(SHIPPED.parents[1])
        expert = loaded(surroundings=surroundings, prompts="prompts/zero-shot.yaml")
        look = expert.look_at(squares[:1])[0]
        assert 0.0 < look.probability < 1.0
        phrases = [pair.roadwork for pair in load_prompts(SHIPPED).pairs]
        assert len(phrases) >= 4
        assert look.evidence[0].what in phrases


class TestViews:
    def test_several_views_are_the_mean_of_their_log_odds(self, loaded, squares):
        frame = squares[0]
        expert = loaded(views=["whole", "upright"], mirror=True)
        views = expert.views(frame)
        assert [view.name for view in views] == [
            "whole",
            "whole-mirrored",
            "upright",
            "upright-mirrored",
        ]
        odds = []
        for kind in ("whole", "upright"):
            both = logit(said(loaded(views=[kind], mirror=True), [frame])[0])
            odds.append(both)
        assert logit(said(expert, [frame])[0]) == pytest.approx(sum(odds) / 2, abs=1e-4)

    def test_the_tile_that_speaks_most_for_roadwork_decides_and_is_shown(self, loaded, full_frames):
        frame = full_frames[0]
        expert = loaded(views=["tiles"], view_size=200, combine="max")
        views = expert.views(frame)
        assert len(views) > 1
        look = expert.look_at([frame])[0]
        mean = loaded(views=["tiles"], view_size=200).look_at([frame])[0]
        assert look.probability > mean.probability
        left, top, right, bottom = look.evidence[0].box
        assert (left, top, right, bottom) in [view.box for view in views]
        assert 0 <= left < right <= frame.width
        assert 0 <= top < bottom <= frame.height
        assert mean.evidence[0].box is None

    def test_the_model_shrinks_whole_frames_itself_and_tiles_hold_twice_its_input(
        self, loaded, full_frames
    ):
        frame = full_frames[0]
        for model in ("clip", "siglip-2-naflex"):
            (view,) = loaded(model).views(frame)
            assert view.pixels.shape == frame.pixels.shape
            tiled = loaded(model, views=["tiles"], tiles=1000).views(frame)
            assert {view.pixels.shape for view in tiled} == {(2 * 64, 2 * 64, 3)}


class TestSharing:
    def test_two_experts_share_one_model_and_the_last_gives_it_back(self, loaded, squares):
        surroundings = Surroundings(Path())
        first = loaded(surroundings=surroundings)
        answers = said(first, squares)
        second = loaded(surroundings=surroundings, pairs=[WORKERS])
        assert surroundings.models.users(first._key) == 2
        assert said(first, squares) == answers
        assert said(second, squares) == pytest.approx(said(loaded(pairs=[WORKERS]), squares))
        key = first._key
        asyncio.run(first.close())
        asyncio.run(first.close())
        assert surroundings.models.users(key) == 1
        assert said(second, squares[:1])
        asyncio.run(second.close())
        assert surroundings.models.users(key) == 0

    def test_the_part_that_reads_sentences_is_let_go(self, loaded):
        model = loaded("siglip-2")._shared.value
        left = {name.split(".")[0] for name, _ in model._model.named_parameters()}
        assert left == {"vision_model", "logit_scale", "logit_bias"}

    def test_another_precision_is_another_model(self, loaded):
        surroundings = Surroundings(Path())
        one, other = (
            loaded(surroundings=surroundings),
            loaded(surroundings=surroundings, precision="bf16"),
        )
        assert one._key != other._key
        assert one._shared is not other._shared

    def test_the_version_tells_weights_and_prompts_apart(self, loaded):
        one = loaded().version
        assert one == loaded(precision="bf16").version
        assert one != loaded(pairs=[WORKERS]).version
        assert one != loaded(templates=["a photo of {}"]).version
        assert one != loaded("siglip-2").version

    def test_it_starts_looks_and_closes_as_the_cascade_does_it(self, tiny, squares):
        async def run():
            settings = ZeroShotSettings(folder=tiny("zero-shot-clip"), pairs=[CONES])
            expert = family_of("zero-shot").build("gate", settings, Surroundings(Path()))
            await expert.start()
            try:
                return await expert.look(squares[0], Deadline.after(60))
            finally:
                await expert.close()

        look = asyncio.run(run())
        assert 0.0 < look.probability < 1.0
        assert not look.calibrated


@pytest.fixture
def copy(tiny, tmp_path):
    """A copy of a tiny model that may be damaged."""

    def copied(model: str) -> Path:
        return Path(shutil.copytree(tiny(f"zero-shot-{model}"), tmp_path / model))

    return copied


class TestErrors:
    def test_an_empty_folder(self, loaded, tmp_path):
        with pytest.raises(ModelError, match=r"config\.json"):
            loaded(folder=tmp_path)

    def test_a_model_that_reads_no_sentences(self, loaded, tmp_path):
        transformers.ViTConfig(hidden_size=8).save_pretrained(tmp_path)
        with pytest.raises(ModelError, match=r"'vit'.*siglip2"):
            loaded(folder=tmp_path)

    def test_a_classifier_of_the_same_family(self, loaded, copy):
        folder = copy("siglip-2")
        config = transformers.SiglipConfig.from_pretrained(folder)
        transformers.SiglipForImageClassification(config).save_pretrained(folder)
        with pytest.raises(ModelError, match=r"\d+ of its weights are not in the file"):
            loaded(folder=folder)

    def test_torn_weights(self, loaded, copy):
        folder = copy("clip")
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ModelError, match="gate"):
            loaded(folder=folder)

    @pytest.mark.parametrize("model", ALL)
    def test_a_missing_tokenizer(self, model, loaded, copy):
        folder = copy(model)
        (folder / "tokenizer.json").unlink()
        with pytest.raises(ModelError, match="tokenizer"):
            loaded(folder=folder)

    def test_a_tokenizer_that_needs_another_package(self, loaded, copy, monkeypatch):
        folder = copy("siglip-2")
        file = folder / "tokenizer_config.json"
        file.write_text(
            json.dumps({**json.loads(file.read_text()), "tokenizer_class": "SiglipTokenizer"})
        )
        monkeypatch.setitem(sys.modules, "sentencepiece", None)
        with pytest.raises(MissingExtraError, match=r"sentencepiece.*natix-miner\[detectors\]"):
            loaded(folder=folder)

    def test_missing_preprocessing(self, loaded, copy):
        folder = copy("clip")
        (folder / "preprocessor_config.json").unlink()
        with pytest.raises(ModelError, match="preprocessing"):
            loaded(folder=folder)

    @pytest.mark.parametrize("model", ["clip", "siglip-2"])
    def test_a_phrase_longer_than_the_model_reads(self, model, loaded):
        long = {"roadwork": "cones " * 90, "none": "a road"}
        with pytest.raises(ModelError, match="shorten"):
            loaded(model, pairs=[long])

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there(self, loaded):
        with pytest.raises(ModelError, match="device: cpu"):
            loaded(device="cuda:0")

    def test_a_package_that_is_not_installed(self, loaded, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            loaded()

    def test_asked_before_it_was_loaded(self, tiny, squares):
        settings = ZeroShotSettings(folder=tiny("zero-shot-clip"), pairs=[CONES])
        with pytest.raises(ModelError, match="before it was loaded"):
            FAMILY.build("gate", settings, Surroundings(Path())).look_at(squares[:1])

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            ("", "no mapping"),
            ("- a\n- b\n", "no mapping"),
            ("pairs: []\n", "pairs"),
            ("pairs: [{roadwork: cones}]\n", "none"),
            ("pairs: [{roadwork: cones, none: ' '}]\n", "none"),
            ("pairs: [{roadwork: a, none: b, weight: 2}]\n", "weight"),
            ("pairs: [{roadwork: a, none: b}]\ncolour: red\n", "colour"),
            ("pairs: [{roadwork: a, none: b}]\ntemplates: [a photo]\n", "templates"),
            ("pairs: [{roadwork\n", "YAML"),
        ],
    )
    def test_prompts_that_cannot_be_used(self, tmp_path, content, word):
        (tmp_path / "prompts.yaml").write_text(content)
        settings = ZeroShotSettings(folder="somewhere", prompts="prompts.yaml")
        with pytest.raises(ConfigurationError, match=word) as raised:
            FAMILY.build("gate", settings, Surroundings(tmp_path))
        assert "prompts.yaml" in str(raised.value)

    def test_prompts_that_are_not_there(self, tmp_path):
        settings = ZeroShotSettings(folder="somewhere", prompts="missing.yaml")
        with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
            FAMILY.build("gate", settings, Surroundings(tmp_path))

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({}, "either"),
            ({"pairs": [CONES], "prompts": "a.yaml"}, "not both"),
            ({"prompts": "a.yaml", "templates": ["a photo of {}"]}, "stand in it"),
            ({"pairs": [CONES], "templates": ["a photo"]}, "templates"),
            ({"pairs": [CONES], "combine": "median"}, "combine"),
            ({"pairs": [CONES], "phrases": ["cone"]}, "phrases"),
        ],
    )
    def test_settings_that_cannot_work(self, section, word):
        with pytest.raises(ValidationError, match=word):
            ZeroShotSettings.model_validate({"folder": "a", **section})


def test_the_shipped_pairs_are_told_apart_by_roadwork_alone():
    content = yaml.safe_load(SHIPPED.read_text())
    phrases = [phrase for pair in content["pairs"] for phrase in pair.values()]
    assert len(set(phrases)) == len(phrases)
    assert all(phrase == phrase.lower() for phrase in phrases)
