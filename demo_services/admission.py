"""What each business request passes before its route: a bounded body, a worker of the pool, and the faults in force."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo_services.errors import PoolTimeoutError
from demo_services.faults import FaultBoard
from demo_services.worker_pool import WorkerPool
from steersman.runtime.http import error_response

HIGHEST_BODY_BYTES = 64 * 1024  # the largest body that the shop's models allow is about 10 KB
SERVICE_TIME_JITTER = 0.1  # ±10 %, so that replicas do not march in step; the mean stays the stated time
_OPERATIONS = ("/-/", "/metrics", "/admin/", "/docs", "/openapi.json")

_tracer = trace.get_tracer(__name__)
_logger = logging.getLogger(__name__)


class Admission:
    def __init__(
        self,
        app: ASGIApp,
        *,
        pool: WorkerPool,
        faults: FaultBoard,
        random: Callable[[], float],
        defect_ratio: float = 0.0,
    ) -> None:
        """
        Args:
            defect_ratio: Of the requests, which the handlers of this build fail.
            random: Uniform over 0 (inclusive) to 1 (exclusive).
        """
        self._app = app
        self._pool = pool
        self._faults = faults
        self._random = random
        self._defect_ratio = defect_ratio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > HIGHEST_BODY_BYTES:
            refusal = error_response(413, f"body of {length[:20].decode('latin-1')} bytes is over {HIGHEST_BODY_BYTES}")
            return await refusal(scope, receive, send)
        receive = _bounded(receive)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(_OPERATIONS):
            return await self._app(scope, receive, send)
        asked_ns = time.time_ns()
        try:
            async with self._pool.worker():
                _tracer.start_span("worker_pool.wait", start_time=asked_ns).end()
                await self._work(scope, receive, send)
        except PoolTimeoutError as error:
            _tracer.start_span("worker_pool.wait", start_time=asked_ns, attributes={"error.type": "timeout"}).end()
            refusal = error_response(503, str(error))
            refusal.headers["Retry-After"] = str(error.retry_after_s)
            await refusal(scope, receive, send)

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        jitter = 1 + SERVICE_TIME_JITTER * (2 * self._random() - 1)
        held_s = self._pool.service_time_s * jitter + self._faults.added_latency_s()
        if held_s:
            await asyncio.sleep(held_s)
        if self._random() < self._faults.error_ratio():
            _logger.error("failed on purpose: a fault of kind errors is in force")
            return await error_response(500, "failed on purpose: a fault is in force")(scope, receive, send)
        if self._random() < self._defect_ratio:
            _logger.error("the handler failed: this build has a defect")
            return await error_response(500, "the handler failed")(scope, receive, send)
        return await self._app(scope, receive, send)


def _bounded(receive: Receive) -> Receive:
    """Ends a body without a length that grows beyond the limit as if its sender had gone."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= HIGHEST_BODY_BYTES else {"type": "http.disconnect"}

    return bounded
