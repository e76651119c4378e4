"""
targets, targets/metadata, scrape_pools and alertmanagers.

These handlers run in the event loop, where scrapes change what they read.

Source: prometheus/web/api/v1/api.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collector.api.prometheus_encoding import plain
from collector.api.prometheus_parameters import Parameters, invalid
from collector.api.prometheus_response import Reply
from collector.model.series import Matcher
from collector.query.errors import ParseError
from collector.query.promql.syntax import matchers_of

Target = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSource:
    """What is scraped, and where alerts go."""

    # Each as Prometheus's API writes one (`scrapePool`, `scrapeUrl`, `labels`, `health`, …), by pool and URL.
    active: Callable[[], Sequence[Target]]
    # What relabelling dropped (`discoveredLabels`, `scrapePool`), and how many in each pool.
    dropped: Callable[[], tuple[Sequence[Target], Mapping[str, int]]] = lambda: ((), {})
    pools: Callable[[], Iterable[str]] = list
    # What active targets say of their metric families: `target` (its labels), `metric`, `type`, `help`, `unit`.
    metadata: Callable[[], Iterable[Mapping[str, Any]]] = list
    alertmanagers: Callable[[], Sequence[str]] = list  # URLs that alerts are posted to


class TargetsApi:
    def __init__(self, source: TargetSource) -> None:
        self._source = source

    def targets(self, parameters: Parameters) -> Reply:
        state, pool = parameters.text("state").lower(), parameters.text("scrapePool")
        active: list[Target] = []
        if state in {"", "any", "active"}:
            active = [one for one in self._source.active() if not pool or one.get("scrapePool") == pool]
        dropped: list[Target] = []
        counts: dict[str, int] | None = None
        if state in {"", "any", "dropped"}:
            found, number = self._source.dropped()
            dropped = [one for one in found if not pool or one.get("scrapePool") == pool]
            counts = {name: count for name, count in number.items() if not pool or name == pool}
        answer = {"activeTargets": active, "droppedTargets": dropped, "droppedTargetCounts": counts}
        return Reply([plain(answer)])

    def scrape_pools(self, _parameters: Parameters) -> Reply:
        return Reply([plain({"scrapePools": sorted(self._source.pools())})])

    def target_metadata(self, parameters: Parameters) -> Reply:
        limit = parameters.number("limit")
        matchers = _target_matchers(parameters.text("match_target"))
        metric = parameters.text("metric")
        found: list[Mapping[str, Any]] = []
        for one in self._source.metadata():
            if limit is not None and 0 <= limit <= len(found):
                break
            labels = one["target"]
            if (metric and one["metric"] != metric) or not all(m.matches(labels.get(m.name, "")) for m in matchers):
                continue
            found.append({key: value for key, value in one.items() if key != "metric" or not metric})
        return Reply([plain(found)])

    def alertmanagers(self, _parameters: Parameters) -> Reply:
        active = [{"url": url} for url in self._source.alertmanagers()]
        return Reply([plain({"activeAlertmanagers": active, "droppedAlertmanagers": []})])


def _target_matchers(text: str) -> tuple[Matcher, ...]:
    try:
        return matchers_of(text) if text else ()
    except ParseError as error:
        raise invalid("match_target", error) from error
