"""The four questions that the tiny model is taught, and whose truth a drawn scene tells.

The texts are those of `configs/prompts/`: a model this small knows these words and no others.
"""

from __future__ import annotations

QUESTIONS = {
    "roadwork": "Is there roadwork in this street picture? Answer yes or no.",
    "cones": "Are there traffic cones, drums or barriers in this street picture? Answer yes or no.",
    "workers": "Are there road workers or construction machines in this street picture? "
    "Answer yes or no.",
    "sign": "Is there a temporary roadwork sign in this street picture? Answer yes or no.",
}
NAMES = tuple(QUESTIONS)
#: What the drawing calls the things that each of the narrower questions asks for.
KINDS = {
    "cones": frozenset({"cone", "drum", "tube", "panel", "barricade", "barrier", "fence"}),
    "workers": frozenset({"worker", "excavator", "loader", "roller", "work-truck"}),
    "sign": frozenset({"work-sign", "arrow-board", "message-board"}),
}
