"""
How fast a scraped page becomes samples: the collector's parser, on its first sight of a page and on later ones, beside
prometheus_client's.

    python -m bench.exposition
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed_text

from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_session import ScrapeSession
from collector.receivers.scrape_target import Target, target_of

GAUGES, HISTOGRAMS, PAGES = 5_000, 312, 6  # 10,304 samples a page
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30)


def pages(generate: Callable[[CollectorRegistry], bytes]) -> list[str]:
    """Of one endpoint over time: every gauge has another value each time, every third histogram another observation."""
    registry = CollectorRegistry()
    gauge = Gauge("some_gauge_of_things", "Things.", ["code", "handler", "replica"], registry=registry)
    histogram = Histogram("latency_seconds", "Latency.", ["route"], registry=registry, buckets=BOUNDS)
    found = []
    for page in range(PAGES):
        for number in range(GAUGES):
            labels = ("200", f"/api/v1/thing/{number % 50}", f"replica-{number}")
            gauge.labels(*labels).set(random.random() * 1e6)
        for number in range(0, HISTOGRAMS, 1 if page == 0 else 3):
            trace = {"trace_id": f"{random.getrandbits(128):032x}"}
            histogram.labels(f"r{number}").observe(random.random() * 10, trace)
        found.append(generate(registry).decode())
    return found


def seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(name: str, texts: list[str], reference: Callable[[str], Iterable[Any]], *, openmetrics: bool) -> None:
    config = ScrapeConfig(job_name="bench")
    target = target_of(config, "127.0.0.1:1", {})
    assert isinstance(target, Target)
    session = ScrapeSession(config, target)
    counts: list[int] = []

    def scrape(at_ms: int, text: str) -> None:
        exposition = session.parser.parse(text, openmetrics=openmetrics)
        counts.append(exposition.scraped)
        session.succeeded(exposition, timestamp_ms=at_ms, duration_s=0.1)

    times = [seconds(partial(scrape, at, text)) for at, text in enumerate(texts, 1)]
    theirs = seconds(lambda: [family.samples for family in reference(texts[-1])])
    count, later = counts[-1], min(times[1:])
    print(
        f"{name}: {count} samples, {len(texts[-1]) / 1e6:.2f} MB; first page {count / times[0]:,.0f} samples/s, "
        f"later ones {count / later:,.0f}/s ({later * 1000:.1f} ms), prometheus_client {count / theirs:,.0f}/s: "
        f"{theirs / times[0]:.1f} and {theirs / later:.0f} times as fast"
    )


def main() -> None:
    random.seed(20)
    measure("text", pages(generate_latest), parsed_text, openmetrics=False)
    measure("OpenMetrics with exemplars", pages(generate_openmetrics), parsed_openmetrics, openmetrics=True)


if __name__ == "__main__":
    main()
