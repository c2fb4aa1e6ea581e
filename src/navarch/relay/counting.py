"""What a relay counts, and the page that shows it to Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from navarch.plugins.histograms import Durations, histogram, numbers


class Counts:
    """Counters since the start."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.heartbeats: Counter[str] = Counter()
        """By what became of them: ``gathered``, ``passed`` on alone, ``refused``."""
        self.polls_answered = 0
        """Polls that were answered here, with nothing."""
        self.passed: Counter[tuple[str, str]] = Counter()
        """Calls that were passed on, by method and by the code of the answer."""
        self.batches: Counter[str] = Counter()
        """By code; ``ok`` for those that were taken."""
        self.batched = 0
        """Heartbeats of batches that were taken."""
        self.dropped: Counter[str] = Counter()
        """Heartbeats that were not passed on, by reason."""
        self.unknown = 0
        """Nodes of batches that had to register."""
        self.refused: Counter[str] = Counter()
        """Requests that were refused here, by reason."""
        self.batch_seconds = Durations()
        self.passed_seconds = Durations()


def lines(
    counts: Counts, *, nodes: int, waiting: int, waiting_bytes: int, age: float, server: str
) -> Iterator[str]:
    """Write everything in Prometheus' text format.

    `age` is how many seconds ago a batch was taken; `server` is the address that is asked first.
    """
    gauges: tuple[tuple[str, str, float], ...] = (
        ("navarch_relay_nodes", "Nodes that the relay speaks for.", nodes),
        ("navarch_relay_waiting_heartbeats", "Heartbeats that wait for a batch.", waiting),
        ("navarch_relay_waiting_bytes", "Bytes of heartbeats that wait.", waiting_bytes),
        ("navarch_relay_upstream_age_seconds", "Since the last batch that was taken.", age),
    )
    for name, about, value in gauges:
        yield from numbers(name, about, "gauge", [({}, value)])
    yield from numbers(
        "navarch_relay_upstream",
        "The address that is asked first.",
        "gauge",
        [({"server": server}, 1)],
    )
    yield from _counter("navarch_relay_heartbeats_total", "Heartbeats.", "how", counts.heartbeats)
    yield from _counter("navarch_relay_batches_total", "Batches sent.", "code", counts.batches)
    yield from _counter(
        "navarch_relay_dropped_total", "Heartbeats not passed on.", "why", counts.dropped
    )
    yield from _counter(
        "navarch_relay_refused_total", "Requests refused here.", "why", counts.refused
    )
    totals: tuple[tuple[str, str, float], ...] = (
        ("navarch_relay_batched_total", "Heartbeats in batches that were taken.", counts.batched),
        ("navarch_relay_unknown_total", "Nodes that had to register.", counts.unknown),
        ("navarch_relay_polls_answered_total", "Polls answered here.", counts.polls_answered),
    )
    for name, about, value in totals:
        yield from numbers(name, about, "counter", [({}, value)])
    yield from numbers(
        "navarch_relay_passed_total",
        "Calls passed on, by the code of the answer.",
        "counter",
        [({"method": each, "code": code}, n) for (each, code), n in sorted(counts.passed.items())],
    )
    yield from histogram(
        "navarch_relay_batch_seconds", "How long batches took.", [({}, counts.batch_seconds)]
    )
    yield from histogram(
        "navarch_relay_passed_seconds", "How long calls took.", [({}, counts.passed_seconds)]
    )


def _counter(name: str, about: str, label: str, counted: Counter[str]) -> Iterator[str]:
    series = [({label: each}, number) for each, number in sorted(counted.items())]
    return numbers(name, about, "counter", series)
