"""model_card.json, README.md, versions and ages."""

from __future__ import annotations

import json

import pytest
from bittensor_wallet import Keypair
from huggingface_hub import ModelCard as HubModelCard
from hypothesis import given
from hypothesis import strategies as st

from natix_miner.errors import ConfigurationError, PublishingError
from natix_miner.registration import check_base_url, check_repository, check_uid
from natix_miner.registration.age import age_days, word_for
from natix_miner.registration.model_card import (
    Submission,
    make_card,
    read_card,
    read_local_card,
    refuse_old_version,
)
from natix_miner.registration.readme import licence_of, make_readme
from tests.registration.conftest import NOW

HOTKEY = Keypair.create_from_seed("0x" + "05" * 32).ss58_address
RIGHT = {
    "model_name": "Cone finder",
    "description": "Finds cones.",
    "version": "1.2.3",
    "submitted_by": HOTKEY,
    "submission_time": int(NOW),
}


def test_a_card_survives_its_file(tmp_path):
    card = make_card(**RIGHT)
    assert json.loads(card.as_json()) == RIGHT
    (tmp_path / "model_card.json").write_text(card.as_json())
    assert read_local_card(tmp_path) == card
    assert read_local_card(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_name", ""),
        ("description", "   "),
        ("version", "1.2"),
        ("version", "v1.2.3"),
        ("version", "1.2.3-rc1"),
        ("version", "01.2.3"),
        ("version", "1.2.3 final"),
        ("submitted_by", HOTKEY[:-1] + "x"),
        ("submitted_by", ""),
        ("submission_time", int(NOW * 1000)),
        ("submission_time", -1),
    ],
)
def test_every_wrong_field_is_named_with_its_value(field, value):
    with pytest.raises(PublishingError, match=f"{field}: ") as caught:
        make_card(**{**RIGHT, field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("missing", RIGHT)
def test_a_card_without_a_field_is_refused(missing):
    rest = {name: value for name, value in RIGHT.items() if name != missing}
    with pytest.raises(PublishingError, match=f"the hub is not a valid model card: {missing}"):
        read_card(json.dumps(rest).encode(), "the hub")


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b'{"submission_time": "1"}'])
def test_what_is_no_card_is_refused(text):
    with pytest.raises(PublishingError, match="here is not a valid model card"):
        read_card(text, "here")


_VERSIONS = st.tuples(*[st.integers(0, 120)] * 3)


@given(_VERSIONS, _VERSIONS)
def test_versions_are_compared_number_by_number(new, old):
    last = Submission(".".join(map(str, old)), int(NOW), "there")
    if new > old:
        refuse_old_version(".".join(map(str, new)), last)
    else:
        with pytest.raises(PublishingError, match="is not above"):
            refuse_old_version(".".join(map(str, new)), last)


@pytest.mark.parametrize(
    ("days", "word"),
    [
        (0, "full reward for 45 more days"),
        (45, "full reward for 0 more days"),
        (45.01, "reward falling, zero in 45 days"),
        (89, "reward falling, zero in 1 days"),
        (90, "no reward any more"),
        (-1, "lies in the future: check the clock of the machine that published it"),
    ],
)
def test_the_planned_rule_by_age(days, word):
    assert age_days(int(NOW), NOW + days * 86400) == pytest.approx(days)
    assert word_for(days) == word


def test_a_new_readme_is_read_by_the_hubs_own_parser():
    text = make_readme(make_card(**RIGHT), None, "apache-2.0")
    read = HubModelCard(text)
    assert read.data.license == "apache-2.0"
    assert read.data.pipeline_tag == "image-classification"
    assert read.data.tags == ["roadwork", "bittensor", "subnet-72"]
    assert "# Cone finder\n\nFinds cones." in read.text
    assert "`model_card.json`" in read.text
    assert licence_of(text) == "apache-2.0"


def test_an_existing_readme_keeps_its_text_and_its_word():
    there = (
        "---\nlicense: mit\ntags: [cones, roadwork]\npipeline_tag: other\n---\n# Mine\n\n--- x\n"
    )
    text = make_readme(make_card(**RIGHT), there, None)
    read = HubModelCard(text)
    assert (read.data.license, read.data.pipeline_tag) == ("mit", "other")
    assert read.data.tags == ["cones", "roadwork", "bittensor", "subnet-72"]
    assert text.endswith("---\n# Mine\n\n--- x\n")
    assert make_readme(make_card(**RIGHT), text, None) == text
    assert licence_of(make_readme(make_card(**RIGHT), there, "apache-2.0")) == "apache-2.0"


def test_a_readme_without_front_matter_gets_one():
    text = make_readme(make_card(**RIGHT), "# Mine\n", None)
    assert HubModelCard(text).text.strip() == "# Mine"
    assert licence_of(text) is None


@pytest.mark.parametrize("front", ["[1, 2]", "a: [", "tags: {a: 1}"])
def test_front_matter_that_is_not_names_and_values_is_refused(front):
    with pytest.raises(PublishingError, match=r"README.md"):
        make_readme(make_card(**RIGHT), f"---\n{front}\n---\nbody", None)


@pytest.mark.parametrize("name", ["owner/name", "a/b", "natix-org/road_work.v2"])
def test_repositories_of_the_hub_pass(name):
    assert check_repository(name) == name


@pytest.mark.parametrize(
    "name",
    ["name", "a/b/c", "", "/b", "a/", "a b/c", "a/b.git", "a/b--c", "a/b..c", "-a/b", "a/b.",
     "https://huggingface.co/a/b", "a/" + "b" * 97],
)  # fmt: skip
def test_what_is_no_repository_is_refused(name):
    with pytest.raises(ConfigurationError, match="owner/name"):
        check_repository(name)


@pytest.mark.parametrize("uid", [-1, 65536])
def test_uids_outside_the_chains_range_are_refused(uid):
    with pytest.raises(ConfigurationError, match=f"uid {uid} is not in"):
        check_uid(uid)


def test_server_addresses_are_https_or_loopback():
    assert check_base_url("https://hydra.example/api/") == "https://hydra.example/api"
    assert check_base_url("http://127.0.0.1:8080") == "http://127.0.0.1:8080"
    assert check_base_url("http://[::1]:8080") == "http://[::1]:8080"


@pytest.mark.parametrize(
    "url",
    ["http://hydra.example", "http://localhost.evil.example", "ftp://127.0.0.1", "hydra.example",
     "https://", "https://me:secret@hydra.example", "https://h.example/?a=1", "https://h:x", ""],
)  # fmt: skip
def test_other_addresses_are_refused_without_what_is_secret_in_them(url):
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)
