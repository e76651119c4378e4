"""
What the process says of itself: status/*, features, and /-/reload.

Source: prometheus/web/api/v1/api.go and web/web.go. Fields that only Go has (goroutines, GOGC) are there, as clients
expect them, and empty.
"""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from collector.api.prometheus_encoding import plain
from collector.api.prometheus_parameters import Parameters, parse_int
from collector.api.prometheus_response import Handler, Reply, endpoint
from collector.errors import BadRequestError, ConfigError
from collector.model.alert import rfc3339
from steersman.runtime.http import require_bearer

DEFAULT_TOP, MAX_TOP = 10, 10_000  # entries of each list of status/tsdb (api.go, serveTSDBStatus)
_FEATURES = {
    "api": ("exclude_alerts", "federation", "lifecycle", "query_warnings", "remote_write_receiver"),
    "promql": ("at_modifier", "bool", "by", "group_left", "group_right", "ignoring", "negative_offset", "offset", "on",
               "subqueries", "without"),
    "rules": ("keep_firing_for", "query_offset"),
}  # fmt: skip


Ranking = Sequence[tuple[str, int]]  # largest first


class Cardinality(Protocol):
    """Which names and labels cost most."""

    @property
    def series(self) -> int: ...
    @property
    def label_pairs(self) -> int: ...
    @property
    def chunks(self) -> int: ...
    @property
    def min_ms(self) -> int: ...
    @property
    def max_ms(self) -> int: ...
    @property
    def series_by_metric(self) -> Ranking: ...
    @property
    def values_by_label(self) -> Ranking: ...
    @property
    def bytes_by_label(self) -> Ranking: ...
    @property
    def series_by_pair(self) -> Ranking:
        """Names are `label=value`."""
        ...


@dataclass(slots=True)
class ReloadState:
    """Of the configuration: when it was read last, and whether that went well."""

    at_ms: int
    succeeded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """What the routes below show."""

    version: str
    started_ms: int
    flags: Mapping[str, str]
    config: Callable[[], str]  # as YAML, without secrets
    retention: Callable[[], str]  # of metrics, e.g. "15d"
    corruptions: Callable[[], int]  # found in the metric store since the start
    cardinality: Callable[[int], Cardinality]  # of the metric store, so many entries in each list
    reload: Callable[[], Awaitable[None]]  # raises ConfigError; what was in force stays in force then
    reloaded: ReloadState


def status_router(status: ProcessStatus, *, token: str) -> APIRouter:
    """
    Args:
        token: What /-/reload asks for.
    """
    router = APIRouter()
    api = _Status(status)
    threads = ThreadPoolExecutor(1, thread_name_prefix="status")
    handlers: dict[str, Handler] = {
        "status/config": api.config,
        "status/flags": api.flags,
        "status/runtimeinfo": api.runtimeinfo,
        "status/buildinfo": api.buildinfo,
        "status/tsdb": api.tsdb,
        "status/walreplay": api.walreplay,
        "features": api.features,
        "notifications": api.notifications,
    }
    for path, handler in handlers.items():
        router.add_route(f"/api/v1/{path}", endpoint(threads, handler), methods=["GET", "OPTIONS"])

    @router.post("/-/reload", dependencies=[Depends(require_bearer(token))])
    @router.put("/-/reload", dependencies=[Depends(require_bearer(token))])
    async def reload() -> Response:
        status.reloaded.at_ms = time.time_ns() // 1_000_000
        try:
            await status.reload()
        except ConfigError as error:
            status.reloaded.succeeded = False
            return PlainTextResponse(f"failed to reload config: {error}\n", 500)
        status.reloaded.succeeded = True
        return Response(status_code=200)

    return router


class _Status:
    def __init__(self, status: ProcessStatus) -> None:
        self._status = status

    def config(self, _parameters: Parameters) -> Reply:
        return Reply([plain({"yaml": self._status.config()})])

    def flags(self, _parameters: Parameters) -> Reply:
        return Reply([plain(dict(self._status.flags))])

    def buildinfo(self, _parameters: Parameters) -> Reply:
        """Grafana reads the version, and takes what has no `features` here for Prometheus."""
        empty = dict.fromkeys(("revision", "branch", "buildUser", "buildDate"), "")
        return Reply([plain({"version": self._status.version, **empty, "goVersion": "", "application": "Steersman"})])

    def runtimeinfo(self, _parameters: Parameters) -> Reply:
        status = self._status
        shown = {
            "startTime": rfc3339(status.started_ms),
            "CWD": str(Path.cwd()),
            "hostname": socket.gethostname(),
            "serverTime": rfc3339(time.time_ns() // 1_000_000),
            "reloadConfigSuccess": status.reloaded.succeeded,
            "lastConfigTime": rfc3339(status.reloaded.at_ms),
            "corruptionCount": status.corruptions(),
            "goroutineCount": 0,
            "GOMAXPROCS": 0,
            "GOMEMLIMIT": 0,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": status.retention(),
            "threadCount": threading.active_count(),
            "cpuCount": os.cpu_count(),
            "pythonVersion": platform.python_version(),
        }
        return Reply([plain(shown)])

    def tsdb(self, parameters: Parameters) -> Reply:
        found = self._status.cardinality(_top(parameters.text("limit")))
        head = {
            "numSeries": found.series,
            "numLabelPairs": found.label_pairs,
            "chunkCount": found.chunks,
            "minTime": found.min_ms,
            "maxTime": found.max_ms,
        }
        lists = {
            "seriesCountByMetricName": found.series_by_metric,
            "labelValueCountByLabelName": found.values_by_label,
            "memoryInBytesByLabelName": found.bytes_by_label,
            "seriesCountByLabelValuePair": found.series_by_pair,
        }
        shown = {name: [{"name": key, "value": value} for key, value in ranking] for name, ranking in lists.items()}
        return Reply([plain({"headStats": head} | shown)])

    def walreplay(self, _parameters: Parameters) -> Reply:
        """Nothing listens before the log is replayed, so whoever asks finds it done."""
        return Reply([plain({"min": 0, "max": 0, "current": 0, "state": "done"})])

    def notifications(self, _parameters: Parameters) -> Reply:
        """What Prometheus's page shows on top, such as a failed reload; here that is in runtimeinfo and the log."""
        return Reply(["[]"])

    def features(self, _parameters: Parameters) -> Reply:
        return Reply([plain({group: dict.fromkeys(names, True) for group, names in _FEATURES.items()})])


def _top(text: str) -> int:
    if not text:
        return DEFAULT_TOP
    try:
        limit = parse_int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise BadRequestError("limit must be a positive number")
    if limit > MAX_TOP:
        raise BadRequestError(f"limit must not exceed {MAX_TOP}")
    return limit
