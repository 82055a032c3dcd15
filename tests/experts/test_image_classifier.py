"""The classifier family on tiny models in the genuine formats, the official baseline first."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.families.image_classifier import ImageClassifier, ImageClassifierSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.shared import SharedModels

transformers = pytest.importorskip("transformers", reason="needs the extra `classifier`")
torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A ViT with the baseline's labels and preprocessing, random weights, saved by transformers."""
    folder = tmp_path_factory.mktemp("tiny-vit")
    torch.manual_seed(7)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
        id2label={0: "None", 1: "Roadwork"},
        label2id={"None": 0, "Roadwork": 1},
    )
    model = transformers.ViTForImageClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.3)
    model.save_pretrained(folder)
    preprocessing = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 224, "width": 224},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


@pytest.fixture(scope="module")
def pictures(noise) -> list[np.ndarray]:
    return noise


def looks(settings, surroundings, frames):
    async def run():
        expert = ImageClassifier("baseline", settings, surroundings)
        await expert.start()
        try:
            return expert.version, [
                (await expert.look(frame, Deadline.after(60))).probability for frame in frames
            ]
        finally:
            await expert.close()

    return asyncio.run(run())


def by_pipeline(folder, pictures):
    """Independent reference: what upstream's own way, the transformers pipeline, says."""
    pipe = transformers.pipeline(
        "image-classification", model=str(folder), device="cpu", image_processor=str(folder)
    )
    return [
        next(r["score"] for r in pipe(Image.fromarray(p), top_k=None) if r["label"] == "Roadwork")
        for p in pictures
    ]


def test_torch_says_what_the_transformers_pipeline_says(saved, pictures, make_frame):
    settings = ImageClassifierSettings(folder=saved)
    _, said = looks(settings, Surroundings(Path()), [make_frame(p) for p in pictures])
    assert said == pytest.approx(by_pipeline(saved, pictures), abs=1e-5)
    assert max(said) - min(said) > 1e-3, "the pictures must make a difference"


def test_openvino_says_the_same_as_torch(saved, pictures, make_frame):
    pytest.importorskip("openvino")
    frames = [make_frame(p) for p in pictures]
    torch_version, by_torch = looks(
        ImageClassifierSettings(folder=saved), Surroundings(Path()), frames
    )
    version, said = looks(
        ImageClassifierSettings(folder=saved, runtime="openvino", threads=1),
        Surroundings(Path()),
        frames,
    )
    assert said == pytest.approx(by_torch, abs=1e-4)
    assert version == torch_version


def test_a_batch_says_the_same_as_one_by_one(saved, pictures, make_frame):
    expert = ImageClassifier(
        "baseline", ImageClassifierSettings(folder=saved), Surroundings(Path())
    )
    expert.load()
    frames = [make_frame(p) for p in pictures]
    together = [look.probability for look in expert.look_at(frames)]
    alone = [expert.look_at([frame])[0].probability for frame in frames]
    assert together == pytest.approx(alone, abs=1e-6)


def test_an_empty_folder_says_what_is_missing(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json"):
        ImageClassifier(
            "baseline", ImageClassifierSettings(folder=tmp_path), Surroundings(Path())
        ).load()


def test_torn_weights_are_a_model_error(saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError):
        ImageClassifier(
            "baseline", ImageClassifierSettings(folder=tmp_path), Surroundings(Path())
        ).load()


def test_labels_that_do_not_name_roadwork_are_refused(saved):
    settings = ImageClassifierSettings(folder=saved, positive=("construction",))
    with pytest.raises(ModelError, match="Roadwork"):
        ImageClassifier("baseline", settings, Surroundings(Path())).load()


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ({}, "either"),
        ({"folder": "a", "model": "b/c"}, "not both"),
        ({"model": "b/c", "revision": "main"}, "revision"),
        ({"folder": "a", "runtime": "openvino", "device": "cuda:0"}, "cpu"),
        ({"folder": "a", "colour": "red"}, "colour"),
    ],
)
def test_settings_that_cannot_work_are_refused(section, word):
    with pytest.raises(ValidationError, match=word):
        ImageClassifierSettings.model_validate(section)


def expert_of(folder: Path, surroundings: Surroundings | None = None, **keys) -> ImageClassifier:
    settings = ImageClassifierSettings(folder=folder, **keys)
    return ImageClassifier("judge", settings, surroundings or Surroundings(Path()))


