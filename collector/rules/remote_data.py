"""What a running Prometheus or collector knows of its series, for lint."""

from __future__ import annotations

import numpy as np

from collector.model.text import quote
from collector.rules.remote import Remote

# Long enough for four samples of the slowest scrapes there are (one a minute), short enough to be one small answer.
WINDOW_MS = 300_000
MIN_SAMPLES = 4  # three distances, whose median no single lost scrape changes


class RemoteData:
    """
    The `lint.Data` of a peer. Every method may raise the errors of `Remote`.

    Args:
        interval_ms: How far apart samples are, if the caller knows better than the samples themselves.
    """

    def __init__(self, remote: Remote, *, now_ms: int, interval_ms: int | None = None) -> None:
        self._remote = remote
        self._now_ms = now_ms
        self._interval_ms = interval_ms

    def metric_names(self) -> set[str]:
        return self._remote.label_values("__name__")

    def label_names(self, metric: str) -> set[str]:
        return self._remote.label_names(_named(metric))

    def label_values(self, metric: str, label: str) -> set[str]:
        return self._remote.label_values(label, _named(metric))

    def interval_ms(self, metric: str) -> int | None:
        """The median distance of the samples of one series that has most of them now."""
        if self._interval_ms is not None:
            return self._interval_ms
        selector = _named(metric)
        fullest = self._remote.instant(f"topk(1, count_over_time({selector}[{WINDOW_MS}ms]))", self._now_ms)
        if not fullest or fullest[0][1] < MIN_SAMPLES:
            return None
        matchers = ", ".join(f"{name}={quote(value)}" for name, value in (("__name__", metric), *fullest[0][0]))
        found = self._remote.samples(f"{{{matchers}}}", min_ms=self._now_ms - WINDOW_MS, max_ms=self._now_ms)
        times = next((one.timestamps_ms for one in found if len(one.timestamps_ms) >= MIN_SAMPLES), None)
        return None if times is None else round(float(np.median(np.diff(times))))


def _named(metric: str) -> str:
    return f"{{__name__={quote(metric)}}}"
