"""What a miner's samples say of it: pure functions from samples to parts of the report.

The names are those of the miner's /metrics. One that an older miner does not have gives None or
nothing, never an error."""

from __future__ import annotations

import math
from dataclasses import replace

from natix_miner.watching.report import (
    ExpertPart,
    LatencyPart,
    MinerPart,
    QueryWindow,
    ServerPart,
)
from natix_miner.watching.samples import Samples


def miner_part(url: str, samples: Samples) -> MinerPart:
    """The process behind the samples."""
    build = next(samples.all("natix_build_info"), None)
    labels = build.labels if build else {}
    ready, in_flight = samples.one("natix_ready"), samples.one("natix_in_flight")
    hour = samples.one("natix_queries_last_hour")
    return MinerPart(
        url=url,
        running=True,
        ready=None if ready is None else ready == 1.0,
        since=samples.one("natix_start_time_seconds"),
        version=labels.get("version"),
        profile=labels.get("profile"),
        digest=labels.get("digest"),
        in_flight=None if in_flight is None else int(in_flight),
        queries_last_hour=None if hour is None else int(hour),
    )


def since_start(samples: Samples) -> QueryWindow | None:
    """The queries since the process began; None where they are not counted."""
    outcomes = samples.sums("natix_queries_total", "outcome")
    late = samples.one("natix_late_total")
    if not outcomes and late is None:
        return None
    return QueryWindow(
        "start",
        queries=int(sum(outcomes.values())),
        answered=int(outcomes.get("answered", 0.0)),
        no_answer=int(outcomes.get("no-answer", 0.0)),
        picture_errors=int(outcomes.get("picture-error", 0.0)),
        late=None if late is None else int(late),
    )


def latency_of(samples: Samples) -> LatencyPart | None:
    """Percentiles from the histogram, as Prometheus' histogram_quantile works them out: linear
    within a bucket; beyond the last bound that bound. None without answers."""
    buckets = _cumulative(samples, "natix_answer_seconds_bucket")
    if not buckets or buckets[-1][1] <= 0:
        return None
    p50, p95, p99 = (_quantile(buckets, q) for q in (0.5, 0.95, 0.99))
    return LatencyPart("metrics", int(buckets[-1][1]), p50, p95, p99)


def _cumulative(samples: Samples, name: str, **labels: str) -> list[tuple[float, float]]:
    """(upper bound, queries up to it) in rising order, added up over all other labels."""
    found: dict[float, float] = {}
    for sample in samples.all(name):
        if labels.items() <= sample.labels.items() and "le" in sample.labels:
            bound = float(sample.labels["le"])
            found[bound] = found.get(bound, 0.0) + sample.value
    return sorted(found.items())


def _quantile(buckets: list[tuple[float, float]], q: float) -> float:
    rank = q * buckets[-1][1]
    low, below = 0.0, 0.0
    for bound, upto in buckets:
        if upto >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / max(upto - below, 1e-12)
        low, below = bound, upto
    return low


def levels_of(samples: Samples) -> dict[str, int]:
    """How often each level was the last that was entered, since the start."""
    return {name: int(count) for name, count in samples.sums("natix_level_total", "level").items()}


def refusals_of(samples: Samples) -> dict[str, int]:
    """Refused requests by reason since the start, the most frequent first."""
    found = samples.sums("natix_refusals_total", "reason")
    return {reason: int(n) for reason, n in sorted(found.items(), key=lambda item: -item[1]) if n}


def losses_of(samples: Samples) -> dict[str, int]:
    """Verdicts that the journal did not take, by reason."""
    found = samples.sums("natix_journal_losses_total", "reason")
    return {reason: int(count) for reason, count in found.items() if count}


def experts_of(samples: Samples) -> tuple[ExpertPart, ...]:
    """The experts as the metrics count them since the start; time is the histogram's median."""
    statuses: dict[str, dict[str, float]] = {}
    for sample in samples.all("natix_expert_total"):
        counts = statuses.setdefault(sample.labels.get("expert", ""), {})
        word = sample.labels.get("status", "")
        counts[word] = counts.get(word, 0.0) + sample.value
    for sample in samples.all("natix_expert_reliability"):
        statuses.setdefault(sample.labels.get("expert", ""), {})
    parts = []
    for name, counts in statuses.items():
        asked = sum(counts.values())
        shares = {w: n / asked for w, n in sorted(counts.items(), key=lambda i: -i[1]) if n}
        buckets = _cumulative(samples, "natix_expert_seconds_bucket", expert=name)
        counted = bool(buckets) and buckets[-1][1] > 0
        part = ExpertPart(
            name, int(asked), shares, seconds=_quantile(buckets, 0.5) if counted else None
        )
        parts.append(standing_of(part, samples))
    return tuple(parts)


def standing_of(part: ExpertPart, samples: Samples) -> ExpertPart:
    """An expert with how it stands against the fit now, which only the miner knows."""
    drifted = samples.one("natix_expert_drifted", expert=part.name)
    breaker = samples.one("natix_breaker_open", expert=part.name)
    return replace(
        part,
        agreement=samples.one("natix_expert_agreement", expert=part.name),
        missing=samples.one("natix_expert_missing_share", expert=part.name),
        reliability=samples.one("natix_expert_reliability", expert=part.name),
        drifted=None if drifted is None else drifted == 1.0,
        breaker_open=None if breaker is None else breaker > 0.0,
    )


def servers_of(samples: Samples) -> tuple[ServerPart, ...]:
    """The servers of vision-language models."""
    states = {
        s.labels.get("server"): s.labels.get("state")
        for s in samples.all("natix_server_state")
        if s.value == 1.0
    }
    requests: dict[str, dict[str, int]] = {}
    for sample in samples.all("natix_server_requests_total"):
        of = requests.setdefault(sample.labels.get("server", ""), {})
        of[sample.labels.get("outcome", "")] = int(sample.value)
    parts = []
    for sample in samples.all("natix_server_up"):
        name = sample.labels.get("server", "")
        restarts = samples.one("natix_server_restarts_total", server=name)
        parts.append(
            ServerPart(
                name=name,
                up=sample.value == 1.0,
                state=states.get(name),
                restarts=None if restarts is None else int(restarts),
                requests=requests.get(name, {}),
            )
        )
    return tuple(parts)
