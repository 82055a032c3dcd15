"""The demonstration profile: tiny models of every family, each with an opinion on one picture."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import pytest

from natix_miner.assembly import build_judge
from natix_miner.experts.family import families
from natix_miner.profile import load_profile
from natix_miner.query import Query

pytest.importorskip("torch")
pytest.importorskip("transformers")
if importlib.util.find_spec("ultralytics") is None:  # imported only as the package imports it
    pytest.skip("needs ultralytics", allow_module_level=True)

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "natix_miner" / "demo" / "queries" / "full-frame-00.jpg"
#: Not in the demonstration: what is shipped has profiles of its own, servers are no tiny models.
ELSEWHERE = {"embedded-network", "colour-shape", "vlm", "vlm-judge"}


def test_every_family_has_an_opinion_on_a_picture(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    sys.modules.pop("make_tiny_models", None)
    import make_tiny_models

    profile = load_profile(make_tiny_models.write(tmp_path))
    assert {s.type for s in profile.experts.values()} == set(families()) - ELSEWHERE

    async def judged():
        judge = build_judge(profile)
        await judge.start()
        try:
            query = Query.of(PICTURE.read_bytes(), source="test", seconds=60.0)
            views = {e.name: e.views for e in judge.experts}
            return await judge.judge(query), views
        finally:
            await judge.close()

    verdict, views = asyncio.run(judged())
    (level,) = verdict.trace.levels
    assert {expert.status for expert in level.experts} == {"ok"}
    assert {expert.name for expert in level.experts} == set(views)
    picture = verdict.trace.picture
    boxes = [seen.box for e in level.experts for seen in e.evidence if seen.box is not None]
    assert len(boxes) > 10
    for left, top, right, bottom in boxes:
        assert -1 <= left < right <= picture.width + 1
        assert -1 <= top < bottom <= picture.height + 1
    assert level.ms >= max(expert.ms for expert in level.experts) - 1.0
    assert 0.0 < verdict.probability < 1.0
