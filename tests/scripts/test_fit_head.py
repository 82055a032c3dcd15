"""Heads fitted by the real script on pictures that differ in colour, and used by the expert."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from natix_miner.experts.families.backbone_head import BackboneHead, BackboneHeadSettings
from natix_miner.experts.family import Surroundings
from natix_miner.experts.weights.head import Head
from natix_miner.images import decode_picture
from natix_miner.sections import PictureLimits

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit_head", ROOT / "scripts" / "fit_head.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_head"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    import tiny_models

    return tiny_models.make("dinov3-backbone", tmp_path_factory.mktemp("backbone"))


def draw(rng: np.random.Generator, roadwork: bool) -> Image.Image:
    """Grey noise, with an orange patch somewhere when there is roadwork."""
    pixels = rng.integers(60, 160, (96, 128, 1), dtype=np.uint8).repeat(3, 2)
    if roadwork:
        y, x = rng.integers(0, 40), rng.integers(0, 70)
        pixels[y : y + 50, x : x + 50] = (250, 120, 10)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of 8 clips of 5 pictures with both labels, and a ninth of which half the labels lie,
    on a split of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(9)
    with (folder / "list.csv").open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(["file", "label", "group", "split", "remark"])
        for clip in range(9):
            for number in range(5):
                roadwork = number % 2 == clip % 2
                told = roadwork if clip < 8 else not roadwork
                name = f"{clip}-{number}.jpg"
                draw(rng, roadwork).save(folder / name, quality=90)
                split = "train" if clip < 8 else "lies"
                rows.writerow([name, "work" if told else "none", f"clip-{clip}", split, ""])
    return folder / "list.csv"


def options(backbone: Path, pictures: Path, out: Path, *more: str) -> list[str]:
    return [
        *("--backbone", str(backbone), "--pictures", str(pictures), "--out", str(out)),
        *("--positive", "work", "--where", "split=train", "--folds", "3", *more),
    ]


def judged(backbone: Path, head: Path) -> tuple[list[float], list[float]]:
    """What an expert with this head says of new pictures with and without roadwork."""
    settings = BackboneHeadSettings(folder=backbone, head=head)
    expert = BackboneHead("judge", settings, Surroundings(Path()))
    expert.load()
    rng = np.random.default_rng(10)
    said: tuple[list[float], list[float]] = ([], [])
    for number in range(12):
        path = head.with_suffix(".jpg")
        draw(rng, number % 2 == 0).save(path, quality=90)
        frame = decode_picture(path.read_bytes(), PictureLimits())
        said[number % 2].append(expert.look_at([frame])[0].probability)
    return said


class TestFitting:
    def test_a_linear_head_tells_new_pictures_apart(
        self, script, backbone, pictures, tmp_path, capsys
    ):
        out = tmp_path / "head.safetensors"
        assert script.main(options(backbone, pictures, out, "--mirror")) == 0
        told = capsys.readouterr().out
        assert "80 samples of 40 pictures in 8 groups" in told
        head = Head.load(out)
        assert (head.kind, head.feature) == ("linear", "pooler")
        figures = json.loads(head.notes["held_out"])
        assert figures["n"] == 80
        assert figures["auc"] > 0.9
        assert f"auc {figures['auc']} mcc {figures['mcc']}" in told
        with_work, without = judged(backbone, out)
        assert min(with_work) > 0.5 > max(without)
        assert [file.name for file in tmp_path.glob("*.half")] == []

    def test_an_attentive_head_tells_new_pictures_apart(
        self, script, backbone, pictures, tmp_path, capsys
    ):
        out = tmp_path / "head.safetensors"
        more = ("--kind", "attentive", "--heads", "2", "--steps", "80", "--strength", "1")
        assert script.main(options(backbone, pictures, out, *more)) == 0
        head = Head.load(out)
        assert (head.kind, head.feature, len(head.query)) == ("attentive", "tokens", 2)
        assert json.loads(head.notes["held_out"])["auc"] > 0.9
        with_work, without = judged(backbone, out)
        assert np.mean(with_work) > 0.8
        assert np.mean(without) < 0.2

    def test_two_runs_agree(self, script, backbone, pictures, tmp_path):
        heads = []
        for name in ("one", "two"):
            more = ("--feature", "mean", "--generation", "cropped", "--strength", "0.1")
            assert script.main(options(backbone, pictures, tmp_path / name, *more)) == 0
            heads.append(Head.load(tmp_path / name))
        assert heads[0].version == heads[1].version
        assert heads[0].feature == "mean"

    def test_groups_are_never_on_both_sides(self, script):
        rng = np.random.default_rng(0)
        groups = np.repeat([f"clip-{number}" for number in range(6)], 4)
        labels = np.tile([0, 1], 12)
        samples = script.Samples(rng.normal(size=(24, 3)).astype(np.float32), labels, groups)
        task = script.Task("linear", "cls", "digest", (1.0,), 3, 0, 1, 1)
        splits = script._splits(task, samples)
        assert len(splits) == 3
        for kept, left_out in splits:
            assert not set(groups[kept]) & set(groups[left_out])
        assert sorted(np.concatenate([out for _, out in splits])) == list(range(24))

    def test_a_label_that_only_the_clip_tells_is_not_praised(self, script):
        """Features that know the clip and nothing else: held out by clip they are worth nothing."""
        rng = np.random.default_rng(1)
        clips = np.repeat(np.arange(12), 6)
        features = rng.normal(size=(12, 16))[clips] + rng.normal(size=(72, 16)) * 0.01
        samples = script.Samples(
            features.astype(np.float32), clips % 2, np.array([f"clip-{one}" for one in clips])
        )
        task = script.Task("linear", "cls", "digest", (0.1, 1.0), 4, 0, 1, 1)
        inside = task.fit(samples, 1.0).log_odds(samples.features) > 0
        assert np.mean(inside == samples.labels) > 0.95
        figures = script.measured(samples.labels, script.held_out(task, samples))
        assert figures["n"] == 72
        assert figures["auc"] < 0.8


class TestPictures:
    def test_a_folder_a_label_is_a_list_too(self, script, tmp_path, capsys):
        rng = np.random.default_rng(3)
        for label in ("work", "none"):
            (tmp_path / label).mkdir()
            draw(rng, label == "work").save(tmp_path / label / f"{label}.jpg")
        (tmp_path / "none" / "notes.txt").write_text("no picture")
        found = script.listed(tmp_path, "work", [])
        assert [(one.path.name, one.roadwork) for one in found] == [
            ("none.jpg", False),
            ("work.jpg", True),
        ]
        assert "no groups" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("file,label\na.jpg,work\n", "no column group"),
            ("file,label,group\na.jpg,work,1\nb.jpg,none,2\n", "no column split"),
            ("file,label,group,split\na.jpg,work,1,train\nb.jpg,none,2,train\n", "1 groups"),
        ],
    )
    def test_lists_that_cannot_be_used_are_refused(
        self, script, backbone, tmp_path, capsys, text, words
    ):
        listing = tmp_path / "list.csv"
        listing.write_text(text)
        assert script.main(options(backbone, listing, tmp_path / "head")) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "head").exists()

    def test_an_unreadable_picture_leaves_the_old_head_alone(
        self, script, backbone, tmp_path, capsys
    ):
        listing, out = tmp_path / "list.csv", tmp_path / "head"
        out.write_text("the old one")
        rows = [f"{number}.jpg,{'work' if number % 2 else 'none'},{number},train"
                for number in range(4)]  # fmt: skip
        listing.write_text("\n".join(["file,label,group,split", *rows]))
        assert script.main(options(backbone, listing, out)) == 2
        assert "0.jpg" in capsys.readouterr().err
        assert out.read_text() == "the old one"

    def test_a_folder_without_a_backbone_is_refused(self, script, pictures, tmp_path, capsys):
        assert script.main(options(tmp_path, pictures, tmp_path / "head")) == 2
        assert "config.json" in capsys.readouterr().err

    def test_nowhere_to_write_is_told_before_the_work(self, script, backbone, pictures, capsys):
        assert script.main(options(backbone, pictures, Path("/nowhere/head"))) == 2
        assert "/nowhere" in capsys.readouterr().err
