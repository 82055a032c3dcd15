"""Labelling by people: which queries are worth a person's second, the page that asks, how far
people agree, and labels as files. docs/labelling.md is for those who use it."""

from __future__ import annotations

from natix_miner.lab.labelling.agreement import Comparison, Conflict, PairOfSources, compare_labels
from natix_miner.lab.labelling.csv_labels import ImportedLabels, export_csv, import_csv
from natix_miner.lab.labelling.fiftyone import ExportedPictures, export_fiftyone
from natix_miner.lab.labelling.people import check_name, source_of
from natix_miner.lab.labelling.queue import Choice, Queue, choose
from natix_miner.lab.labelling.session import Session

__all__ = [
    "Choice",
    "Comparison",
    "Conflict",
    "ExportedPictures",
    "ImportedLabels",
    "PairOfSources",
    "Queue",
    "Session",
    "check_name",
    "choose",
    "compare_labels",
    "export_csv",
    "export_fiftyone",
    "import_csv",
    "source_of",
]
