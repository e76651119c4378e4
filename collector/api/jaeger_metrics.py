"""
Jaeger's Service Performance Monitoring: `/api/metrics/{latencies,calls,errors,minstep}`.

Source: jaegerquery/internal/query_parser.go (parseMetricsQueryParams) and metricstore/prometheus (names, help).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import QueryParams

from collector.api.jaeger_performance import Performance, PerformanceSeries
from collector.api.jaeger_query import MAX_MS, span_kind, truth, whole_number
from collector.errors import BadRequestError
from collector.model.telemetry import SpanKind
from collector.storage.traces.red import MAX_STEPS, RedQuery

_NANO_PER_MS = 1_000_000
# Jaeger's (jaegerquery/internal/default_params.go).
_DEFAULT_LOOKBACK_MS = 3_600_000
_DEFAULT_STEP_MS = 5_000
_DEFAULT_RATE_MS = 600_000
MIN_STEP_MS = 1  # Jaeger's over Prometheus
MAX_SERVICES = 100


def metrics_router(performance: Performance) -> APIRouter:
    router = APIRouter(prefix="/api/metrics")

    @router.get("/minstep")
    def minstep() -> JSONResponse:
        return JSONResponse({"data": MIN_STEP_MS, "total": 0, "limit": 0, "offset": 0, "errors": None})

    @router.get("/latencies")
    def latencies(request: Request) -> JSONResponse:
        quantile = _quantile(request.query_params.get("quantile", ""))
        query = _query(request.query_params)
        help_ = f"{quantile:.2f}th quantile latency, grouped by service"
        return _family(query, "service_latencies", help_, performance.latencies_ms(query, quantile))

    @router.get("/calls")
    def calls(request: Request) -> JSONResponse:
        query = _query(request.query_params)
        return _family(query, "service_call_rate", "calls/sec, grouped by service", performance.calls(query))

    @router.get("/errors")
    def errors(request: Request) -> JSONResponse:
        query = _query(request.query_params)
        help_ = "error rate, computed as a fraction of errors/sec over calls/sec, grouped by service"
        return _family(query, "service_error_rate", help_, performance.errors(query))

    return router


def _quantile(text: str) -> float:
    try:
        quantile = float(text)
        if not 0 <= quantile <= 1:
            raise ValueError
    except ValueError:
        raise BadRequestError(f"unable to parse param 'quantile': {text[:64]!r} is not from 0 to 1") from None
    return quantile


def _query(parameters: QueryParams) -> RedQuery:
    services = list(dict.fromkeys(parameters.getlist("service")))
    if not services:
        raise BadRequestError("unable to parse param 'service': please provide at least one service name")
    if len(services) > MAX_SERVICES:
        raise BadRequestError(f"{len(services)} services are over the limit of {MAX_SERVICES}")
    kinds = [span_kind(name) for name in parameters.getlist("spanKind")]
    end = _milliseconds(parameters, "endTs", time.time_ns() // _NANO_PER_MS, low=0)
    lookback = _milliseconds(parameters, "lookback", _DEFAULT_LOOKBACK_MS, low=0)
    step = _milliseconds(parameters, "step", _DEFAULT_STEP_MS, low=MIN_STEP_MS)
    window = _milliseconds(parameters, "ratePer", _DEFAULT_RATE_MS, low=MIN_STEP_MS)
    steps = min(lookback, end) // step + 1
    if steps > MAX_STEPS or window // step > MAX_STEPS:
        raise BadRequestError(
            f"lookback {lookback} ms or ratePer {window} ms has more than {MAX_STEPS} steps of {step} ms"
        )
    return RedQuery(
        services=services,
        kinds=[int(kind) for kind in kinds if kind is not None] or [int(SpanKind.SERVER)],
        start_unix_nano=max(0, end - (steps - 1) * step) * _NANO_PER_MS,
        step_nano=step * _NANO_PER_MS,
        steps=steps,
        # A whole number of steps, at least one.
        window_nano=max(1, round(window / step)) * step * _NANO_PER_MS,
        by_operation=truth("groupByOperation", parameters.get("groupByOperation", "")),
    )


def _milliseconds(parameters: QueryParams, name: str, default: int, *, low: int) -> int:
    text = parameters.get(name, "")
    return whole_number(name, text, low=low, high=MAX_MS) if text else default


def _family(query: RedQuery, name: str, help_: str, found: Sequence[PerformanceSeries]) -> JSONResponse:
    if query.by_operation:
        name = name.replace("service", "service_operation", 1)
        help_ += " & operation"
    metrics = [_metric(series, by_operation=query.by_operation) for series in found]
    return JSONResponse({"name": name, "type": "GAUGE", "help": help_, "metrics": metrics})


def _metric(series: PerformanceSeries, *, by_operation: bool) -> dict[str, Any]:
    labels = [{"name": "service_name", "value": series.service}]
    if by_operation:
        labels.append({"name": "operation", "value": series.operation})
    there = np.isfinite(series.values)
    points = [
        {"gaugeValue": {"doubleValue": value}, "timestamp": _timestamp(at)}
        for at, value in zip(series.times_unix_nano[there].tolist(), series.values[there].tolist(), strict=True)
    ]
    return {"labels": labels, "metricPoints": points}


def _timestamp(unix_nano: int) -> str:
    """RFC 3339 with milliseconds, as protobuf's JSON has a timestamp."""
    moment = datetime.fromtimestamp(unix_nano // 1_000_000 / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
