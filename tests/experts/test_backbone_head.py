"""Frozen backbones, heads, and the family of both, on tiny backbones in the genuine formats."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from natix_miner.errors import MissingExtraError, ModelError
from natix_miner.experts.families.backbone_head import BackboneHead, BackboneHeadSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.backbone import Backbone
from natix_miner.experts.weights.features import Features
from natix_miner.experts.weights.head import Head
from natix_miner.experts.weights.settings import ModelSettings
from natix_miner.experts.weights.shared import SharedModels

transformers = pytest.importorskip("transformers", reason="needs the extra `detectors`")
torch = pytest.importorskip("torch")

HEAD = "head.safetensors"
BACKBONES = ("dinov3-backbone", "dinov2-backbone", "siglip-2-backbone", "pe-core-backbone")


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


def backbone_of(folder: Path, feature=None, surroundings=None, **keys) -> Backbone:
    settings = ModelSettings(type="test", folder=folder, **keys)
    return Backbone.load("test", settings, surroundings or Surroundings(Path()), feature)


def expert_of(folder: Path, head: Path | None = None, surroundings=None, **keys) -> BackboneHead:
    settings = BackboneHeadSettings(folder=folder, head=head or folder / HEAD, **keys)
    expert = BackboneHead("judge", settings, surroundings or Surroundings(Path()))
    expert.load()
    return expert


def said_by(expert: BackboneHead, frames) -> list[float]:
    return [look.probability for look in expert.look_at(frames)]


def linear(width: int, **keys) -> Head:
    rng = np.random.default_rng(1)
    made = {
        "kind": "linear",
        "feature": "cls",
        "backbone": "0123456789abcdef",
        "mean": rng.normal(size=width).astype(np.float32),
        "std": rng.uniform(0.5, 2, width).astype(np.float32),
        "weight": rng.normal(size=(1, width)).astype(np.float32),
        "bias": np.array([0.25], np.float32),
    }
    return Head(**{**made, **keys})


def attentive(width: int, heads: int, **keys) -> Head:
    rng = np.random.default_rng(2)
    return linear(
        width,
        kind="attentive",
        feature="tokens",
        query=rng.normal(size=(heads, width)).astype(np.float32),
        weight=rng.normal(size=(1, heads * width)).astype(np.float32),
        **keys,
    )


@pytest.fixture(scope="module")
def pixels(squares) -> list[np.ndarray]:
    return [frame.pixels for frame in squares]


@pytest.fixture(scope="module")
def prepared(tiny, pixels):
    """Pixel values as the library's own processor makes them."""

    def make(name: str):
        processor = transformers.AutoImageProcessor.from_pretrained(tiny(name), backend="pil")
        writable = [picture.copy() for picture in pixels]
        return processor(images=writable, return_tensors="pt")["pixel_values"]

    return make


