"""
An hour of samples that a PromQL engine may get wrong: counters with resets, gauges with odd values, holes, stale
markers, irregular scrapes, classic and native histograms.
"""

from __future__ import annotations

import numpy as np

from collector.model.histogram import NO_COUNTS, NO_INDEX, HistogramSeries, NativeHistogram
from collector.model.series import ABSENT, METRIC_NAME, STALE, Block, Labels, labels_of

ORIGIN_MS = 1_600_000_000_000
SCRAPES, INTERVAL_MS = 360, 10_000
BOUNDS = ("0.1", "0.5", "1", "2.5", "+Inf")


def labelled(name: str, **labels: str) -> Labels:
    return labels_of({METRIC_NAME: name} | labels)


def blocks(offset_ms: int) -> list[Block]:
    """`offset_ms` is how long after full ten seconds the samples stand."""
    random = np.random.default_rng(20)
    regular = ORIGIN_MS + offset_ms + np.arange(SCRAPES, dtype=np.int64) * INTERVAL_MS
    labels: list[Labels] = []
    rows: list[np.ndarray] = []
    for number in range(8):
        place = {"job": ("api", "web")[number % 2], "instance": f"i{number // 2}", "code": ("200", "500")[number // 4]}
        # Counters start high: Prometheus 3 and 2 extrapolate differently towards a zero that is near.
        counter = 50_000 + np.cumsum(random.poisson(3 * number + 0.3, SCRAPES)).astype(float)
        if number % 3 == 0:
            counter[200:] -= counter[200] - 40_000
        labels.append(labelled("requests_total", **place))
        rows.append(counter)
    for number in range(4):
        place = {"job": ("api", "web")[number % 2], "instance": f"i{number // 2}"}
        gauge = np.round(random.normal(50, 30, SCRAPES), 3)
        if number == 3:
            gauge[100:104], gauge[150], gauge[151] = np.nan, np.inf, -np.inf
        labels.append(labelled("load", **place))
        rows.append(gauge)
        labels.append(labelled("level", **place))
        rows.append(np.repeat(np.round(random.normal(0, 3, SCRAPES // 12)), 12))
        counts = np.cumsum(np.cumsum(random.poisson(2, (len(BOUNDS), SCRAPES)), axis=1), axis=0) + 10_000.0
        for bound, count in zip(BOUNDS, counts, strict=True):
            labels.append(labelled("latency_seconds_bucket", le=bound, **place))
            rows.append(count)
        labels.append(labelled("info", version=f"v{number}", **place))
        rows.append(np.ones(SCRAPES))
    holes = np.stack([np.round(np.cumsum(random.normal(0, 2, SCRAPES)), 3) for _ in range(4)])
    for row, (start, stop) in enumerate(((60, 70), (100, 170), (0, 300))):
        holes[row, start:stop] = ABSENT
    holes[0, 200:340:3] = ABSENT
    holes[3, 50], holes[3, 51:60], holes[3, 120], holes[3, 121:150] = STALE, ABSENT, STALE, ABSENT
    irregular = ORIGIN_MS + offset_ms + np.cumsum(random.integers(3, 90, 90)).astype(np.int64) * 1000
    return [
        Block(tuple(labels), regular, np.array(rows)),
        Block(tuple(labelled("patchy", n=str(row)) for row in range(4)), regular, np.asarray(holes, np.float64)),
        Block(
            (labelled("uneven", kind="gauge"), labelled("uneven", kind="level")),
            irregular,
            np.round(random.normal(0, 5, (2, 90)), 2),
        ),
    ]


def histograms(offset_ms: int) -> list[HistogramSeries]:
    """Counters as native histograms: two schemas, resets, negative buckets, holes."""
    random = np.random.default_rng(21)
    regular = ORIGIN_MS + offset_ms + np.arange(SCRAPES, dtype=np.int64) * INTERVAL_MS
    found = []
    for number in range(4):
        place = {"job": ("api", "web")[number % 2], "instance": f"i{number // 2}"}
        schema, width = (3, 20) if number < 3 else (1, 8)
        positive = np.cumsum(random.poisson(1.5, (SCRAPES, width)), axis=0)
        negative = np.cumsum(random.poisson(0.5, (SCRAPES, 4)), axis=0) if number == 2 else np.zeros((SCRAPES, 0))
        zero = np.cumsum(random.poisson(0.7, SCRAPES))
        start = 200 if number == 1 else 0
        for counts in (positive, negative, zero):
            counts += 900  # far from zero, as the counters above
            if start:
                counts[start:] -= counts[start] - 400
        values = tuple(
            NativeHistogram(
                schema=schema,
                count=float(positive[at].sum() + negative[at].sum() + zero[at]),
                sum=float(np.round(positive[at].sum() * 1.25 - negative[at].sum(), 3)),
                zero_threshold=0.001,
                zero_count=float(zero[at]),
                positive_index=np.flatnonzero(positive[at]).astype(np.int32) - 6,
                positive=positive[at][positive[at] > 0].astype(float),
                negative_index=np.flatnonzero(negative[at]).astype(np.int32) + 1 if number == 2 else NO_INDEX,
                negative=negative[at][negative[at] > 0].astype(float) if number == 2 else NO_COUNTS,
            )
            for at in range(SCRAPES)
        )
        kept = np.ones(SCRAPES, dtype=np.bool_)
        kept[80 : 80 + 20 * number] = False
        inside = np.flatnonzero(kept)
        found.append(
            HistogramSeries(labelled("native", **place), regular[kept], tuple(values[at] for at in inside.tolist()))
        )
    return found
