"""The tiny vision-language model: its folder, its answers, and that training teaches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sklearn.metrics import roc_auc_score  # noqa: E402

from natix_miner.scenes import draw_scene  # noqa: E402
from natix_miner.training import evaluation as ev  # noqa: E402
from natix_miner.training.samples import Mixture, Picture  # noqa: E402
from natix_miner.training.tiny_vlm import samples, truth  # noqa: E402
from natix_miner.training.tiny_vlm.architecture import (  # noqa: E402
    LinearPatches,
    make_model,
    parameters_of,
)
from natix_miner.training.tiny_vlm.asking import Asker, in_order, patches_of  # noqa: E402
from natix_miner.training.tiny_vlm.card import tables  # noqa: E402
from natix_miner.training.tiny_vlm.feeding import fed, mirrored  # noqa: E402
from natix_miner.training.tiny_vlm.folder import load_model, save_weights  # noqa: E402
from natix_miner.training.tiny_vlm.loop import Plan, train  # noqa: E402
from natix_miner.training.tiny_vlm.questions import KINDS, NAMES, QUESTIONS  # noqa: E402
from natix_miner.training.tiny_vlm.reference import SPELLINGS, Reference  # noqa: E402
from natix_miner.training.tiny_vlm.teacher import Teacher  # noqa: E402

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "models" / "tiny-vlm"
WIDTH, HEIGHT = 224, 224


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(FOLDER)


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# the folder


def test_transformers_loads_every_weight_of_a_genuine_qwen3_vl() -> None:
    config = transformers.AutoConfig.from_pretrained(FOLDER)
    assert config.model_type == "qwen3_vl"
    assert config.architectures == ["Qwen3VLForConditionalGeneration"]
    assert config.text_config.head_dim == 64  # among the sizes that vLLM's CPU attention takes
    model, told = transformers.AutoModelForImageTextToText.from_pretrained(
        FOLDER, output_loading_info=True
    )
    assert type(model) is transformers.Qwen3VLForConditionalGeneration
    assert not any(told.values())
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_it_is_as_small_as_its_card_says() -> None:
    assert 2_500_000 < parameters_of(make_model(0)) < 2_750_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 6_000_000
    assert {path.name for path in FOLDER.iterdir()} >= {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "figures.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_every_answer_is_one_token(reference: Reference) -> None:
    tokenizer = reference.tokenizer
    assert len(tokenizer) == tokenizer.vocab_size == 1024
    for words in SPELLINGS.values():
        for word in words:
            numbers = tokenizer(word)["input_ids"]
            assert len(numbers) == 1, word
            assert tokenizer.decode(numbers) == word
    said = "Bäume — 道路, déjà vu?\n\tx"
    assert tokenizer.decode(tokenizer(said)["input_ids"]) == said


def test_special_tokens_mean_what_the_configuration_says(reference: Reference) -> None:
    config, tokenizer = reference.model.config, reference.tokenizer
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == config.image_token_id
    assert tokenizer.convert_tokens_to_ids("<|video_pad|>") == config.video_token_id
    assert tokenizer.convert_tokens_to_ids("<|vision_start|>") == config.vision_start_token_id
    assert tokenizer.convert_tokens_to_ids("<|vision_end|>") == config.vision_end_token_id
    assert tokenizer.eos_token_id == config.text_config.eos_token_id
    assert tokenizer.eos_token == "<|im_end|>"


def test_the_chat_template_keeps_text_before_the_picture(reference: Reference) -> None:
    render = reference.tokenizer.apply_chat_template
    content = [{"type": "text", "text": "Before."}, {"type": "image"}]
    message = {"role": "user", "content": content}
    assert render([message], tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>user\nBefore.<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    turned = {"role": "user", "content": content[::-1]}
    assert "<|vision_end|>Before." in render([turned], tokenize=False)


def test_the_chat_template_takes_system_text_and_a_begun_answer(reference: Reference) -> None:
    messages = [
        {"role": "system", "content": "You judge."},
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "I think"},
    ]
    said = reference.tokenizer.apply_chat_template(
        messages, tokenize=False, continue_final_message=True
    )
    assert said == (
        "<|im_start|>system\nYou judge.<|im_end|>\n<|im_start|>user\nWell?<|im_end|>\n"
        "<|im_start|>assistant\nI think"
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_was_trained_on_the_words_that_are_asked(name: str) -> None:
    prompt = yaml.safe_load((ROOT / "configs" / "prompts" / f"{name}.yaml").read_text())
    assert prompt["before"] == QUESTIONS[name]
    assert not prompt.get("system")
    assert not prompt.get("after")


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((224, 224), 49), ((448, 252), 91), ((1024, 1024), 100), ((4032, 3024), 88), ((96, 96), 49)],
)
def test_a_picture_becomes_49_to_100_tokens(
    reference: Reference, size: tuple[int, int], tokens: int
) -> None:
    width, height = size
    shown = reference.processor(images=[np.zeros((height, width, 3), np.uint8)])
    assert int(np.prod(np.asarray(shown["image_grid_thw"][0]))) // 4 == tokens


# what training does with pictures and prompts, against what transformers does with them


def test_patches_are_those_of_the_processor(reference: Reference) -> None:
    pixels = noise((2, 224, 256, 3))
    theirs = reference.processor(images=list(pixels), return_tensors="pt")["pixel_values"]
    # Its torchvision processor, which is taken where torchvision is installed, rounds once less.
    torch.testing.assert_close(patches_of(pixels), theirs, rtol=0.0, atol=1e-6)


def test_targets_lie_in_the_order_of_the_patches() -> None:
    pixels = np.zeros((1, 64, 96, 3), np.uint8)
    marks = torch.arange(4 * 6, dtype=torch.float32).reshape(1, 4, 6, 1)
    pixels[:] = marks.numpy().repeat(16, 1).repeat(16, 2).astype(np.uint8)
    shown = (patches_of(pixels).mean(1) + 1) * 127.5
    assert torch.allclose(shown, in_order(marks)[:, 0], atol=1e-3)


def test_the_linear_patch_embedding_equals_the_convolution() -> None:
    embedding = make_model(3).model.visual.patch_embed
    patches = patches_of(noise((1, 64, 64, 3)))
    with torch.inference_mode():
        assert torch.allclose(LinearPatches(embedding.proj)(patches), embedding(patches), atol=1e-4)


def test_asking_in_batches_gives_the_answers_that_transformers_gives(reference: Reference) -> None:
    asker = Asker(load_model(FOLDER))
    pixels = np.stack([draw_scene(np.random.default_rng(i), 256, 224, i == 0).pixels
                       for i in range(2)])  # fmt: skip
    with torch.inference_mode():
        sight = asker.see(pixels)
        for name in NAMES:
            yes, no = asker.masses(asker.answer(sight, name))
            for row in range(2):
                wanted = reference.masses(pixels[row], QUESTIONS[name])
                assert (float(yes[row]), float(no[row])) == pytest.approx(wanted, abs=1e-5)


def test_saved_weights_load_again_and_leave_nothing_beside(tmp_path: Path) -> None:
    model = make_model(4)
    save_weights(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name].half().float()), name


# what it knows


def test_it_tells_drawn_roadwork_from_none(reference: Reference) -> None:
    pictures = ev.drawn(40, "cropped", 31_337)
    answers = [reference.masses(p.pixels, QUESTIONS["roadwork"]) for p in pictures]
    assert min(yes + no for yes, no in answers) > 0.9  # it says yes or no and nothing else
    shares = [yes / (yes + no) for yes, no in answers]
    assert roc_auc_score(ev.labels_of(pictures), shares) > 0.65


def test_the_card_tells_the_figures_that_were_measured() -> None:
    figures = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for table in tables(figures):
        assert table in card
    assert {told["n"] for told in figures["drawn"].values()} == {300}
    assert figures["drawn"]["cropped"]["auc_95"][0] > 0.5  # better than guessing
    assert figures["drawn"]["full-frame"]["auc_95"][0] > 0.5


# samples


def test_the_truth_of_a_question_is_what_can_be_seen_of_it() -> None:
    kinds = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert truth.truth_of(kinds).tolist() == [0, 0, 0, 0]
    kinds[:16, :16] = truth.CODES["cone"]
    assert truth.truth_of(kinds).tolist() == [1, 1, 0, 0]
    kinds[40, 40:45] = truth.CODES["worker"]  # five pixels: nobody could tell
    assert truth.truth_of(kinds).tolist() == [1, 1, -1, 0]
    kinds[:] = truth.OTHER
    assert truth.truth_of(kinds).tolist() == [1, 0, 0, 0]


def test_patches_know_what_they_show() -> None:
    kinds = np.zeros((32, 64), np.uint8)
    kinds[:16, :16] = truth.CODES["work-sign"]
    kinds[0, 16] = truth.CODES["cone"]
    kinds[16:, 48:] = truth.UNSURE
    made = truth.patch_truth(kinds)
    assert made.shape == (2, 4, 4)
    assert made[0, 0].tolist() == [1, 0, 0, 1]
    assert made[0, 1].tolist() == [-1, -1, 0, 0]
    assert made[1, 3].tolist() == [-1, -1, -1, -1]
    assert made[1, 0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_a_map_of_kinds_covers_exactly_the_roadwork(seed: int) -> None:
    scene = draw_scene(np.random.default_rng(seed), 320, 240, True)
    kinds = truth.kind_map(scene)
    shown = (kinds > 0) & (kinds <= truth.OTHER)
    assert (shown == (scene.mask == 255)).all()
    drawn = {kind for kind, _ in scene.objects}
    for code, name in enumerate(KINDS, 1):
        if (kinds == code).any():
            assert drawn & KINDS[name]


def test_batches_follow_from_their_number_and_keep_to_their_ranges() -> None:
    real = tuple(
        Picture(noise((300, 400, 3), seed), bool(seed % 2), "g", str(seed % 4)) for seed in range(4)
    )
    teacher = Teacher(ROOT / "models" / "embedded" / "network.safetensors")
    mixture = Mixture(real, real_share=0.5)
    for index in (0, 2):
        one, two = (samples.make_batch(1, index, mixture, teacher, shrink=4) for _ in range(2))
        assert np.array_equal(one.pixels, two.pixels)
        assert np.array_equal(one.patches, two.patches)
        assert one.pixels.shape[1] % 32 == one.pixels.shape[2] % 32 == 0
        assert one.patches.shape[1:] == (one.pixels.shape[1] // 16, one.pixels.shape[2] // 16, 4)
        assert set(np.unique(one.truth)) <= {-1.0, 0.0, 1.0}
        assert set(np.unique(one.truth[:, 0])) <= {0.0, 1.0}
        inside = (one.patches >= 0) & (one.patches <= 1)
        assert (inside | (one.patches == truth.UNKNOWN)).all()


def test_mirroring_turns_pictures_and_patches_alike() -> None:
    batch = samples.make_windows(1, 0, Mixture(), shrink=8)
    turned = mirrored(batch)
    assert np.array_equal(turned.pixels[:, :, 0], batch.pixels[:, :, -1])
    assert np.array_equal(turned.patches[:, :, 0], batch.patches[:, :, -1])


def test_a_worker_feeds_the_same_batches_as_none() -> None:
    make = partial(samples.make_windows, 2, mixture=Mixture(), shrink=12)
    feeds = [fed(make, 5, 2, worker) for worker in (False, True)]
    for _ in range(4):
        one, two = (next(feed) for feed in feeds)
        assert np.array_equal(one.pixels, two.pixels)
    for feed in feeds:
        feed.close()


# learning


def test_a_few_steps_of_training_lower_the_cost() -> None:
    plan = Plan(seed=3, minutes=5, steps=12, warm_up=3, looking=0.25, worker=False, shrink=6,
                snapshot_every=6)  # fmt: skip
    shots = []
    model, costs = train(plan, make_model(3), Mixture(), None, lambda line: None, shots.append)
    assert len(costs) == 12
    assert np.mean(costs[-3:]) < 0.8 * np.mean(costs[3:6])  # of whole pictures, answers and all
    assert len(shots) == 2
    assert type(model.model.visual.patch_embed.proj).__name__ == "Conv3d"
