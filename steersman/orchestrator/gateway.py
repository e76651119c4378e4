"""What the gateway routes: Traefik's dynamic configuration, replaced as a whole, and the wait until it is in force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from steersman.orchestrator.files import replace_file

# A store's front page asks for a few things at once; a single client that asks more than this is no customer.
EDGE_AVERAGE_PER_S = 300
EDGE_BURST = 600
# A replica that died between two updates refuses connections; the next pick is another replica, or the same one anew.
RETRY_ATTEMPTS = 4
RETRY_FIRST_INTERVAL = "50ms"
SHED_PERIOD_S = 10  # Traefik counts whole requests in a period: over ten seconds, tenths of one a second
# By a header that is taken away before, so all customers share one bucket and nobody can have one of his own.
SHED_HEADER = "X-Steersman-Shed"
POLL_S = 0.05
API_TIMEOUT_S = 2.0


class Route(NamedTuple):
    public: bool
    urls: tuple[str, ...]  # of the replicas that serve; empty: Traefik answers 503
    zones: Mapping[str, tuple[int, tuple[str, ...]]] = {}  # weight and replicas of each; none: all alike
    requests_per_s: float | None = None  # that customers may make of it, all together


def dynamic_configuration(routes: Mapping[str, Route]) -> dict[str, Any]:
    """
    Each service under `/NAME` at the entry point `mesh`, the public ones at `web` too, the prefix stripped.

    Source: https://doc.traefik.io/traefik/reference/dynamic-configuration/file/
    """
    routers: dict[str, Any] = {}
    middlewares: dict[str, Any] = {
        "retry": {"retry": {"attempts": RETRY_ATTEMPTS, "initialInterval": RETRY_FIRST_INTERVAL}},
        "edge-limit": {"rateLimit": {"average": EDGE_AVERAGE_PER_S, "burst": EDGE_BURST}},
    }
    for name, route in routes.items():
        path = f"(Path(`/{name}`) || PathPrefix(`/{name}/`))"
        middlewares[f"strip-{name}"] = {"stripPrefix": {"prefixes": [f"/{name}"]}}
        inner = [f"strip-{name}", "retry"]
        routers[f"mesh-{name}"] = {"entryPoints": ["mesh"], "rule": path, "service": name, "middlewares": inner}
        if route.public:  # what operates a service is no customer's business
            rule = f"{path} && !PathPrefix(`/{name}/admin`) && !PathPrefix(`/{name}/-/`) && !Path(`/{name}/metrics`)"
            middle = ["edge-limit", *_shedding(name, route, middlewares), *inner]
            routers[f"web-{name}"] = {"entryPoints": ["web"], "rule": rule, "service": name, "middlewares": middle}
    services: dict[str, Any] = {}
    for name, route in routes.items():
        services |= _services(name, route)
    return {"http": {"routers": routers, "middlewares": middlewares, "services": services}}


def _shedding(name: str, route: Route, middlewares: dict[str, Any]) -> list[str]:
    """The middlewares that refuse with 429 what is beyond the route's rate; they are added to `middlewares`."""
    if route.requests_per_s is None:
        return []
    count = max(1, round(route.requests_per_s * SHED_PERIOD_S))
    middlewares["shed-clean"] = {"headers": {"customRequestHeaders": {SHED_HEADER: ""}}}
    middlewares[f"shed-{name}"] = {
        "rateLimit": {
            "average": count,
            "period": f"{SHED_PERIOD_S}s",
            "burst": max(1, round(route.requests_per_s)),  # a second's worth
            "sourceCriterion": {"requestHeaderName": SHED_HEADER},
        }
    }
    return ["shed-clean", f"shed-{name}"]


def _services(name: str, route: Route) -> dict[str, Any]:
    """One load balancer; where zones have weights, one for each and the choice between them."""
    if not route.zones:
        return {name: _balancer(route.urls)}
    weighted = [{"name": f"{name}{_ZONE}{zone}", "weight": weight} for zone, (weight, _) in route.zones.items()]
    balancers = {f"{name}{_ZONE}{zone}": _balancer(urls) for zone, (_, urls) in route.zones.items()}
    return {name: {"weighted": {"services": weighted}}} | balancers


def _balancer(urls: Sequence[str]) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": url} for url in urls], "passHostHeader": True}}


_ZONE = "."  # between a service's name, which has none, and its zone's


@dataclass(slots=True)
class Gateway:
    """Traefik, seen from its file provider and its API."""

    file: Path
    api_url: str  # e.g. http://127.0.0.1:8082
    client: httpx.AsyncClient

    def publish(self, routes: Mapping[str, Route]) -> None:
        replace_file(self.file, yaml.safe_dump(dynamic_configuration(routes), sort_keys=False))

    async def urls(self) -> dict[str, set[str]] | None:
        """By service, the servers that Traefik uses now; None if it does not answer."""
        try:
            answer = await self.client.get(
                f"{self.api_url}/api/http/services", params={"per_page": 1000}, timeout=API_TIMEOUT_S
            )
            answer.raise_for_status()
            listed = answer.json()
        except (httpx.HTTPError, ValueError):
            return None
        found: dict[str, set[str]] = {}
        for entry in listed:
            if entry["name"].endswith("@file"):
                service = entry["name"].removesuffix("@file").partition(_ZONE)[0]
                servers = entry.get("loadBalancer", {}).get("servers", [])
                found.setdefault(service, set()).update(server["url"] for server in servers)
        return found

    async def wait_without(self, service: str, url: str, *, timeout_s: float) -> bool:
        """Until Traefik no longer uses `url`; False if it still did, or did not answer, when the time was over."""
        return await self._wait(lambda used: url not in used.get(service, ()), timeout_s)

    async def wait_with(self, service: str, urls: Sequence[str], *, timeout_s: float) -> bool:
        return await self._wait(lambda used: set(urls) <= used.get(service, set()), timeout_s)

    async def _wait(self, holds: Any, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while (used := await self.urls()) is None or not holds(used):  # noqa: ASYNC110  (Traefik is polled)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True
