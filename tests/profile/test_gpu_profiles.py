"""Every shipped profile is built, started and asked, with tiny models in place of the real ones.

A catalogue beside tiny models of the same file formats stands for the shipped one. What cannot be
had here is replaced, and only that: GPUs (experts run on the CPU, fp16 as fp32) and servers of
language models (experts that ask them are left out). Entry rules and times are taken away, so that
every level is entered on a busy machine too. Of the real weights nothing is learned here.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from natix_miner.assembly import build_judge
from natix_miner.catalogue import Catalogue, load_catalogue
from natix_miner.catalogue.manifest import Manifest, write_manifest
from natix_miner.errors import ModelError
from natix_miner.experts.family import family_of
from natix_miner.profile import Profile, load_profile
from natix_miner.query import Query

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
PICTURE = ROOT / "natix_miner" / "demo" / "queries" / "full-frame-01.jpg"

#: Which tiny model stands for those that an adapter loads.
TINY = {
    "image-classifier": "vit-classifier",
    "zero-shot": "zero-shot-siglip-2",
    "transformers-detector": "d-fine",
    "open-vocabulary": "mm-grounding-dino",
    "sam3": "sam3-detector",
    "florence": "florence",
    "depth": "depth-anything-v2-metric",
}
#: These ask servers, which are not there.
ASKING = {"vlm", "vlm-judge"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by its name."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    folder = tmp_path_factory.mktemp("tiny-models")

    def made(name: str) -> Path:
        import tiny_models

        return tiny_models.make(name, folder)

    return made


class Swapped:
    """A copy of a profile in which nothing is out of reach; `left_out` are the sections that ask
    servers, `swapped` the models that tiny ones stand for, by adapter."""

    def __init__(self, source: Path, folder: Path, tiny: Callable[[str], Path]) -> None:
        self._tiny, self._models = tiny, folder / "models"
        self._catalogue: Catalogue = load_catalogue(ROOT / "models" / "catalogue.yaml")
        self.content: dict[str, Any] = yaml.safe_load(source.read_text())
        self.left_out: set[str] = set()
        self.swapped: dict[str, str] = {}
        self._lay_out(folder)
        self._take_servers_out()
        for section in self.content["experts"].values():
            self._bring_here(section)
        self._take_rules_away()
        self.path = folder / "configs" / source.name
        self.path.write_text(yaml.safe_dump(self.content))

    def _lay_out(self, folder: Path) -> None:
        (folder / "configs").mkdir()
        self._models.mkdir()
        (folder / "configs" / "prompts").symlink_to(ROOT / "configs" / "prompts")
        for shipped in ("embedded", "detection", "catalogue.yaml"):
            (self._models / shipped).symlink_to(ROOT / "models" / shipped)

    def _take_servers_out(self) -> None:
        experts = self.content["experts"]
        self.left_out = {name for name, section in experts.items() if section["type"] in ASKING}
        self.content["experts"] = {n: s for n, s in experts.items() if n not in self.left_out}
        for level in self.content["levels"]:
            level["experts"] = [name for name in level["experts"] if name not in self.left_out]
        self.content["levels"] = [level for level in self.content["levels"] if level["experts"]]
        self.content.pop("servers", None)
        if self.left_out:  # fitted for those that are gone as well
            self.content.get("consensus", {}).pop("fitted", None)

    def _bring_here(self, section: dict[str, Any]) -> None:
        if str(section.get("device", "cpu")).startswith("cuda"):
            section["device"] = "cpu"
            section.update({"precision": "fp32"} if section.get("precision") == "fp16" else {})
        if section.get("folder") == "../models/baseline":
            shutil.copytree(self._tiny("vit-classifier"), self._models / "baseline")
        elif isinstance(model := section.get("model"), str) and not model.startswith("../"):
            self._swap(model)
        for part in section.values():
            if isinstance(part, dict):
                self._bring_here(part)

    def _swap(self, key: str) -> None:
        entry = self._catalogue.entry(key)
        where = self._models / entry.key
        self.swapped[key] = str(entry.model.adapter)
        if where.exists():
            return
        shutil.copytree(self._tiny(TINY[str(entry.model.adapter)]), where)
        revision = entry.checkpoint.revision or "0" * 40
        write_manifest(
            where,
            Manifest(
                key=entry.key,
                repository=entry.checkpoint.repository,
                revision=revision,
                pinned=True,
                files={},
                checked=(),
            ),
        )

    def _take_rules_away(self) -> None:
        self.content["deadline_seconds"] = 60
        for level in self.content["levels"]:
            level.pop("enter", None)
            level.pop("needs_seconds", None)
        for section in self.content["experts"].values():
            section["timeout_seconds"] = 50


@pytest.fixture
def swapped(tmp_path: Path, tiny: Callable[[str], Path]) -> Callable[[Path], Swapped]:
    return lambda source: Swapped(source, tmp_path, tiny)


@pytest.mark.parametrize("source", CONFIGS, ids=lambda path: path.stem)
async def test_every_expert_of_a_shipped_profile_judges(source, swapped):
    taken = swapped(source)
    profile = load_profile(taken.path)
    judge = build_judge(profile)
    try:
        await judge.start()
        picture = PICTURE.read_bytes()
        verdict = await judge.judge(
            Query.of(picture, source="test", seconds=profile.deadline_seconds)
        )
    finally:
        await judge.close()
    assert verdict.error is None
    assert 0.0 < verdict.probability < 1.0
    said = {expert.name: expert for level in verdict.trace.levels for expert in level.experts}
    assert {
        name: (one.status, one.detail) for name, one in said.items() if one.status != "ok"
    } == {}
    assert set(said) == set(load_profile(source).experts) - taken.left_out
    voting = profile.expert_names()
    assert {name for name, one in said.items() if one.probability is not None} == voting


@pytest.mark.parametrize(
    ("name", "models", "asking"),
    [
        ("baseline", set(), 0),
        ("embedded", set(), 0),
        ("embedded-vlm", set(), 1),
        ("remote-vlm", set(), 2),
        ("detectors-cpu", {"zero-shot", "transformers-detector"}, 0),
        ("gpu-24g", {"zero-shot", "transformers-detector"}, 2),
        ("gpu-80g", {"zero-shot", "transformers-detector", "depth", "open-vocabulary"}, 3),
        ("dual-80g", {"zero-shot", "transformers-detector", "depth", "open-vocabulary"}, 5),
        ("dual-80g-235b", {"zero-shot", "transformers-detector", "depth", "open-vocabulary"}, 3),
    ],
)
def test_what_is_swapped_and_left_out_is_known(swapped, name, models, asking):
    """So that a profile does not lose experts in these tests without anybody noticing."""
    taken = swapped(ROOT / "configs" / f"{name}.yaml")
    assert set(taken.swapped.values()) == models
    assert len(taken.left_out) == asking


def test_every_profile_is_known_to_the_test_above():
    known = test_what_is_swapped_and_left_out_is_known.pytestmark[0].args[1]
    assert {name for name, _, _ in known} == {path.stem for path in CONFIGS}


@pytest.mark.parametrize("source", CONFIGS, ids=lambda path: path.stem)
def test_models_of_a_shipped_profile_stand_in_the_catalogue_with_the_right_adapter(source):
    known = load_catalogue(ROOT / "models" / "catalogue.yaml")
    for name, section in yaml.safe_load(source.read_text())["experts"].items():
        model = section.get("model")
        if model and not model.startswith("../"):
            assert known.entry(model).model.adapter == section["type"], name
        if "depth" in section:
            assert known.entry(section["depth"]["model"]).model.adapter == "depth", name


async def test_without_the_weights_the_start_says_what_to_fetch(swapped):
    taken = swapped(ROOT / "configs" / "detectors-cpu.yaml")
    shutil.rmtree(taken.path.parents[1] / "models" / "d-fine-s-obj365-fp32")
    judge = build_judge(load_profile(taken.path))
    try:
        with pytest.raises(ModelError, match=r"'cones'.*natix-miner models fetch d-fine-s-obj365"):
            await judge.start()
    finally:
        await judge.close()


def commented_out(source: Path) -> dict[str, Any]:
    """The sections of experts that a profile shows and does not use."""
    text = source.read_text()
    text = text[text.index("\nexperts:") : text.index("\nlevels:")]
    lines = re.findall(r"^  # (.*)$", text, re.MULTILINE)
    found: dict[str, Any] = yaml.safe_load("\n".join(lines)) or {}
    return found


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("detectors-cpu", {"memory"}),
        ("gpu-24g", {"words", "concepts", "yolo"}),
        ("gpu-80g", {"concepts", "yolo"}),
        ("dual-80g", {"concepts", "yolo"}),
        ("dual-80g-235b", {"concepts", "yolo"}),
    ],
)
def test_what_is_commented_out_is_a_section_that_loads(name, shown):
    found = commented_out(ROOT / "configs" / f"{name}.yaml")
    assert set(found) == shown
    for section in found.values():
        family_of(section["type"]).settings.model_validate(section)


def test_a_licence_bound_model_that_is_switched_on_is_asked_for(swapped, tmp_path):
    from natix_miner.errors import LicenceError
    from natix_miner.profile.licences import refuse_unaccepted

    taken = swapped(ROOT / "configs" / "gpu-80g.yaml")
    content = taken.content
    content["experts"] |= commented_out(ROOT / "configs" / "gpu-80g.yaml")
    content["levels"][1]["experts"] += ["concepts", "yolo"]
    taken.path.write_text(yaml.safe_dump(content))
    profile: Profile = load_profile(taken.path)
    with pytest.raises(LicenceError, match=r"(?s)'concepts'.*SAM-License.*'yolo'.*AGPL-3.0"):
        refuse_unaccepted(profile)