def said_by(expert: ImageClassifier, frames) -> list[float]:
    return [look.probability for look in expert.look_at(frames)]


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


class Counting(SharedModels):
    """Counts what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: Counter = Counter()

    def acquire(self, key, load):
        def counted():
            self.loaded[key] += 1
            return load()

        return super().acquire(key, counted)


def reference(folder: Path, pictures: list[np.ndarray]) -> list[dict[str, float]]:
    """Scores by label as the transformers pipeline gives them, sigmoid or softmax by itself."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    pipe = transformers.pipeline(
        "image-classification", model=str(folder), device="cpu", image_processor=processor
    )
    return [
        {found["label"]: found["score"] for found in pipe(Image.fromarray(p), top_k=None)}
        for p in pictures
    ]


def by_timm(folder: Path, pictures: list[np.ndarray]) -> list[dict[str, float]]:
    """The same by timm alone, which transformers 5.23 does not load as timm 1.0.31 saves it."""
    import timm
    from safetensors.torch import load_file

    told = json.loads((folder / "config.json").read_text())
    model = timm.create_model(told["architecture"], **told["model_args"]).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    data = timm.data.resolve_data_config(told["pretrained_cfg"])
    prepare = timm.data.create_transform(**data, is_training=False)
    with torch.no_grad():
        batch = torch.stack([prepare(Image.fromarray(picture)) for picture in pictures])
        shares = model(batch).softmax(-1).tolist()
    return [dict(zip(told["label_names"], row, strict=True)) for row in shares]


class TestArchitectures:
    @pytest.mark.parametrize(
        "name",
        ["vit-classifier", "dinov2-classifier", "convnext-v2-classifier", "timm-classifier"],
    )
    def test_softmax_classifiers_say_what_the_pipeline_says(self, tiny, squares, name):
        folder = tiny(name)
        expert = expert_of(folder)
        expert.load()
        said = said_by(expert, squares)
        scores = by_timm if name.startswith("timm") else reference
        expected = scores(folder, [frame.pixels for frame in squares])
        assert said == pytest.approx([one["Roadwork"] for one in expected], abs=1e-5)
        assert max(said) - min(said) > 1e-3

    def test_frames_of_other_shapes_too(self, tiny, full_frames):
        folder = tiny("timm-classifier")
        expert = expert_of(folder)
        expert.load()
        expected = by_timm(folder, [frame.pixels for frame in full_frames])
        assert said_by(expert, full_frames) == pytest.approx(
            [one["Roadwork"] for one in expected], abs=1e-5
        )

    def test_labels_that_do_not_exclude_each_other_are_judged_one_by_one(self, tiny, squares):
        folder = tiny("siglip-2-classifier")
        expert = expert_of(folder, positive=("cones", "Barriers"))
        expert.load()
        expected = reference(folder, [frame.pixels for frame in squares])
        assert any(abs(sum(one.values()) - 1) > 0.1 for one in expected), "no sigmoid"
        assert said_by(expert, squares) == pytest.approx(
            [max(one["cones"], one["barriers"]) for one in expected], abs=1e-5
        )

    def test_all_of_independent_labels_may_mean_roadwork(self, tiny, squares):
        expert = expert_of(tiny("siglip-2-classifier"), positive=("cones", "barriers", "rain"))
        expert.load()
        assert all(0 <= one <= 1 for one in said_by(expert, squares))

    def test_a_single_label_is_a_sigmoid(self, tmp_path, squares):
        torch.manual_seed(3)
        config = transformers.ConvNextV2Config(
            hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], id2label={0: "Roadwork"}
        )
        transformers.ConvNextV2ForImageClassification(config).save_pretrained(tmp_path)
        transformers.ConvNextImageProcessorPil(size={"shortest_edge": 64}).save_pretrained(tmp_path)
        expert = expert_of(tmp_path)
        expert.load()
        expected = reference(tmp_path, [frame.pixels for frame in squares])
        assert said_by(expert, squares) == pytest.approx(
            [one["Roadwork"] for one in expected], abs=1e-5
        )

    def test_pictures_of_any_shape_go_into_naflex(self, tiny, squares, full_frames):
        folder = tiny("siglip-2-naflex-classifier")
        expert = expert_of(folder)
        expert.load()
        frames = [squares[0], full_frames[0], squares[1]]
        model = transformers.AutoModelForImageClassification.from_pretrained(folder)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        with torch.no_grad():
            inputs = [processor(images=[f.pixels], return_tensors="pt") for f in frames]
            expected = [model(**one).logits.softmax(-1)[0, 1].item() for one in inputs]
        assert said_by(expert, frames) == pytest.approx(expected, abs=1e-5)
        assert max(expected) - min(expected) > 1e-3

    def test_several_labels_of_one_softmax_count_together(self, saved, tmp_path, squares):
        shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
        torch.manual_seed(4)
        model = transformers.ViTForImageClassification.from_pretrained(
            saved,
            num_labels=4,
            id2label={0: "sky", 1: "cones", 2: "car", 3: "barrier"},
            ignore_mismatched_sizes=True,
        )
        torch.nn.init.normal_(model.classifier.weight, std=0.3)
        model.save_pretrained(tmp_path)
        expert = expert_of(tmp_path, positive=("cones", "barrier"))
        expert.load()
        expected = reference(tmp_path, [frame.pixels for frame in squares])
        assert said_by(expert, squares) == pytest.approx(
            [one["cones"] + one["barrier"] for one in expected], abs=1e-5
        )


