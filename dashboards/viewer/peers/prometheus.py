"""Any Prometheus HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from dashboards.errors import PeerError
from dashboards.viewer.grafana.timerange import Span

TIMEOUT_S = 15.0
CONCURRENT = 4  # queries at once, of all pages: the engine behind has few cores, and the first answers come sooner


@dataclass(frozen=True, slots=True)
class Series:
    labels: Mapping[str, str]
    points: list[tuple[float, float]]  # Unix seconds and value, in order


@dataclass(frozen=True, slots=True)
class Exemplar:
    at: float  # Unix seconds
    value: float
    trace_id: str
    labels: Mapping[str, str]  # the series'


class Prometheus:
    """Every method raises PeerError with Prometheus's own words."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self._turns = asyncio.Semaphore(CONCURRENT)

    async def query_range(self, expr: str, span: Span, step: float, *, whole_steps: bool = True) -> list[Series]:
        """
        Args:
            whole_steps: Samples stand at whole multiples of `step`, so that a chart does not dance as time goes on;
                else the last one stands at the end of `span`, so that the newest number is as new as it can be.
        """
        if whole_steps:
            start, end = span.start // step * step, span.end // step * step
        else:
            start, end = span.end - span.seconds // step * step, span.end
        parameters = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return _series(await self._ask("query_range", parameters))

    async def query(self, expr: str, at: float) -> list[Series]:
        return _series(await self._ask("query", {"query": expr, "time": f"{at:.3f}"}))

    async def exemplars(self, expr: str, span: Span) -> list[Exemplar]:
        parameters = {"query": expr, "start": f"{span.start:.3f}", "end": f"{span.end:.3f}"}
        return [
            Exemplar(float(one["timestamp"]), float(one["value"]), trace_id, entry.get("seriesLabels", {}))
            for entry in await self._ask("query_exemplars", parameters)
            for one in entry.get("exemplars", [])
            if (trace_id := one.get("labels", {}).get("trace_id") or one.get("labels", {}).get("traceID"))
        ]

    async def label_values(self, label: str, selector: str, span: Span) -> list[str]:
        parameters: dict[str, str] = {"start": f"{span.start:.0f}", "end": f"{span.end:.0f}"}
        if selector:
            parameters["match[]"] = selector
        return [str(value) for value in await self._ask(f"label/{label}/values", parameters)]

    async def label_names(self, span: Span) -> list[str]:
        return [str(name) for name in await self._ask("labels", {"start": f"{span.start:.0f}"})]

    async def series(self, selector: str, span: Span) -> list[dict[str, str]]:
        parameters = {"match[]": selector, "start": f"{span.start:.0f}", "end": f"{span.end:.0f}"}
        return list(await self._ask("series", parameters))

    async def alerts(self) -> list[dict[str, Any]]:
        return list((await self._ask("alerts", {}))["alerts"])

    async def rule_groups(self) -> list[dict[str, Any]]:
        return list((await self._ask("rules", {}))["groups"])

    async def _ask(self, path: str, parameters: Mapping[str, str]) -> Any:
        url = f"{self._url}/api/v1/{path}"
        try:
            async with self._turns:
                if path in ("query", "query_range"):
                    answer = await self._client.post(url, data=dict(parameters), timeout=TIMEOUT_S)
                else:
                    answer = await self._client.get(url, params=dict(parameters), timeout=TIMEOUT_S)
            body = answer.json()
        except ValueError as error:
            raise PeerError(f"{url} answered something that is not JSON") from error
        except httpx.HTTPError as error:
            raise PeerError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error") if isinstance(body, dict) else None
            raise PeerError(str(said or f"{url} answered {answer.status_code}"))
        return body.get("data")


def _series(data: Mapping[str, Any]) -> list[Series]:
    result: Sequence[Any] = data.get("result", [])
    match data.get("resultType"):
        case "matrix":
            return [
                Series(entry["metric"], [(float(at), float(value)) for at, value in entry.get("values", [])])
                for entry in result
            ]
        case "vector":
            return [
                Series(entry["metric"], [(float(entry["value"][0]), float(entry["value"][1]))])
                for entry in result
                if "value" in entry
            ]
        case "scalar":
            return [Series({}, [(float(result[0]), float(result[1]))])]
    return []
