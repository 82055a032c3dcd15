"""Fits the rule by which a detector's boxes become a probability.

    .venv/bin/python scripts/fit_boxes.py --samples FILE.jsonl --date 2026-11-21 --out RULE.json
    .venv/bin/python scripts/fit_boxes.py --journal JOURNAL --expert NAME --vocabulary NAME \
        --date 2026-11-21 --out RULE.json [--write-samples FILE.jsonl]

A line of samples is one labelled picture, as in natix_miner/experts/detection/samples.py. Of a
journal the labelled queries are taken, each picture once, with the objects that the expert's trace
shows: those that weighed most under the rule in force, eight at most. The rule given by --rule is
where the fit starts and what it stays near. docs/detection.md tells more.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from natix_miner.cascade.trace import ExpertTrace, PictureTrace
from natix_miner.errors import NatixMinerError, PictureError
from natix_miner.experts.detection.detections import unworded
from natix_miner.experts.detection.fitting import FitOptions, fitted_rule
from natix_miner.experts.detection.rule import Box, Found, load_rule, proper_of
from natix_miner.experts.detection.samples import Sample, read_samples, write_samples
from natix_miner.experts.detection.vocabulary import Vocabulary, vocabulary_named
from natix_miner.images import decode_picture
from natix_miner.journal import Filter, Journal, JournalEntry
from natix_miner.sections import PictureLimits

SHIPPED = Path(__file__).parents[1] / "models" / "detection" / "rule.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, write and tell."""
    chosen = _options(arguments)
    try:
        by_hand = load_rule(chosen.rule)
        if chosen.samples is not None:
            samples = read_samples(chosen.samples)
        else:
            meaning = vocabulary_named(chosen.vocabulary)
            with Journal(chosen.journal) as journal:
                samples, left_out = samples_of_journal(journal, chosen.expert, meaning)
            for why, count in sorted(left_out.items()):
                print(f"left out: {count} {why}")
        options = FitOptions(least=chosen.least, priors=chosen.priors, folds=chosen.folds)
        rule = fitted_rule(samples, by_hand, chosen.date, options)
    except NatixMinerError as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.write_samples is not None:
        write_samples(samples, chosen.write_samples)
    chosen.out.write_text(rule.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for kind, weight in rule.weights.items():
        print(f"{kind:14} {by_hand.weights[kind]:.3f} -> {weight:.3f}")
    for key in ("leak", "slope", "intercept"):
        print(f"{key:14} {getattr(by_hand, key):.3f} -> {getattr(rule, key):.3f}")
    print(" ".join(f"{key} {value}" for key, value in rule.metrics.items()))
    return 0


def samples_of_journal(
    journal: Journal, expert: str, meaning: Vocabulary
) -> tuple[list[Sample], Counter[str]]:
    """What a detector said of the labelled queries, each picture once, the newest trace of it; and
    how many entries were left out, by the reason."""
    found: dict[str, Sample] = {}
    left_out: Counter[str] = Counter()
    for entry in journal.entries(Filter(labelled=True), newest_first=True):
        if entry.sha256 in found or entry.label is None:
            left_out["of a picture that is in already"] += 1
            continue
        try:
            trace = entry.read_trace()
        except ValueError:
            left_out["with a trace of another format"] += 1
            continue
        said = _said(trace.levels, expert)
        proper = _proper(entry, trace.picture)
        if said is None:
            left_out[f"without an opinion of {expert!r}"] += 1
        elif proper is None:
            left_out["with padding whose place is not known, the picture was not kept"] += 1
        else:
            objects = _objects(said, proper, meaning)
            found[entry.sha256] = Sample(entry.label, objects, group=entry.sha256)
    return list(found.values()), left_out


def _said(levels: Sequence, expert: str) -> ExpertTrace | None:
    for level in levels:
        for each in level.experts:
            if each.name == expert and each.status == "ok":
                return each
    return None


def _objects(said: ExpertTrace, proper: Box, meaning: Vocabulary) -> tuple[Found, ...]:
    objects = []
    for evidence in said.evidence:
        label, plausible = unworded(evidence.what)
        kind = meaning.class_of(label)
        if kind is not None and evidence.box is not None:
            score = min(1.0, max(0.0, evidence.score))
            objects.append(Found.within(proper, evidence.box, kind, score, plausible))
    return tuple(objects)


def _proper(entry: JournalEntry, picture: PictureTrace | None) -> Box | None:
    """The picture proper in the frame; the trace tells how much padding there is, the picture where
    it lies."""
    if picture is None:
        return None
    if picture.padding_share <= 0.0:
        return (0.0, 0.0, float(picture.width), float(picture.height))
    content = entry.picture()
    if content is None:
        return None
    try:
        frame = decode_picture(content, PictureLimits(formats=("JPEG", "PNG", "WEBP")))
    except PictureError:
        return None
    left, top, right, bottom = proper_of(frame)
    wide, high = picture.width / frame.width, picture.height / frame.height
    return (left * wide, top * high, right * wide, bottom * high)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--samples", type=Path, help="JSON lines, one labelled picture each")
    source.add_argument("--journal", type=Path, help="a journal with labels")
    parser.add_argument("--expert", help="the detector's name in the journal's traces")
    parser.add_argument("--vocabulary", help="what its labels mean, by name")
    parser.add_argument("--rule", type=Path, default=SHIPPED, help="where the fit starts")
    parser.add_argument("--out", type=Path, required=True, help="rule file to write")
    parser.add_argument("--date", required=True, help="the day of the fit, written into the file")
    parser.add_argument("--least", type=int, default=20, help="pictures a class needs to move")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument(
        "--priors", action="store_true", help="fit the factors of area and position too"
    )
    parser.add_argument("--write-samples", type=Path, help="keep the samples of a journal here")
    chosen = parser.parse_args(arguments)
    if chosen.journal is not None and not (chosen.expert and chosen.vocabulary):
        parser.error("--journal needs --expert and --vocabulary")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
