"""What labels mean for roadwork, and which vocabulary a model's labels belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from natix_miner.errors import ModelError
from natix_miner.experts.detection.rule import load_rule
from natix_miner.experts.detection.vocabulary import (
    TELLING,
    Vocabulary,
    load_vocabularies,
    plain,
    vocabulary_named,
    vocabulary_of,
)

RULE = Path(__file__).parents[3] / "models" / "detection" / "rule.json"
COCO = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic_light",
]
OBJECTS365 = (
    "Person",
    "Car",
    "Drum",
    "Barrel/bucket",
    "Truck",
    "Traffic cone",
    "Machinery Vehicle",
)


class TestShippedVocabularies:
    @pytest.mark.parametrize("name", sorted(load_vocabularies()))
    def test_the_rule_weighs_every_class_they_name(self, name):
        weights = load_rule(RULE).weights
        assert set(load_vocabularies()[name].classes.values()) <= set(weights)

    def test_every_telling_class_has_a_weight_of_half_or_more(self):
        weights = load_rule(RULE).weights
        assert min(weights[kind] for kind in TELLING) >= 0.5
        assert max(weight for kind, weight in weights.items() if kind not in TELLING) < 0.5

    def test_those_without_roadwork_of_their_own_are_weak(self):
        weak = {name for name, each in load_vocabularies().items() if each.weak}
        assert weak == {"coco-80", "open-images-v7"}


class TestMeaning:
    @pytest.mark.parametrize(
        "label", ["Traffic cone", "traffic_cone", "TRAFFIC-CONE", " traffic  cone "]
    )
    def test_spelling_does_not_matter(self, label):
        assert vocabulary_named("objects365").class_of(label) == "cone"
        assert plain(label) == "traffic cone"

    def test_other_things_mean_nothing(self):
        assert vocabulary_named("objects365").class_of("Drum") is None, "that one is an instrument"
        assert vocabulary_named("roadwork-19").class_of("Drum") == "drum"

    def test_the_digest_tells_of_another_meaning(self):
        one = Vocabulary(classes={"Cone": "cone"}, source="a test")
        same = Vocabulary(classes={"cone": "cone"}, source="another")
        other = Vocabulary(classes={"Cone": "drum"}, source="a test")
        assert one.digest() == same.digest() != other.digest()


class TestChoosing:
    @pytest.mark.parametrize(
        ("labels", "name"),
        [
            (COCO, "coco-80"),
            (OBJECTS365, "objects365"),
            (["Cone", "Drum", "Worker", "TTC Sign"], "roadwork-19"),
            (["cone", "barrel", "bulldozer", "person"], "lvis"),
            (["car", "truck", "construction_vehicle", "barrier", "traffic_cone"], "nuimages"),
        ],
    )
    def test_labels_find_their_vocabulary(self, labels, name):
        assert vocabulary_of(labels, None, "x")[0] == name

    def test_a_wanted_one_is_taken(self):
        assert vocabulary_of(["cone", "person"], "lvis", "x")[0] == "lvis"

    def test_labels_without_meaning_are_an_error_that_shows_them(self):
        with pytest.raises(
            ModelError, match=r"'x': no class .* known .* 2 labels are LABEL_0, LABEL_1"
        ):
            vocabulary_of(["LABEL_0", "LABEL_1"], None, "x")

    def test_a_wanted_one_that_knows_no_label_is_an_error(self):
        with pytest.raises(ModelError, match="none of the model's 1 labels"):
            vocabulary_of(["Cone"], "coco-80", "x")

    def test_an_unknown_one_is_an_error_that_names_the_others(self):
        with pytest.raises(ModelError, match=r"no vocabulary 'cones'; there are .*coco-80"):
            vocabulary_of(["Cone"], "cones", "x")


class TestFiles:
    @pytest.mark.parametrize(
        "content",
        ["- a list", "mine: {classes: {}, source: s}", "mine: {classes: {a: b}}", "a: [", ""],
    )
    def test_a_file_that_is_none_is_a_model_error(self, tmp_path, content):
        file = tmp_path / "words.yaml"
        file.write_text(content)
        with pytest.raises(ModelError, match=r"words\.yaml"):
            load_vocabularies(file)

    def test_no_file_is_a_model_error(self, tmp_path):
        with pytest.raises(ModelError, match="missing"):
            load_vocabularies(tmp_path / "missing.yaml")
