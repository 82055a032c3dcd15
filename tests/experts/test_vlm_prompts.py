"""Prompt files: those shipped are sound, those with faults are refused by name."""

from __future__ import annotations

import pytest

from natix_miner.errors import ConfigurationError
from natix_miner.experts.vlm.prompt import load_prompt
from natix_miner.training.tiny_vlm.questions import QUESTIONS
from tests.experts.vlm_doubles import CONFIGS

#: The phrases of the zero-shot experts lie beside them and are tested with those.
SHIPPED = sorted(
    path for path in (CONFIGS / "prompts").rglob("*.yaml") if path.name != "zero-shot.yaml"
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_shipped_prompt_is_sound(path):
    prompt = load_prompt(path)
    # Only the prompt of thinking wants more than one word.
    assert "yes or no" in prompt.before or path.stem == "think"
    assert not prompt.invert


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_the_short_prompts_are_the_words_that_the_tiny_model_was_trained_on(name):
    prompt = load_prompt(CONFIGS / "prompts" / f"{name}.yaml")
    assert prompt.before == QUESTIONS[name]
    assert (prompt.system, prompt.after, prompt.invert) == ("", "", False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("before: x\nbefor: y\n", r"bad\.yaml: befor: Extra inputs"),
        ("after: x\n", r"bad\.yaml: before: Field required"),
        ("before: '  '\n", r"bad\.yaml: before: String should match"),
        ("before: x\ninvert: perhaps\n", r"bad\.yaml: invert: Input should be a valid boolean"),
        ("- before\n", r"bad\.yaml is no mapping; it needs `before`"),
        ("", r"bad\.yaml is no mapping"),
        ("before: [\n", r"bad\.yaml cannot be read as YAML"),
    ],
)
def test_a_prompt_with_faults_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_prompt(path)


def test_a_prompt_that_is_not_there_says_where_the_shipped_ones_lie(tmp_path):
    with pytest.raises(ConfigurationError, match=r"gone\.yaml; those shipped lie in"):
        load_prompt(tmp_path / "gone.yaml")