class TestBackbone:
    def test_dinov3_gives_what_the_library_gives(self, tiny, pixels, prepared):
        folder = tiny("dinov3-backbone")
        with torch.no_grad():
            told = transformers.DINOv3ViTModel.from_pretrained(folder)(prepared("dinov3-backbone"))
        last = told.last_hidden_state
        expected = {
            "pooler": told.pooler_output,
            "cls": last[:, 0],
            "mean": last[:, 5:].mean(1),
            "tokens": last[:, 5:],
        }
        for feature, wanted in expected.items():
            found = backbone_of(folder, feature).of(pixels)
            assert found.dtype == np.float32
            assert found.shape == tuple(wanted.shape)
            assert np.abs(found - wanted.numpy()).max() < 1e-4
        assert expected["tokens"].shape[1] == 16, "patches without class token and registers"

    def test_of_a_model_of_text_and_pictures_the_seeing_part_is_taken(self, tiny, pixels, prepared):
        folder = tiny("siglip-2-backbone")
        with torch.no_grad():
            told = transformers.SiglipModel.from_pretrained(folder).vision_model(
                prepared("siglip-2-backbone")
            )
        found = backbone_of(folder)
        assert found.feature == "pooler"
        assert np.abs(found.of(pixels) - told.pooler_output.numpy()).max() < 1e-4
        tokens = backbone_of(folder, "tokens").of(pixels)
        assert np.abs(tokens - told.last_hidden_state.numpy()).max() < 1e-4

    def test_timm_gives_what_timm_gives(self, tiny, pixels):
        import timm
        from PIL import Image
        from safetensors.torch import load_file

        folder = tiny("pe-core-backbone")
        told = json.loads((folder / "config.json").read_text())
        model = timm.create_model(told["architecture"], **told["model_args"]).eval()
        model.load_state_dict(load_file(folder / "model.safetensors"))
        data = timm.data.resolve_data_config(told["pretrained_cfg"])
        prepare = timm.data.create_transform(**data, is_training=False)
        with torch.no_grad():
            last = model.forward_features(
                torch.stack([prepare(Image.fromarray(picture)) for picture in pixels])
            )
            pooled = model.forward_head(last, pre_logits=True)
        assert np.abs(backbone_of(folder, "pooler").of(pixels) - pooled.numpy()).max() < 1e-4
        tokens = backbone_of(folder, "tokens").of(pixels)
        assert np.abs(tokens - last[:, 1:].numpy()).max() < 1e-4

    def test_maps_of_convolutional_networks_become_tokens(self, tiny, pixels, prepared):
        folder = tiny("convnext-v2-classifier")
        with torch.no_grad():
            told = transformers.ConvNextV2Model.from_pretrained(folder)(
                prepared("convnext-v2-classifier")
            ).last_hidden_state
        tokens = backbone_of(folder, "tokens").of(pixels)
        assert np.abs(tokens[:, 1] - told[:, :, 0, 1].numpy()).max() < 1e-4
        mean = backbone_of(folder, "mean").of(pixels)
        assert np.abs(mean - told.mean((2, 3)).numpy()).max() < 1e-4
        with pytest.raises(ModelError, match="'cls'"):
            backbone_of(folder, "cls")

    def test_a_pooler_that_is_not_in_the_file_is_not_made_up(self, tiny, pixels, prepared):
        folder = tiny("vit-classifier")
        first, second = backbone_of(folder), backbone_of(folder)
        assert first.feature == "mean"
        assert first.version == second.version
        with torch.no_grad():
            model = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False)
            told = model(prepared("vit-classifier")).last_hidden_state[:, 0]
        assert np.abs(backbone_of(folder, "cls").of(pixels) - told.numpy()).max() < 1e-4
        with pytest.raises(ModelError, match="'pooler'"):
            backbone_of(folder, "pooler")

    def test_naflex_has_its_pooled_output_only(self, tiny, full_frames, pixels):
        folder = tiny("siglip-2-naflex-classifier")
        found = backbone_of(folder)
        pictures = [pixels[0], full_frames[0].pixels]
        model = transformers.Siglip2ForImageClassification.from_pretrained(folder).vision_model
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        with torch.no_grad():
            expected = [
                model(**processor(images=[one.copy()], return_tensors="pt")).pooler_output[0]
                for one in pictures
            ]
        assert np.abs(found.of(pictures) - torch.stack(expected).numpy()).max() < 1e-4
        with pytest.raises(ModelError, match="'tokens'"):
            backbone_of(folder, "tokens")

    def test_serves_as_features(self, tiny, pixels):
        backbone: Features = backbone_of(tiny("dinov2-backbone"), batch=2)
        found = backbone.of(pixels[:5])
        assert found.shape == (5, 32)
        assert np.linalg.norm(found, axis=1) != pytest.approx(1.0)
        assert backbone.of([]).shape == (0, 32)
        alone = np.concatenate([backbone.of([picture]) for picture in pixels[:5]])
        assert np.abs(alone - found).max() < 1e-5
        assert backbone.version == backbone_of(tiny("dinov2-backbone")).version
        assert backbone.version != backbone_of(tiny("dinov2-backbone"), "mean").version

    def test_the_digest_is_the_same_at_every_precision(self, tiny, pixels):
        full = backbone_of(tiny("dinov3-backbone"))
        half = backbone_of(tiny("dinov3-backbone"), precision="bf16")
        assert half.version == full.version
        expected, found = full.of(pixels), half.of(pixels)
        assert 0 < np.abs(found - expected).max() < 0.25
        for one, other in zip(found, expected, strict=True):
            assert np.corrcoef(one, other)[0, 1] > 0.999

    def test_detectors_and_torn_files_are_model_errors(self, tiny, tmp_path):
        for file in tiny("dinov3-backbone").iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        weights = tmp_path / "model.safetensors"
        kept = weights.read_bytes()
        weights.write_bytes(kept[:5000])
        with pytest.raises(ModelError, match="backbone"):
            backbone_of(tmp_path)
        tensors = load_file(tiny("dinov3-backbone") / "model.safetensors")
        del tensors["norm.weight"]
        save_file(tensors, weights, {"format": "pt"})
        with pytest.raises(ModelError, match=r"norm\.weight"):
            backbone_of(tmp_path)
        weights.unlink()
        with pytest.raises(ModelError, match="safetensors"):
            backbone_of(tmp_path)

    def test_a_missing_timm_names_the_extra(self, tiny, monkeypatch):
        folder = tiny("pe-core-backbone")
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(MissingExtraError, match=r"natix-miner\[detectors\]"):
            backbone_of(folder)


