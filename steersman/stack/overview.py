"""What the stack is doing now, asked of its parts over their APIs; what does not answer is None, never invented."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import httpx

from steersman.stack.settings import Urls

TIMEOUT_S = 2.0  # a view that is refreshed every second or two need not wait longer
RATE = "job:http_server_requests:rate10s"
P50 = "job:http_server_request_duration_seconds:p50_10s"
P99 = "job:http_server_request_duration_seconds:p99_10s"
RUNNING_STATES = ("planning", "acting", "verifying", "resolved_pending", "scaling_in")
LISTED_REMEDIATIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    services: list[dict[str, Any]] | None  # as the orchestrator's API shows them
    processes: list[dict[str, Any]] | None
    rates: dict[str, float] | None  # requests a second, by service
    p50_s: dict[str, float] | None
    p99_s: dict[str, float] | None
    alerts: list[dict[str, Any]] | None  # the firing ones
    remediations: list[dict[str, Any]] | None  # the running ones


async def take(client: httpx.AsyncClient, urls: Urls) -> Overview:
    services, processes, rates, p50_s, p99_s, alerts, remediations = await asyncio.gather(
        _json(client, f"{urls.orchestrator}/api/v1/services"),
        _json(client, f"{urls.orchestrator}/api/v1/processes"),
        _by_job(client, urls, RATE),
        _by_job(client, urls, P50),
        _by_job(client, urls, P99),
        _json(client, f"{urls.prometheus}/api/v1/alerts"),
        _json(client, f"{urls.remediation}/api/v1/remediations", limit=str(LISTED_REMEDIATIONS)),
    )
    return Overview(
        services=_list(services, "services"),
        processes=_list(processes, "processes"),
        rates=rates,
        p50_s=p50_s,
        p99_s=p99_s,
        alerts=_where(_list(alerts, "data", "alerts"), ("firing",)),
        remediations=_where(_list(remediations, "remediations"), RUNNING_STATES),
    )


async def _json(client: httpx.AsyncClient, url: str, **parameters: str) -> Any:
    try:
        answer = await client.get(url, params=parameters, timeout=TIMEOUT_S)
        return answer.json() if answer.is_success else None
    except (httpx.HTTPError, ValueError):
        return None


async def _by_job(client: httpx.AsyncClient, urls: Urls, query: str) -> dict[str, float] | None:
    result = _list(await _json(client, f"{urls.prometheus}/api/v1/query", query=query), "data", "result")
    if result is None:
        return None
    try:
        values = {str(entry["metric"].get("job", "")): float(entry["value"][1]) for entry in result}
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return {job: value for job, value in values.items() if not math.isnan(value)}


def _list(answer: Any, *path: str) -> list[dict[str, Any]] | None:
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer if isinstance(answer, list) else None


def _where(entries: list[dict[str, Any]] | None, states: tuple[str, ...]) -> list[dict[str, Any]] | None:
    return None if entries is None else [entry for entry in entries if entry.get("state") in states]
