"""What a running miner tells about itself: the samples of one scrape of its /metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from natix_miner.errors import WatchingError

#: A miner with fifty experts and as many validators shows about 300 kB.
MOST_BYTES = 8 * 2**20
DEFAULT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: its name as it stands there (`natix_queries_total`), its labels, its value."""

    name: str
    labels: Mapping[str, str]
    value: float


class Samples:
    """The samples of one scrape, found by name; a name that is not there has none."""

    def __init__(self, samples: tuple[Sample, ...]) -> None:
        self._by_name: dict[str, list[Sample]] = {}
        for sample in samples:
            self._by_name.setdefault(sample.name, []).append(sample)

    @classmethod
    def of(cls, text: str) -> Samples:
        """The samples of a text in Prometheus' format. Raises WatchingError when it is none."""
        from prometheus_client.parser import text_string_to_metric_families

        try:
            found = tuple(
                Sample(sample.name, sample.labels, float(sample.value))
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            )
        except ValueError as error:
            raise WatchingError(f"what was sent is not in Prometheus' format: {error}") from error
        return cls(found)

    def all(self, name: str) -> Iterator[Sample]:
        """Every sample of this name, whatever its labels."""
        return iter(self._by_name.get(name, ()))

    def one(self, name: str, **labels: str) -> float | None:
        """The value of the sample with these labels among others; None when there is none."""
        return next(
            (
                sample.value
                for sample in self._by_name.get(name, ())
                if labels.items() <= sample.labels.items()
            ),
            None,
        )

    def sums(self, name: str, label: str) -> dict[str, float]:
        """The values of a name, added up by one label."""
        found: dict[str, float] = {}
        for sample in self.all(name):
            key = sample.labels.get(label, "")
            found[key] = found.get(key, 0.0) + sample.value
        return found

    def word(self, name: str, label: str) -> str | None:
        """Of gauges that are 1 for the word that holds and 0 for all others: that word."""
        return next((s.labels.get(label) for s in self.all(name) if s.value == 1.0), None)

    def __bool__(self) -> bool:
        return bool(self._by_name)


def fetch(url: str, seconds: float = DEFAULT_SECONDS) -> Samples:
    """Scrape a miner once; at most `seconds` in every step and MOST_BYTES in all.

    Raises WatchingError when nobody answers there, or not with metrics of a miner.
    """
    import httpx

    held = bytearray()
    try:
        # trust_env: a proxy of the environment has no business between us and our own machine.
        with (
            httpx.Client(timeout=seconds, trust_env=False) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise WatchingError(f"{url} answers with status {response.status_code}")
            for part in response.iter_bytes():
                held += part
                if len(held) > MOST_BYTES:
                    raise WatchingError(f"{url} sends more than {MOST_BYTES >> 20} MB: no miner")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise WatchingError(f"nobody answers at {url} ({why})") from error
    found = Samples.of(held.decode("utf-8", errors="replace"))
    if not any(True for _ in found.all("natix_in_flight")):
        raise WatchingError(f"{url} answers, but not as a miner of this project does")
    return found
