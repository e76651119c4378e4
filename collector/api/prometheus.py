"""
Prometheus's HTTP API: queries, what there is to query, and what is scraped.

Source: prometheus/web/api/v1/api.go. Rules and alerts are in `rules`, what the process says of itself in `status`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter

from collector.api.prometheus_lookup import LookupApi
from collector.api.prometheus_query import QueryApi
from collector.api.prometheus_response import Handler, endpoint
from collector.api.prometheus_targets import Target, TargetsApi, TargetSource
from collector.model.series import SeriesSource
from collector.query.promql.engine import Engine

QUERY_THREADS = 4  # NumPy frees the interpreter in its loops, so a few run side by side; more only take memory
LOOKUP_THREADS = 2  # apart from queries: a page's lists of names must not wait for somebody's slow query


def prometheus_router(
    *, engine: Engine, source: SeriesSource, targets: Callable[[], Sequence[Target]] | TargetSource
) -> APIRouter:
    """
    The routes under /api/v1.

    Args:
        targets: What is scraped; a function alone gives the active targets.
    """
    router = APIRouter()
    queries = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="promql")
    lookups = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")

    def serve(threads: ThreadPoolExecutor | None, handlers: Mapping[str, Handler], *methods: str) -> None:
        for path, handler in handlers.items():
            router.add_route(f"/api/v1/{path}", endpoint(threads, handler), methods=[*methods, "OPTIONS"])

    query, lookup = QueryApi(engine, source), LookupApi(source)
    serve(queries, {"query": query.query, "query_range": query.query_range}, "GET", "POST")
    answered_quickly = {
        "query_exemplars": query.query_exemplars,
        "format_query": query.format_query,
        "parse_query": query.parse_query,
        "labels": lookup.labels,
        "series": lookup.series,
    }
    serve(lookups, answered_quickly, "GET", "POST")
    serve(lookups, {"label/{name}/values": lookup.label_values, "metadata": lookup.metadata}, "GET")
    scraped = TargetsApi(targets if isinstance(targets, TargetSource) else TargetSource(active=targets))
    handlers = {
        "targets": scraped.targets,
        "targets/metadata": scraped.target_metadata,
        "scrape_pools": scraped.scrape_pools,
        "alertmanagers": scraped.alertmanagers,
    }
    serve(None, handlers, "GET")
    return router
