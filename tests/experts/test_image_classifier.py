"""The classifier family on a tiny model saved in the genuine format of the official baseline."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from natix_miner.clock import Deadline
from natix_miner.errors import ModelError
from natix_miner.experts.families.image_classifier import ImageClassifier, ImageClassifierSettings
from natix_miner.experts.family import Surroundings

transformers = pytest.importorskip("transformers", reason="needs the extra `classifier`")
torch = pytest.importorskip("torch")


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
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (4, 14, 14, 3), dtype=np.uint8)
    return [np.kron(block, np.ones((16, 16, 1), np.uint8)) for block in blocks]


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
        ({"folder": "a", "model": "b/c", "revision": "d"}, "not both"),
        ({"model": "natix-network-org/roadwork"}, "revision"),
        ({"folder": "a", "runtime": "openvino", "device": "cuda:0"}, "cpu"),
        ({"folder": "a", "colour": "red"}, "colour"),
    ],
)
def test_settings_that_cannot_work_are_refused(section, word):
    with pytest.raises(ValidationError, match=word):
        ImageClassifierSettings.model_validate(section)
