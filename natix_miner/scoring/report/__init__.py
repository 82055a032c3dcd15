"""The report of a run: one HTML page that stands alone."""

from __future__ import annotations

from natix_miner.scoring.report.experts import ExpertFigures, ExpertPanel
from natix_miner.scoring.report.page import render_report, write_report

__all__ = ["ExpertFigures", "ExpertPanel", "render_report", "write_report"]
