"""
targets, targets/metadata, scrape_pools and alertmanagers.

These handlers run in the event loop, where scrapes change what they read.

Source: prometheus/web/api/v1/api.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collector.api.prometheus_encoding import plain
from collector.api.prometheus_parameters import Parameters, invalid
from collector.api.prometheus_response import Reply
from collector.model.series import Matcher, MetricMetadata
from collector.query.errors import ParseError
from collector.query.promql.syntax import matchers_of

Target = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSource:
    """What is scraped, and where alerts go."""

    # Each as Prometheus's API writes one (`scrapePool`, `scrapeUrl`, `labels`, `health`, …), by pool and URL.
    active: Callable[[], Sequence[Target]]
    dropped: Callable[[], Sequence[Target]] = list  # by relabelling: `discoveredLabels`, `scrapePool`
    pools: Callable[[], Iterable[str]] | None = None  # None: those of the targets
    # (labels of an active target, what it says of one of its metric families)
    metadata: Callable[[], Iterable[tuple[Mapping[str, str], MetricMetadata]]] = list
    alertmanagers: Callable[[], Sequence[str]] = list  # URLs that alerts are posted to


class TargetsApi:
    def __init__(self, source: TargetSource) -> None:
        self._source = source

    def targets(self, parameters: Parameters) -> Reply:
        state = parameters.text("state").lower()
        pool = parameters.text("scrapePool")
        active: list[Target] = []
        if state in {"", "any", "active"}:
            active = [one for one in self._source.active() if not pool or one.get("scrapePool") == pool]
        dropped: list[Target] = []
        counts: dict[str, int] | None = None
        if state in {"", "any", "dropped"}:
            dropped = [one for one in self._source.dropped() if not pool or one.get("scrapePool") == pool]
            counts = {name: 0 for name in self._pools() if not pool or name == pool}
            counts |= Counter(one["scrapePool"] for one in dropped if "scrapePool" in one)
        answer = {"activeTargets": active, "droppedTargets": dropped, "droppedTargetCounts": counts}
        return Reply([plain(answer)])

    def scrape_pools(self, _parameters: Parameters) -> Reply:
        return Reply([plain({"scrapePools": self._pools()})])

    def _pools(self) -> list[str]:
        if self._source.pools is not None:
            return sorted(self._source.pools())
        return sorted({one["scrapePool"] for one in self._source.active() if "scrapePool" in one})

    def target_metadata(self, parameters: Parameters) -> Reply:
        limit = parameters.number("limit")
        matchers = _target_matchers(parameters.text("match_target"))
        metric = parameters.text("metric")
        found: list[dict[str, Any]] = []
        for labels, one in self._source.metadata():
            if limit is not None and 0 <= limit <= len(found):
                break
            if (metric and one.name != metric) or not all(m.matches(labels.get(m.name, "")) for m in matchers):
                continue
            named = {} if metric else {"metric": one.name}
            found.append({"target": dict(labels), **named, "type": one.kind, "help": one.help, "unit": one.unit})
        return Reply([plain(found)])

    def alertmanagers(self, _parameters: Parameters) -> Reply:
        active = [{"url": url} for url in self._source.alertmanagers()]
        return Reply([plain({"activeAlertmanagers": active, "droppedAlertmanagers": []})])


def _target_matchers(text: str) -> tuple[Matcher, ...]:
    try:
        return matchers_of(text) if text else ()
    except ParseError as error:
        raise invalid("match_target", error) from error
