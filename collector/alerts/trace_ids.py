"""
The traces behind an alert: exemplars of the series that its expression reads, named in the annotation `trace_ids`.

An annotation, because Alertmanager's webhook has no other place for it, and every receiver and template sees it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from collector.errors import CollectorError
from collector.model.alert import ALERT_NAME, Alert
from collector.model.series import METRIC_NAME, Exemplar, Labels, Matcher, MatchOp, SeriesSource
from collector.query.promql.syntax import selectors_of

logger = logging.getLogger(__name__)

ANNOTATION = "trace_ids"
MAX_TRACE_IDS = 5  # an annotation is read by people; who wants more asks for the exemplars
# How long before an alert began to fire its exemplars may be: `for` and the windows of most rules.
BEFORE_MS = 5 * 60_000
MAX_WINDOW_MS = 3_600_000  # of an alert that has fired for days, the last hour
MAX_DEPTH = 3  # recording rules that read recording rules
MAX_SELECTORS = 20  # of one expression, with the recording rules that it reads
_TRACE_LABELS = ("trace_id", "traceID", "TraceID", "traceId")  # OpenTelemetry's, and what else is seen
# A histogram's exemplars are on its buckets.
_OF_BUCKETS = ("_count", "_sum")

Recorded = Mapping[str, Sequence[str]]  # expressions of the recording rules, by name


def with_trace_ids(source: SeriesSource, alerts: Sequence[Alert], recorded: Recorded, now_ms: int) -> list[Alert]:
    """
    The alerts, each with the annotation `trace_ids` if there are exemplars of its series: at most MAX_TRACE_IDS ids,
    separated by commas. An alert that has such an annotation keeps it. Blocks, as the source does.

    Args:
        recorded: What recording rules stand for, so that an alert on a recorded series has traces too.
    """
    found: dict[tuple[str, int, int], list[list[tuple[Labels, list[Exemplar]]]]] = {}
    joined = []
    for alert in alerts:
        expr = expression_of(alert)
        if not expr or any(name == ANNOTATION for name, _ in alert.annotations):
            joined.append(alert)
            continue
        end_ms = min(alert.ends_at_ms, now_ms)
        start_ms = max(alert.starts_at_ms - BEFORE_MS, end_ms - MAX_WINDOW_MS)
        key = (expr, start_ms // 60_000, end_ms // 60_000)  # alerts of one rule mostly share one search
        if key not in found:
            found[key] = _search(source, expr, recorded, start_ms, end_ms)
        ids = trace_ids_of(found[key], alert.labels)
        annotations = (*alert.annotations, (ANNOTATION, ",".join(ids))) if ids else alert.annotations
        joined.append(replace(alert, annotations=annotations))
    return joined


def expression_of(alert: Alert) -> str:
    """What its rule evaluates, from the link that goes with the alert; empty: it has none."""
    found = parse_qs(urlsplit(alert.generator_url).query).get("g0.expr")
    return found[0] if found else ""


def trace_ids_of(found: Sequence[Sequence[tuple[Labels, Sequence[Exemplar]]]], labels: Labels) -> list[str]:
    """
    The ids of the exemplars of those series that agree with the alert's labels where both have them.

    Args:
        found: of each selector of the expression, in its order, series with their exemplars. An error ratio names the
            errors first, and so do its traces. Of one selector the largest values, which are the slowest, come first.
    """
    pairs = {name: value for name, value in labels if name != ALERT_NAME}
    ids: dict[str, None] = {}
    for series in found:
        fitting = [
            (exemplar.value, exemplar.timestamp_ms, trace_id)
            for series_labels, exemplars in series
            if all(pairs.get(name, value) == value for name, value in series_labels)
            for exemplar in exemplars
            if (trace_id := _trace_id(exemplar.labels))
        ]
        for _, _, trace_id in sorted(fitting, reverse=True):
            ids[trace_id] = None
            if len(ids) == MAX_TRACE_IDS:
                return list(ids)
    return list(ids)


def _trace_id(labels: Labels) -> str:
    pairs = dict(labels)
    return next((pairs[name] for name in _TRACE_LABELS if pairs.get(name)), "")


def _search(
    source: SeriesSource, expr: str, recorded: Recorded, start_ms: int, end_ms: int
) -> list[list[tuple[Labels, list[Exemplar]]]]:
    try:
        selections = dict.fromkeys(_selections(expr, recorded, MAX_DEPTH))
        return [
            source.exemplars(list(matchers), min_ms=start_ms, max_ms=end_ms)
            for matchers in list(selections)[:MAX_SELECTORS]
        ]
    except CollectorError as error:  # an alert goes out without its traces rather than not at all
        logger.warning("no trace ids for the alerts of %s: %s", expr, error)
        return []


def _selections(expr: str, recorded: Recorded, depth: int) -> Iterator[tuple[Matcher, ...]]:
    for selector in selectors_of(expr):
        matchers = tuple(selector.matchers)
        name = next((one.value for one in matchers if one.name == METRIC_NAME and one.op is MatchOp.EQUAL), "")
        if name in recorded:
            for inner in recorded[name] if depth else ():
                yield from _selections(inner, recorded, depth - 1)
            continue
        yield matchers
        for suffix in _OF_BUCKETS:
            if name.endswith(suffix):
                buckets = Matcher(METRIC_NAME, MatchOp.EQUAL, f"{name.removesuffix(suffix)}_bucket")
                yield tuple(buckets if one.name == METRIC_NAME else one for one in matchers)
