"""The tables of the model's card, made from its `figures.json`."""

from __future__ import annotations

from typing import Any

SETS = {
    "drawn": "drawn scenes, never trained on",
    "demo_queries": "the demonstration's queries",
    "held_out_clips": "held-out clips",
    "second_look": "second look",
}


def tables(figures: dict[str, Any]) -> tuple[str, str]:
    """Two Markdown tables: the roadwork question on every set, the narrower ones on drawings."""
    roadwork = [
        "| pictures | generation | n (with roadwork) | accuracy | MCC (95 %) | AUC (95 %) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for key, name in SETS.items():
        for generation, told in figures.get(key, {}).items():
            roadwork.append(
                f"| {name} | {generation} | {told['n']} ({told['positives']}) | "
                f"{told['accuracy']:.3f} | {_with_interval(told, 'mcc')} | "
                f"{_with_interval(told, 'auc')} |"
            )
    narrower = ["| question | generation | n (yes) | AUC (95 %) |", "| --- | --- | --- | --- |"]
    by_generation = figures["narrower_questions"]
    for question in next(iter(by_generation.values())):
        for generation, questions in by_generation.items():
            told = questions[question]
            narrower.append(
                f"| {question} | {generation} | {told['n']} ({told['positives']}) | "
                f"{_with_interval(told, 'auc')} |"
            )
    return "\n".join(roadwork), "\n".join(narrower)


def _with_interval(told: dict[str, Any], key: str) -> str:
    if told.get(key) is None or f"{key}_95" not in told:
        return "unknown"
    low, high = told[f"{key}_95"]
    return f"{told[key]:.2f} ({low:.2f} to {high:.2f})"
