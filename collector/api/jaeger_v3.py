"""
Jaeger's query API v3, as the gateway of its gRPC service answers it.

Source: jaegerquery/internal/apiv3 (http_gateway.go, summaries.go, capabilities.go); its reader: jaeger-ui/src/api/v3.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from collector.api.jaeger_json import kind_name
from collector.api.jaeger_otlp import otlp_json
from collector.api.jaeger_query import span_kind
from collector.api.jaeger_v3_query import (
    check_trace_parameters,
    one_of,
    parse_time_range,
    parse_v3_search,
    path_trace_id,
)
from collector.errors import BadRequestError
from collector.model.ids import trace_id_hex
from collector.model.telemetry import Trace
from collector.storage.traces.reader import TraceReader
from collector.storage.traces.search import cursor_text
from collector.storage.traces.summaries import TraceSummary
from collector.storage.traces.tag_search import matching_spans

PREFIX = "/api/v3"


def v3_router(reader: TraceReader) -> APIRouter:
    router = APIRouter(prefix=PREFIX)

    @router.get("/services")
    def services() -> JSONResponse:
        return JSONResponse({"services": reader.services()})

    @router.get("/operations")
    def operations(request: Request) -> JSONResponse:
        parameters = dict(request.query_params)
        kind = span_kind(one_of(parameters, "spanKind", "span_kind")[1])
        found = reader.operations(parameters.get("service", ""), kind=kind)
        # An unspecified kind is shown as internal (http_gateway.go, getOperations).
        return JSONResponse(
            {"operations": [{"name": item.name, "spanKind": kind_name(item.kind) or "internal"} for item in found]}
        )

    @router.get("/traces/{text:path}")
    def trace(request: Request, text: str) -> JSONResponse:
        found_id = path_trace_id(text)
        check_trace_parameters(request.query_params)
        found = reader.trace(found_id)
        return _traces([found] if found else [])

    @router.get("/traces")
    def traces(request: Request) -> JSONResponse:
        return _traces(reader.find(parse_v3_search(request.query_params).query))

    @router.get("/trace-summaries")
    def trace_summaries(request: Request) -> JSONResponse:
        paged = parse_v3_search(request.query_params)
        query = paged.query
        found, page = reader.find_summaries(matching_spans(query), query.within, limit=query.limit, after=paged.after)
        answer: dict[str, Any] = {"summaries": [summary_json(summary) for summary in found]}
        if page.more:
            answer["nextPageToken"] = cursor_text(page.positions[-1], query.within)
        return JSONResponse(answer)

    @router.get("/dependencies")
    def dependencies(request: Request) -> JSONResponse:
        within = parse_time_range(request.query_params, ("startTime", "start_time"), ("endTime", "end_time"))
        if within.start_unix_nano == within.end_unix_nano:
            raise BadRequestError("malformed parameter endTime: it is not after startTime")
        found = reader.dependencies(start_unix_nano=within.start_unix_nano, end_unix_nano=within.end_unix_nano)
        return JSONResponse(
            {
                "dependencies": [
                    {"parent": link.parent, "child": link.child, "callCount": str(link.call_count)} for link in found
                ]
            }
        )

    @router.get("/capabilities")
    def capabilities() -> JSONResponse:
        return JSONResponse({"search": {"withoutServiceName": True, "sameSpanConjunction": True, "paginated": True}})

    return router


def summary_json(summary: TraceSummary) -> dict[str, Any]:
    """Nanoseconds as decimal strings, counts as numbers: a field of another type and Jaeger's page shows nothing."""
    return {
        "traceId": trace_id_hex(summary.trace_id),
        "rootServiceName": summary.root_service,
        "rootOperationName": summary.root_name,
        "minStartTimeUnixNano": str(summary.start_unix_nano),
        "maxEndTimeUnixNano": str(summary.end_unix_nano),
        "spanCount": summary.spans,
        "errorSpanCount": summary.errors,
        "orphanSpanCount": summary.orphans,
        "services": [
            {"name": service.name, "spanCount": service.spans, "errorSpanCount": service.errors}
            for service in summary.services
        ],
    }


def _traces(found: list[Trace]) -> JSONResponse:
    return JSONResponse({"result": otlp_json(found)}) if found else v3_error(404, "No traces found")


def v3_error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"httpCode": status, "message": message}}, status_code=status)