class TestHead:
    def test_a_linear_head_by_hand(self):
        head = linear(5)
        features = np.random.default_rng(3).normal(size=(4, 5))
        for row, found in zip(features, head.log_odds(features), strict=True):
            expected = 0.25
            for index in range(5):
                normal = (row[index] - head.mean[index]) / head.std[index]
                expected += normal * head.weight[0, index]
            assert found == pytest.approx(expected, abs=1e-5)

    def test_an_attentive_head_by_hand(self):
        head, tokens = attentive(6, heads=3), np.random.default_rng(4).normal(size=(2, 7, 6))
        for picture, found in zip(tokens, head.log_odds(tokens), strict=True):
            expected = 0.25
            for number in range(3):
                normal = [(token - head.mean) / head.std for token in picture]
                scores = [math.exp(token @ head.query[number] / math.sqrt(6)) for token in normal]
                pooled = sum(s / sum(scores) * x for s, x in zip(scores, normal, strict=True))
                expected += pooled @ head.weight[0, 6 * number : 6 * number + 6]
            assert found == pytest.approx(expected, abs=1e-4)

    def test_attention_of_the_library_folds_into_it(self):
        """Multi-head attention of torch with one learned query, its projections and a linear layer
        is such a head: projections fold into `query` and `weight`."""
        torch.manual_seed(6)
        width, heads = 8, 2
        part = width // heads
        attention = torch.nn.MultiheadAttention(width, heads, batch_first=True)
        torch.nn.init.normal_(attention.in_proj_bias)
        query, last = torch.randn(1, 1, width), torch.nn.Linear(width, 1)
        tokens = torch.randn(3, 9, width)
        with torch.no_grad():
            pooled, _ = attention(query.expand(3, -1, -1), tokens, tokens)
            expected = last(pooled)[:, 0, 0].numpy()
            by_query, by_key, by_value = attention.in_proj_weight.chunk(3)
            query_bias, _, value_bias = attention.in_proj_bias.chunk(3)
            asked = (query[0, 0] @ by_query.T + query_bias).reshape(heads, part)
            keys, values = by_key.reshape(heads, part, width), by_value.reshape(heads, part, width)
            out = last.weight @ attention.out_proj.weight
            folded = torch.einsum("hp,hpd->hd", asked, keys) * math.sqrt(width / part)
            weight = torch.einsum("hp,hpd->hd", out.reshape(heads, part), values).reshape(1, -1)
            bias = last.bias + last.weight @ attention.out_proj.bias + out @ value_bias
        head = attentive(
            width,
            heads,
            mean=np.zeros(width, np.float32),
            std=np.ones(width, np.float32),
            bias=bias.numpy(),
        )
        head = replace(head, query=folded.numpy(), weight=weight.numpy())
        assert head.log_odds(tokens.numpy()) == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize("head", [linear(5, notes={"auc": "0.9"}), attentive(6, 2)])
    def test_comes_back_from_its_file(self, head, tmp_path):
        path = tmp_path / HEAD
        head.save(path)
        again = Head.load(path)
        assert (again.kind, again.feature, again.backbone) == (
            head.kind,
            head.feature,
            head.backbone,
        )
        assert again.notes == head.notes
        assert again.version == head.version
        shape = (3, head.dimension) if head.query is None else (3, 4, head.dimension)
        features = np.random.default_rng(5).normal(size=shape)
        assert np.array_equal(again.log_odds(features), head.log_odds(features))
        assert [file.name for file in tmp_path.iterdir()] == [HEAD]

    def test_the_version_tells_weights_apart_and_not_notes(self):
        head = linear(5)
        assert replace(head, notes={"auc": "0.9"}).version == head.version
        assert replace(head, bias=np.array([0.5], np.float32)).version != head.version
        assert replace(head, feature="mean").version != head.version

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"weight": np.ones((1, 4), np.float32)}, "tensors"),
            ({"std": np.zeros(5, np.float32)}, "positive"),
            ({"bias": np.array([np.nan], np.float32)}, "finite"),
            ({"feature": "tokens"}, "belong together"),
            ({"kind": "attentive"}, "belong together"),
            ({"backbone": ""}, "belong together"),
            ({"kind": "attentive", "feature": "tokens"}, "tensors"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(self, change, words, tmp_path):
        replace(linear(5), **change).save(tmp_path / HEAD)
        with pytest.raises(ModelError, match=words):
            Head.load(tmp_path / HEAD)

    def test_other_files_are_refused(self, tmp_path):
        path = tmp_path / HEAD
        with pytest.raises(ModelError, match="fit_head"):
            Head.load(path)
        linear(5).save(path)
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(ModelError, match="torn"):
            Head.load(path)
        save_file({"weight": np.zeros((1, 3), np.float32)}, path)
        with pytest.raises(ModelError, match="format"):
            Head.load(path)


class TestExpert:
    @pytest.mark.parametrize("name", BACKBONES)
    def test_says_what_backbone_and_head_say_by_hand(self, tiny, squares, pixels, name):
        folder = tiny(name)
        expert, head = expert_of(folder), Head.load(folder / HEAD)
        odds = head.log_odds(backbone_of(folder, head.feature).of(pixels))
        said = said_by(expert, squares)
        assert said == pytest.approx((1 / (1 + np.exp(-odds))).tolist(), abs=1e-5)
        assert max(said) - min(said) > 0.05
        alone = [said_by(expert, [frame])[0] for frame in squares]
        assert alone == pytest.approx(said, abs=1e-5)
        assert expert.version == f"{head.backbone}:{head.version}"

    def test_two_heads_on_one_backbone_load_it_once(self, tiny, tmp_path, squares):
        from tiny_models.backbones import random_head

        folder = tiny("dinov3-backbone")
        for feature in ("tokens", "cls"):
            random_head(folder, feature, seed=8).save(tmp_path / feature)
        models = Counting()
        surroundings = Surroundings(Path(), models=models)
        first = expert_of(folder, tmp_path / "tokens", surroundings)
        second = expert_of(folder, tmp_path / "cls", surroundings, mirror=True)
        (key,) = models.loaded
        assert models.loaded[key] == 1
        assert models.users(key) == 2
        said = said_by(second, squares)
        assert said_by(first, squares) != said
        asyncio.run(first.close())
        asyncio.run(first.close())
        assert models.users(key) == 1
        assert said_by(second, squares) == said
        asyncio.run(second.close())
        assert models.users(key) == 0

    def test_other_devices_and_precisions_are_loaded_for_themselves(self, tiny):
        models = Counting()
        surroundings = Surroundings(Path(), models=models)
        expert_of(tiny("dinov2-backbone"), None, surroundings)
        expert_of(tiny("dinov2-backbone"), None, surroundings, precision="bf16")
        assert len(models.loaded) == 2

    def test_a_head_of_another_backbone_is_refused(self, tiny):
        models = Counting()
        with pytest.raises(ModelError, match="was fitted on the backbone"):
            expert_of(
                tiny("dinov3-backbone"),
                tiny("dinov2-backbone") / HEAD,
                Surroundings(Path(), models=models),
            )
        (key,) = models.loaded
        assert models.users(key) == 0

    def test_a_head_of_another_feature_than_the_profile_relies_on_is_refused(self, tiny):
        assert expert_of(tiny("dinov2-backbone"), feature="cls")
        with pytest.raises(ModelError, match="'pooler'"):
            expert_of(tiny("dinov2-backbone"), feature="pooler")

    def test_a_missing_head_says_where(self, tiny, tmp_path):
        with pytest.raises(ModelError, match="nowhere"):
            expert_of(tiny("dinov2-backbone"), tmp_path / "nowhere.safetensors")

    @pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
    def test_other_runtimes_say_the_same(self, tiny, squares, runtime):
        pytest.importorskip({"onnxruntime": "onnxscript", "openvino": "openvino"}[runtime])
        name = "dinov3-backbone" if runtime == "openvino" else "dinov2-backbone"
        plain = expert_of(tiny(name))
        other = expert_of(tiny(name), runtime=runtime, threads=1)
        assert said_by(other, squares) == pytest.approx(said_by(plain, squares), abs=1e-4)
        assert other.version == plain.version

    def test_bf16_is_close_to_fp32(self, tiny, squares):
        folder = tiny("dinov3-backbone")
        expected, said = (
            said_by(expert_of(folder, precision=precision), squares)
            for precision in ("fp32", "bf16")
        )
        assert said == pytest.approx(expected, abs=0.05)
        assert said != expected

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_gpu_that_is_not_there_is_a_model_error(self, tiny):
        with pytest.raises(ModelError, match="cuda:1"):
            expert_of(tiny("dinov2-backbone"), device="cuda:1")

    def test_tiles_are_as_large_as_the_network_can_use(self, tiny, full_frames):
        expert = expert_of(tiny("dinov3-backbone"), views=("tiles",), tiles=4, combine="max")
        frame = max(full_frames, key=lambda frame: frame.width)
        views = expert.views(frame)
        assert 1 < len(views) <= 4
        assert {view.pixels.shape for view in views} == {(128, 128, 3)}
        look = expert.look_at([frame])[0]
        assert look.evidence[0].score == pytest.approx(look.probability)

    @pytest.mark.parametrize(
        ("section", "word"),
        [
            ({"folder": "a"}, "head"),
            ({"head": "h"}, "either"),
            ({"folder": "a", "head": "h", "feature": "best"}, "pooler"),
            ({"folder": "a", "head": "h", "runtime": "onnxruntime", "precision": "bf16"}, "fp32"),
        ],
    )
    def test_settings_that_cannot_work_are_refused(self, section, word):
        with pytest.raises(ValidationError, match=word):
            BackboneHeadSettings.model_validate(section)
