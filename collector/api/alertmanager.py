"""
Alertmanager's API v2, for amtool, Grafana, Prometheus and people: alerts, groups, silences, receivers, status.

Reading is free; what changes state wants the bearer token. Errors have Alertmanager's shapes: a JSON text, or an object
of code and message for what does not have the API's shape.

Source: alertmanager/api/v2/api.go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from collector.alerts.config_text import public_text
from collector.alerts.dispatcher import Dispatcher
from collector.alerts.matchers import MatcherError, parse_matchers
from collector.alerts.silence import filter_accepts
from collector.alerts.silences import SilenceNotFoundError
from collector.alerts.taken import Taken
from collector.api.alertmanager_filter import AlertFilter
from collector.api.alertmanager_json import (
    BadShapeError,
    alert_json,
    group_json,
    read_alerts,
    read_silence,
    silence_json,
    silence_order,
    time_json,
)
from collector.api.alertmanager_metrics import AlertmanagerMetrics
from collector.errors import BadRequestError, ConfigError, LimitExceededError, TemporaryError
from collector.model.series import Labels
from steersman.runtime.http import limit_bodies, require_bearer

MAX_BODY_BYTES = 32 * 1024 * 1024  # 10,000 alerts of Prometheus are 5 to 10 MB
SLICE = 200  # alerts judged at one go, some milliseconds; then others have their turn

Reload = Callable[[], Awaitable[None]]


def alertmanager_app(dispatcher: Dispatcher, *, token: str, version: str, reload: Reload | None = None) -> ASGIApp:
    """
    The whole of port 9093.

    Args:
        reload: reads the configuration again and puts it in force, or raises ConfigError; None: there is no file.
    """
    app = FastAPI(title="Steersman: Alertmanager API", docs_url=None, redoc_url=None, openapi_url=None)
    _install_errors(app)
    metrics = AlertmanagerMetrics(dispatcher)
    app.include_router(_router(_Api(dispatcher, metrics, version), token))

    @app.get("/", response_class=PlainTextResponse)
    async def root() -> str:
        return "Steersman's collector, Alertmanager API: see /api/v2/status\n"

    @app.get("/-/healthy", response_class=PlainTextResponse)
    @app.get("/-/ready", response_class=PlainTextResponse)
    @app.head("/-/healthy", response_class=PlainTextResponse)
    @app.head("/-/ready", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "OK"

    @app.post("/-/reload", response_class=PlainTextResponse, dependencies=[Depends(require_bearer(token))])
    async def reload_config() -> Response:
        try:
            if reload is not None:
                await reload()
        except ConfigError as error:
            metrics.reload_succeeded = False
            return PlainTextResponse(f"failed to reload config: {error}\n", status_code=500)
        metrics.reload_succeeded = True
        return PlainTextResponse("")

    @app.get("/metrics")
    async def all_metrics() -> Response:
        return Response(generate_latest(metrics.registry) + generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return limit_bodies(app, MAX_BODY_BYTES)


class _Api:
    def __init__(self, dispatcher: Dispatcher, metrics: AlertmanagerMetrics, version: str) -> None:
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._version = version
        self._started_ms = time.time_ns() // 1_000_000

    async def get_alerts(self, request: Request) -> Response:
        wanted = AlertFilter.of(request)
        shown = await self._shown(self._dispatcher.taken, wanted)
        return JSONResponse(sorted(shown.values(), key=lambda alert: str(alert["fingerprint"])))

    async def get_groups(self, request: Request) -> Response:
        wanted = AlertFilter.of(request)
        shown = await self._shown(self._dispatcher.taken, wanted)
        groups = []
        for group in self._dispatcher.groups:
            members = [shown[labels] for labels in group.members if labels in shown]
            if members and wanted.takes_receiver(group.node.receiver):
                members.sort(key=lambda alert: str(alert["fingerprint"]))
                groups.append(group_json(group.labels, group.node.receiver, members))
        groups.sort(key=lambda group: (sorted(group["labels"].items()), group["receiver"]["name"]))
        return JSONResponse(groups)

    async def _shown(self, alerts: Sequence[Taken], wanted: AlertFilter) -> dict[Labels, dict[str, Any]]:
        now_ms = self._dispatcher.now_ms()
        shown: dict[Labels, dict[str, Any]] = {}
        for position, taken in enumerate(alerts):
            if position % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            labels = taken.alert.labels
            if taken.alert.resolved_at(now_ms):
                continue
            nodes = self._dispatcher.tree.match(labels)
            receivers = list(dict.fromkeys(node.receiver for node in nodes))
            if not any(map(wanted.takes_receiver, receivers)):
                continue
            mutes = self._dispatcher.muting.of(labels, nodes, now_ms)
            if wanted.takes(labels, mutes):
                shown[labels] = alert_json(taken, receivers, mutes)
        return shown

    async def post_alerts(self, request: Request) -> Response:
        body, now_ms = await request.body(), self._dispatcher.now_ms()
        timeout_ms = self._dispatcher.config.global_.resolve_timeout
        posted = await asyncio.to_thread(read_alerts, body, now_ms=now_ms, resolve_timeout_ms=timeout_ms)
        await self._dispatcher.take(posted.valid)
        for taken in posted.valid:
            status = "resolved" if taken.alert.resolved_at(now_ms) else "firing"
            self._metrics.received.labels(status, "v2").inc()
        if posted.errors:
            self._metrics.invalid.labels("v2").inc(len(posted.errors))
            raise BadRequestError("; ".join(posted.errors[:10]))
        return Response(status_code=200)

    async def get_silences(self, request: Request) -> Response:
        try:
            wanted = [one for text in request.query_params.getlist("filter") for one in parse_matchers(text)]
        except MatcherError as error:
            raise BadRequestError(str(error)) from error
        now_ms = self._dispatcher.now_ms()
        found = [
            silence
            for silence in self._dispatcher.silences.all()
            if filter_accepts(wanted, {matcher.name: matcher.value for matcher in silence.matchers})
        ]
        found.sort(key=lambda silence: silence_order(silence, now_ms))
        return JSONResponse([silence_json(silence, now_ms) for silence in found])

    async def post_silence(self, request: Request) -> Response:
        silence_id = await self._dispatcher.put_silence(read_silence(await request.body()))
        return JSONResponse({"silenceID": silence_id})

    async def get_silence(self, silence_id: str) -> Response:
        silence = self._dispatcher.silences.get(silence_id)
        if silence is None:
            raise SilenceNotFoundError(silence_id)
        return JSONResponse(silence_json(silence, self._dispatcher.now_ms()))

    async def delete_silence(self, silence_id: str) -> Response:
        try:
            await self._dispatcher.expire_silence(silence_id)
        except SilenceNotFoundError:
            raise
        except BadRequestError as error:
            return JSONResponse(str(error), status_code=500)  # the specification knows no other refusal here
        return Response(status_code=200)

    async def get_receivers(self) -> Response:
        return JSONResponse([{"name": receiver.name} for receiver in self._dispatcher.config.receivers])

    async def get_status(self) -> Response:
        build = dict.fromkeys(("branch", "buildDate", "buildUser", "goVersion", "revision"), "")
        return JSONResponse(
            {
                "cluster": {"name": "", "peers": [], "status": "disabled"},
                "config": {"original": public_text(self._dispatcher.config.original)},
                "uptime": time_json(self._started_ms),
                "versionInfo": build | {"version": self._version},
            }
        )


def _router(api: _Api, token: str) -> APIRouter:
    router = APIRouter(prefix="/api/v2")
    guarded = [Depends(require_bearer(token))]
    for path, endpoint in (
        ("/alerts", api.get_alerts),
        ("/alerts/groups", api.get_groups),
        ("/silences", api.get_silences),
        ("/silence/{silence_id}", api.get_silence),
        ("/receivers", api.get_receivers),
        ("/status", api.get_status),
    ):
        router.add_api_route(path, endpoint, methods=["GET"])
    router.add_api_route("/alerts", api.post_alerts, methods=["POST"], dependencies=guarded)
    router.add_api_route("/silences", api.post_silence, methods=["POST"], dependencies=guarded)
    router.add_api_route("/silence/{silence_id}", api.delete_silence, methods=["DELETE"], dependencies=guarded)
    return router


def _install_errors(app: FastAPI) -> None:
    @app.exception_handler(BadShapeError)
    async def bad_shape(_request: Request, error: BadShapeError) -> Response:
        return JSONResponse({"code": error.code, "message": str(error)}, status_code=error.status)

    @app.exception_handler(SilenceNotFoundError)
    async def not_found(_request: Request, error: SilenceNotFoundError) -> Response:
        return JSONResponse(str(error), status_code=404)

    @app.exception_handler(BadRequestError)
    @app.exception_handler(LimitExceededError)
    async def bad_request(_request: Request, error: Exception) -> Response:
        return JSONResponse(str(error), status_code=400)

    @app.exception_handler(TemporaryError)
    async def not_now(_request: Request, error: TemporaryError) -> Response:
        return JSONResponse(str(error), status_code=500)  # the specification knows no 503

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else error.headers
        body = {"code": error.status_code, "message": str(error.detail)}
        return JSONResponse(body, status_code=error.status_code, headers=headers)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> Response:
        return JSONResponse("internal error; the log has the cause", status_code=500)  # the server logs it
