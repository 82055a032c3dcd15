"""Licences are asked for once, in the profile: what needs one, what does not, what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml

from natix_miner.assembly import build_judge
from natix_miner.catalogue.manifest import Manifest, write_manifest
from natix_miner.errors import CatalogueError, ConfigurationError, LicenceError
from natix_miner.experts.detection.settings import DetectorSettings
from natix_miner.experts.family import ExpertSettings
from natix_miner.profile import Profile, load_profile
from natix_miner.profile.licences import needs_of, refuse_unaccepted

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def row(licence: str, *traps: str, **more: Any) -> dict[str, Any]:
    return {
        "name": f"Model under {licence}",
        "kind": "detector",
        "checkpoints": [{"format": "fp32", "repository": f"org/{licence.lower()}"}],
        "licence": {"name": licence},
        "traps": list(traps),
        "evidence": "verified",
        "source": "made for a test",
        **more,
    }


ROWS = {
    "free": row("MIT"),
    "gated": row("SAM-License", "gated", "custom-terms"),
    "strong": row("AGPL-3.0", "agpl"),
    "research": row("CC-BY-NC-4.0", "non-commercial"),
    "custom": row("DINOv3-License", "custom-terms"),
    "unread": row("unknown"),
    "biting": row("BSD", "pickle"),
    "served": row("Llama-4-Community", "gated", loads_with={"vllm": "Llama4ForCausalLM"}),
}


class StrictSettings(ExpertSettings):
    """Stands for a family whose code is under a licence, whatever the weights."""

    licence: ClassVar[str] = "AGPL-3.0"
    type: Literal["strict"] = "strict"
    file: Path


@pytest.fixture
def profile(tmp_path: Path) -> Callable[..., Profile]:
    """A profile in configs/ of a new folder, beside a catalogue of ROWS in models/."""

    def make(*models: str, **more: Any) -> Profile:
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "configs").mkdir(exist_ok=True)
        catalogue = tmp_path / "models" / "catalogue.yaml"
        catalogue.write_text(yaml.safe_dump({"as_of": "2026-11-21", "models": ROWS}))
        experts = {model: detector(model) for model in models} or {"free": detector("free")}
        experts = more.pop("experts", experts)
        content = {
            "name": "tried",
            "experts": experts,
            "levels": [{"name": "only", "experts": list(experts)}],
            **more,
        }
        path = tmp_path / "configs" / "tried.yaml"
        path.write_text(yaml.safe_dump(content))
        return load_profile(path)

    return make


def detector(model: str) -> dict[str, Any]:
    return {"type": "open-vocabulary", "model": model}


def needs(profile: Profile) -> list[tuple[str, str]]:
    return [(need.who, need.licence) for need in needs_of(profile)]


@pytest.mark.parametrize("model", ["gated", "strong", "research", "custom", "unread"])
def test_what_binds_or_nobody_has_read_has_to_be_accepted(profile, model):
    licence = ROWS[model]["licence"]["name"]
    with pytest.raises(LicenceError, match=rf"expert '{model}': {model} is under {licence} "):
        refuse_unaccepted(profile(model))
    refuse_unaccepted(profile(model, accept_licences=[licence]))


@pytest.mark.parametrize("model", ["free", "biting"])
def test_free_licences_need_nothing(profile, model):
    refuse_unaccepted(profile(model))


def test_all_that_is_missing_is_told_at_once_with_the_line_to_add(profile):
    with pytest.raises(LicenceError) as raised:
        refuse_unaccepted(profile("free", "gated", "strong", accept_licences=["DINOv3-License"]))
    said = str(raised.value)
    assert "expert 'gated': gated is under SAM-License (custom-terms, gated)" in said
    assert "expert 'strong': strong is under AGPL-3.0 (agpl)" in said
    assert "'free'" not in said
    assert said.splitlines()[-1] == "accept_licences: [AGPL-3.0, DINOv3-License, SAM-License]"


def test_the_line_that_is_told_is_one_that_works(profile):
    unaccepted = profile("gated", "strong", "unread")
    with pytest.raises(LicenceError) as raised:
        refuse_unaccepted(unaccepted)
    line = yaml.safe_load(str(raised.value).splitlines()[-1])
    refuse_unaccepted(profile("gated", "strong", "unread", **line))


def test_an_accepted_licence_does_not_stand_for_another(profile):
    with pytest.raises(LicenceError, match=r"under SAM-License"):
        refuse_unaccepted(profile("gated", accept_licences=["AGPL-3.0", "sam-license"]))


def test_a_repository_is_as_good_as_its_key(profile):
    assert needs(profile("org/sam-license")) == [("expert 'org/sam-license'", "SAM-License")]


def test_what_the_catalogue_does_not_know_is_its_owners_matter(profile, tmp_path):
    stranger = {"type": "open-vocabulary", "model": "who/knows", "revision": COMMIT}
    folder = {"type": "open-vocabulary", "folder": "../mine"}
    assert needs(profile(experts={"stranger": stranger, "folder": folder})) == []
    (tmp_path / "mine").mkdir()
    assert needs(profile(experts={"folder": folder})) == []


def test_a_folder_that_was_fetched_is_known(profile, tmp_path):
    folder = tmp_path / "models" / "anywhere"
    folder.mkdir(parents=True)
    write_manifest(
        folder,
        Manifest(
            key="gated-fp32",
            repository="org/sam-license",
            revision=COMMIT,
            pinned=True,
            files={},
            checked=(),
        ),
    )
    experts = {"mine": {"type": "open-vocabulary", "folder": "../models/anywhere"}}
    assert needs(profile(experts=experts)) == [("expert 'mine'", "SAM-License")]


def test_nested_models_count_too(profile):
    nested = {**detector("free"), "depth": {"model": "research"}}
    assert needs(profile(experts={"free": nested})) == [("expert 'free'", "CC-BY-NC-4.0")]


def test_a_model_that_stands_twice_in_one_expert_is_told_once(profile):
    nested = {**detector("research"), "depth": {"model": "research"}}
    assert len(needs(profile(experts={"twice": nested}))) == 1


def test_a_family_under_a_licence_needs_it_whatever_the_weights(profile):
    strict = StrictSettings(type="strict", file=Path("mine.pt"))
    changed = profile("free").model_copy(update={"experts": {"yolo": strict}})
    assert needs(changed) == [("expert 'yolo'", "AGPL-3.0")]
    with pytest.raises(LicenceError, match=r"expert 'yolo': what runs it \(strict\) is under AGPL"):
        refuse_unaccepted(changed)
    refuse_unaccepted(changed.model_copy(update={"accept_licences": ("AGPL-3.0",)}))


def test_the_shipped_family_of_ultralytics_is_under_agpl(profile):
    yolo = {"type": "ultralytics", "file": "../models/yolo26x.pt"}
    assert needs(profile(experts={"yolo": yolo})) == [("expert 'yolo'", "AGPL-3.0")]


def test_servers_count_unless_somebody_else_runs_them(profile):
    def with_server(**server: Any) -> Profile:
        vlm = {"type": "vlm", "servers": ["big"], "questions": ["roadwork.yaml"]}
        return profile(experts={"vlm": vlm}, servers={"big": server})

    assert needs(with_server(model="served")) == [("server 'big'", "Llama-4-Community")]
    assert needs(with_server(model="served", base_url="http://10.0.0.5:8000")) == []
    assert needs(with_server(model="../models/of-my-own")) == []


def test_a_judge_is_not_even_built(profile):
    with pytest.raises(LicenceError, match=r"profile 'tried' uses models whose terms"):
        build_judge(profile("gated"))
    assert issubclass(LicenceError, ConfigurationError)


def test_a_catalogue_that_is_not_there_is_an_empty_one(profile, tmp_path):
    named = profile("gated")
    (tmp_path / "models" / "catalogue.yaml").unlink()
    assert needs(named) == []


def test_a_broken_catalogue_is_told_when_a_model_is_looked_up(profile, tmp_path):
    named = profile("gated")
    (tmp_path / "models" / "catalogue.yaml").write_text("models: [")
    with pytest.raises(CatalogueError, match="cannot be read as YAML"):
        refuse_unaccepted(named)


def test_accepting_changes_no_digest(profile):
    assert profile("gated").digest == profile("gated", accept_licences=["SAM-License"]).digest


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")),
    ids=lambda path: path.name,
)
def test_no_shipped_profile_accepts_for_its_operator(path):
    """And none needs to: what binds is commented out."""
    shipped = load_profile(path)
    assert shipped.accept_licences == ()
    refuse_unaccepted(shipped)


def test_detectors_settings_have_the_section_that_is_looked_into():
    assert "depth" in DetectorSettings.model_fields