class TestViews:
    @pytest.mark.parametrize("combine", ["mean", "max"])
    def test_a_mirrored_view_counts_by_its_log_odds(self, tiny, squares, combine):
        folder = tiny("dinov2-classifier")
        expert = expert_of(folder, mirror=True, combine=combine)
        expert.load()
        straight = reference(folder, [frame.pixels for frame in squares])
        turned = reference(folder, [frame.pixels[:, ::-1] for frame in squares])
        odds = [
            (logit(one["Roadwork"]), logit(other["Roadwork"]))
            for one, other in zip(straight, turned, strict=True)
        ]
        pooled = [max(pair) if combine == "max" else sum(pair) / 2 for pair in odds]
        assert [logit(said) for said in said_by(expert, squares)] == pytest.approx(pooled, abs=1e-4)
        assert any(abs(one - other) > 0.1 for one, other in odds)

    def test_tiles_of_a_full_frame_lie_in_it_and_the_strongest_is_evidence(self, tiny, full_frames):
        expert = expert_of(tiny("dinov2-classifier"), views=("whole", "tiles"), combine="max")
        expert.load()
        frame = max(full_frames, key=lambda frame: frame.width)
        views = expert.views(frame)
        assert len(views) > 2
        assert max(view.pixels.shape[0] for view in views) <= 2 * 56
        look = expert.look_at([frame])[0]
        evidence = look.evidence[0]
        assert evidence.score == pytest.approx(look.probability)
        left, top, right, bottom = evidence.box
        assert 0 <= left < right <= frame.width
        assert 0 <= top < bottom <= frame.height
        assert evidence.what in {view.name for view in views}

    def test_a_single_view_is_the_frame_as_it_is(self, tiny, squares, full_frames):
        expert = expert_of(tiny("dinov2-classifier"))
        for frame in (*squares, *full_frames):
            (view,) = expert.views(frame)
            assert view.pixels.shape == frame.pixels.shape

    def test_a_tilted_square_is_turned_back(self, tiny, squares):
        expert = expert_of(tiny("dinov2-classifier"), views=("upright",))
        expert.load()
        tilted = next(frame for frame in squares if frame.geometry.tilt_degrees)
        (view,) = expert.views(tilted)
        expected = reference(tiny("dinov2-classifier"), [view.pixels])[0]["Roadwork"]
        assert said_by(expert, [tilted]) == pytest.approx([expected], abs=1e-5)
        assert view.pixels.shape != tilted.pixels.shape

    def test_many_views_of_many_frames_in_small_batches_say_the_same(self, tiny, squares):
        folder = tiny("timm-classifier")
        keys = {"views": ("whole", "upright"), "mirror": True, "repair": ("contrast",)}
        large, small = expert_of(folder, batch=64, **keys), expert_of(folder, batch=3, **keys)
        large.load()
        small.load()
        together = said_by(large, squares)
        assert said_by(small, squares) == pytest.approx(together, abs=1e-5)
        alone = [said_by(small, [frame])[0] for frame in squares]
        assert alone == pytest.approx(together, abs=1e-5)


