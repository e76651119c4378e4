"""What happened to the service while the drill ran, as series from Prometheus: the report keeps them and draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from remediation.drills.definition import Chart, Definition

BEFORE_S, AFTER_S = 10.0, 5.0  # shown around the drill, so that one sees what it was before
MOST_POINTS = 400  # a chart is 900 pixels wide; more are not seen
MOST_SERIES = 8  # more lines than that nobody tells apart
STEP_S = 1.0  # the shop's telemetry comes once a second


def charts(definition: Definition) -> tuple[Chart, ...]:
    """The standard ones of the drill's service, then the definition's own."""
    job = f'{{job="{definition.service}"}}'
    buckets = f"sum by (le) (rate(http_server_request_duration_seconds_bucket{job}[10s]))"
    errors = (
        f'http_server_request_duration_seconds_count{{job="{definition.service}",http_response_status_code=~"5.."}}'
    )
    arrivals = f"sum(rate(worker_pool_arrivals_total{job}[5s]))"
    capacity = f"sum(worker_pool_size{job} / worker_pool_service_time_seconds{job})"
    standard = (
        Chart(
            title=f"{definition.service}: latency",
            promql=f'label_replace(histogram_quantile(0.99, {buckets}), "line", "p99", "", "") or '
            f'label_replace(histogram_quantile(0.5, {buckets}), "line", "p50", "", "")',
            unit="s",
        ),
        Chart(
            title=f"{definition.service}: load and capacity",
            promql=f'label_replace({arrivals}, "line", "arrivals", "", "") or '
            f'label_replace({capacity}, "line", "capacity", "", "")',
            unit="/s",
        ),
        Chart(
            title=f"{definition.service}: replicas that answer",
            promql=f"sum(up{job}) or vector(0)",
        ),
        Chart(
            title=f"{definition.service}: failed requests",
            promql=f"sum(rate({errors}[10s])) or vector(0)",
            unit="/s",
        ),
    )
    return (*standard, *definition.charts)


def step_s(duration_s: float) -> float:
    return max(STEP_S, math.ceil(duration_s / MOST_POINTS))


def series(body: Any, zero_unix_s: float) -> list[dict[str, Any]]:
    """
    Prometheus's /api/v1/query_range as `{name, points: [[seconds since the injection, value or null]…]}`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: not such an answer.
    """
    found = []
    for each in body["data"]["result"][:MOST_SERIES]:
        points = [[round(float(at) - zero_unix_s, 2), _value(value)] for at, value in each["values"]]
        found.append({"name": _name(each["metric"]), "points": points})
    return found


def _name(labels: Mapping[str, str]) -> str:
    return ", ".join(str(value) for name, value in sorted(labels.items()) if name != "__name__")


def _value(text: Any) -> float | None:
    value = float(text)
    return float(f"{value:.5g}") if math.isfinite(value) else None
