"""
Calls of other services through the mesh, where a replica or the gateway itself may be killed at any moment.

Every call has a deadline, is tried again only on what a second try can cure (no connection, 502, 503, 504) and stops at
once while the peer's circuit breaker is open. Only idempotent requests may be sent: all are repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import stamina
import stamina.instrumentation
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor, RequestInfo
from opentelemetry.trace import Span
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from demo_services.errors import PeerError, PeerUnavailableError

DEADLINE_S = 8.0  # of one call with its repetitions; the longest single answer is the queue timeout plus the work
CONNECT_S = 1.0  # on one machine or in one network
ATTEMPTS = 4
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 1.0
# A replica that dies fails the few calls in its hands, which must not close the way to the healthy ones.
FAILURES_TO_OPEN = 20
OPEN_S = 2.0  # about how long the gateway or a replica takes to be replaced
_CURABLE_STATUSES = frozenset({502, 503, 504})


# stamina's own say that something was tried again, a line each, but not what; the client spans say it better.
stamina.instrumentation.set_on_retry_hooks([])


class _CurableStatusError(Exception):
    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.request.method} {response.request.url.path} answered {response.status_code}")


def _service_in(url: httpx.URL) -> str:
    """The mesh has one address for all; which service is meant stands first in the path."""
    return url.path.split("/", 2)[1]


async def _name_peer(span: Span, request: RequestInfo) -> None:
    if not isinstance(request.url, httpx.URL):
        return
    service = _service_in(request.url)
    span.set_attribute("peer.service", service)
    span.update_name(f"{request.method.decode()} {service}")


class _DelayedTransport(httpx.AsyncHTTPTransport):
    """Waits where the way to a peer would, so that the client's span contains it."""

    def __init__(self, before_call: Callable[[str], Awaitable[None]], **options: Any) -> None:
        super().__init__(**options)
        self._before_call = before_call

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._before_call(_service_in(request.url))
        return await super().handle_async_request(request)


class Peers:
    """Belongs to one event loop."""

    def __init__(
        self,
        mesh_url: str,
        *,
        before_call: Callable[[str], Awaitable[None]],
        deadline_s: float = DEADLINE_S,
        open_s: float = OPEN_S,
    ) -> None:
        """
        Args:
            mesh_url: `{mesh_url}/{service}/…` reaches the service's `/…`.
            before_call: Awaited with the service's name within each attempt: where the fault `slow_dependency` waits.
        """
        self._client = httpx.AsyncClient(
            base_url=mesh_url,
            timeout=httpx.Timeout(deadline_s, connect=CONNECT_S),
            transport=_DelayedTransport(
                before_call,
                limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
                trust_env=False,
            ),
            trust_env=False,  # the mesh is never behind a proxy, and looking for one costs at each call
        )
        HTTPXClientInstrumentor.instrument_client(self._client, request_hook=_name_peer)
        self._deadline_s = deadline_s
        self._breakers = AsyncCircuitBreakerFactory(default_threshold=FAILURES_TO_OPEN, default_ttl=open_s)

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """
        The peer's answer, if its status is below 500.

        Raises:
            PeerUnavailableError: no answer within the deadline, none after all attempts, or the circuit is open.
            PeerError: it answered with an error of its own (500).
        """
        breaker = await self._breakers.get_breaker(service)
        retries = stamina.retry_context(
            on=(httpx.TransportError, _CurableStatusError),
            attempts=ATTEMPTS,
            timeout=self._deadline_s,
            wait_initial=FIRST_WAIT_S,
            wait_max=LONGEST_WAIT_S,
            wait_jitter=FIRST_WAIT_S,
        )
        try:
            async for attempt in retries:
                with attempt:
                    async with breaker:
                        response = await self._client.request(
                            method, f"/{service}{path}", json=json, headers=headers, params=params
                        )
                        if response.status_code in _CURABLE_STATUSES:
                            raise _CurableStatusError(response)
                        if response.status_code >= 500:
                            raise PeerError(f"{service} answered {method} {path} with {response.status_code}")
        except OpenedState as error:
            raise PeerUnavailableError(f"{service} failed too often and is left alone for {OPEN_S:g} s") from error
        except (httpx.TransportError, _CurableStatusError) as error:
            raise PeerUnavailableError(f"{service} is not available: {type(error).__name__}: {error}") from error
        return response

    async def close(self) -> None:
        await self._client.aclose()