class TestRunning:
    def test_bf16_is_close_to_fp32_and_has_the_same_version(self, tiny, squares):
        folder = tiny("dinov2-classifier")
        full, half = expert_of(folder), expert_of(folder, precision="bf16")
        full.load()
        half.load()
        expected, said = said_by(full, squares), said_by(half, squares)
        assert said == pytest.approx(expected, abs=0.05)
        assert said != expected
        assert half.version == full.version

    def test_onnxruntime_says_the_same_as_torch(self, tiny, squares):
        pytest.importorskip("onnx")
        folder = tiny("dinov2-classifier")
        plain, other = expert_of(folder), expert_of(folder, runtime="onnxruntime", threads=1)
        plain.load()
        other.load()
        assert said_by(other, squares) == pytest.approx(said_by(plain, squares), abs=1e-4)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there_is_a_model_error(self, tiny):
        with pytest.raises(ModelError, match="cuda:0"):
            expert_of(tiny("dinov2-classifier"), device="cuda:0").load()

    def test_experts_with_other_views_share_the_weights(self, tiny, squares):
        models = Counting()
        surroundings = Surroundings(Path(), models=models)
        folder = tiny("dinov2-classifier")
        experts = [
            expert_of(folder, surroundings),
            expert_of(folder, surroundings, mirror=True, views=("upright",)),
        ]
        for expert in experts:
            expert.load()
        (key,) = models.loaded
        assert models.loaded[key] == 1
        assert models.users(key) == 2
        first, second = (said_by(expert, squares) for expert in experts)
        assert first != second
        asyncio.run(experts[0].close())
        asyncio.run(experts[0].close())
        assert models.users(key) == 1
        assert said_by(experts[1], squares) == second
        asyncio.run(experts[1].close())
        assert models.users(key) == 0

    def test_the_shipped_profile_is_understood(self):
        section = yaml.safe_load((ROOT / "configs" / "baseline.yaml").read_text())
        settings = ImageClassifierSettings.model_validate(section["experts"]["baseline"])
        assert (settings.runtime, settings.precision, settings.batch) == ("openvino", "bf16", 4)


class TestErrors:
    def test_another_architecture_is_a_model_error(self, tiny):
        with pytest.raises(ModelError, match="DINOv3ViTConfig"):
            expert_of(tiny("dinov3-backbone")).load()

    @pytest.mark.parametrize("name", ["dinov2-backbone", "siglip-2-backbone"])
    def test_a_backbone_without_a_classifier_is_refused_and_not_made_up(self, tiny, name):
        with pytest.raises(ModelError, match=r"not in the file \(classifier\.bias"):
            expert_of(tiny(name)).load()

    def test_refused_labels_leave_nothing_behind(self, tiny):
        models = Counting()
        expert = expert_of(
            tiny("dinov2-classifier"), Surroundings(Path(), models=models), positive=("works",)
        )
        with pytest.raises(ModelError, match="positive"):
            expert.load()
        (key,) = models.loaded
        assert models.users(key) == 0

    def test_a_regression_is_no_classifier(self, tiny, tmp_path):
        shutil.copytree(tiny("dinov2-classifier"), tmp_path, dirs_exist_ok=True)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "problem_type": "regression"}))
        with pytest.raises(ModelError, match="regression"):
            expert_of(tmp_path).load()

    def test_no_preprocessing_is_a_model_error(self, tiny, tmp_path):
        shutil.copytree(tiny("dinov2-classifier"), tmp_path, dirs_exist_ok=True)
        (tmp_path / "preprocessor_config.json").unlink()
        with pytest.raises(ModelError, match="preprocessor"):
            expert_of(tmp_path).load()

    def test_a_missing_timm_names_the_extra(self, tiny, monkeypatch):
        folder = tiny("timm-classifier")
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            expert_of(folder).load()

    def test_a_missing_torch_names_the_extra(self, tiny, monkeypatch):
        folder = tiny("dinov2-classifier")
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[classifier\]"):
            expert_of(folder).load()

    def test_naflex_on_openvino_says_what_to_do(self, tiny):
        with pytest.raises(ModelError, match="runtime: torch"):
            expert_of(tiny("siglip-2-naflex-classifier"), runtime="openvino").load()

    def test_a_model_that_nothing_pins_is_refused(self, tmp_path):
        settings = ImageClassifierSettings(model="natix-network-org/roadwork")
        surroundings = Surroundings(tmp_path, catalogue=ROOT / "models" / "catalogue.yaml")
        with pytest.raises(ModelError, match="revision"):
            ImageClassifier("judge", settings, surroundings).load()
