"""
Stand-ins for a worker's neighbours: the orchestrator and Prometheus.

The orchestrator's keeps the documented API and its state. Prometheus's answers `NAME{job="SERVICE"}` with the number
that the test has set, nothing if it has set none; `latency > 0.5` with the services that are slow; `queue > 10` with
those of which the test has set such a number.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ORCHESTRATOR_TOKEN = "scale-services"


class StandIn:
    """An HTTP server on a free port, in threads of this process; `handle` answers (status, body)."""

    def __init__(self) -> None:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                data = self.rfile.read(size)
                if len(data) < size:
                    return  # the worker was killed in the middle of it
                body = json.loads(data) if size else None
                status, answer = stand_in.handle(self.command, self.path, body, self.headers.get("Authorization"))
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the worker was killed in the middle of a request
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def handle(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class OrchestratorStandIn(StandIn):
    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.restarted: list[tuple[str, int]] = []  # service, and the moment before which its replicas had started
        self.puts: list[tuple[str, int]] = []  # every PUT that was let in, changes or not
        self.put_at: dict[str, float] = {}
        self.before_put: Callable[[str], None] = lambda service: None
        self.unavailable = False
        self.controls: dict[tuple[str, str], dict[str, Any]] = {}  # by service and control, as GET tells them
        self.set_to: list[tuple[str, str, Any]] = []  # each change of a control that took effect
        super().__init__()

    def settings_of(self, service: str, control: str) -> list[Any]:
        return [value for name, kind, value in self.set_to if (name, kind) == (service, control)]

    def _control(self, method: str, service: str, control: str, body: Any) -> tuple[int, Any]:
        """As steersman/orchestrator/controls.py has it: absolute, and compared with what is expected."""
        told = self.controls[service, control]
        if method == "PUT":
            self.before_put(service)
            what = {"version": "version", "traffic": "weights", "shedding": "requests_per_s"}[control]
            if told[what] not in (body["expected"], body[what]):
                return 409, {"status": "error", "errorType": "conflict", "error": f"{what} is {told[what]!r}"}
            if told[what] != body[what]:
                self.set_to.append((service, control, body[what]))
                if control == "version":
                    now = time.time_ns() // 1_000_000
                    told["history"][0]["left_unix_ms"] = now
                    release = {"at_unix_ms": now, "serving_unix_ms": now, "left_unix_ms": None}
                    told["history"].insert(0, {"version": body[what], "by": body["by"], **release})
            told[what] = body[what]
        return 200, told

    def add(self, name: str, *, desired: int = 1, minimum: int = 1, maximum: int = 6) -> None:
        self.services[name] = {"name": name, "desired": desired, "minimum": minimum, "maximum": maximum}

    def desired(self, name: str) -> int:
        return int(self.services[name]["desired"])

    def changes(self, name: str) -> list[int]:
        return [desired for service, desired in self.puts if service == name]

    def restarts(self, name: str) -> list[int]:
        return [before for service, before in self.restarted if service == name]

    def handle(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        if authorization != f"Bearer {ORCHESTRATOR_TOKEN}":
            return 401, {"status": "error", "errorType": "unauthorized", "error": "missing or wrong bearer token"}
        if self.unavailable:
            return 503, {"status": "error", "errorType": "unavailable", "error": "starting"}
        if path == "/api/v1/services":
            return 200, {"services": list(self.services.values())}
        found = re.fullmatch(r"/api/v1/services/([^/]+)(/desired|/restart|/version|/traffic|/shedding)?", path)
        service = self.services.get(found.group(1)) if found else None
        if found is not None and service is not None and (found.group(1), (found.group(2) or "/")[1:]) in self.controls:
            return self._control(method, found.group(1), found.group(2)[1:], body)
        if found is None or service is None:
            return 404, {"status": "error", "errorType": "not_found", "error": f"no service at {path}"}
        if method == "POST":
            if body.get("instance"):
                self.before_put(service["name"])
                self.set_to.append((service["name"], "restart", (body["instance"], body["started_before_unix_ms"])))
            self.restarted.append((service["name"], body["started_before_unix_ms"]))
            return 202, {**service, "ready": service["desired"], "instances": []}
        if method == "PUT":
            if not service["minimum"] <= body["desired"] <= service["maximum"]:
                return 422, {"status": "error", "errorType": "execution", "error": "out of bounds"}
            self.before_put(service["name"])
            service["desired"] = body["desired"]
            self.puts.append((service["name"], body["desired"]))
            self.put_at.setdefault(service["name"], time.monotonic())
        return 200, {**service, "ready": service["desired"], "instances": []}


class PrometheusStandIn(StandIn):
    def __init__(self) -> None:
        # By name and service; a dict has one number for each instance.
        self.numbers: dict[tuple[str, str], float | dict[str, float] | Callable[[], float | None]] = {}
        self.asked_at: dict[tuple[str, str], float] = {}  # by the same, when a query named a time, Unix seconds
        self.histories: dict[tuple[str, str], Callable[[float], float]] = {}  # by Unix seconds
        self.slow: Callable[[str], bool] = lambda service: False
        self.unavailable = False
        super().__init__()

    def set(self, name: str, service: str, value: float | dict[str, float] | Callable[[], float | None]) -> None:
        self.numbers[name, service] = value

    def handle(self, method: str, path: str, body: Any, authorization: str | None) -> tuple[int, Any]:
        if self.unavailable:
            return 503, {"status": "error", "errorType": "unavailable", "error": "starting"}
        url = urlsplit(path)
        query = parse_qs(url.query).get("query", [""])[0]
        if url.path == "/api/v1/rules":
            rules = [
                {"type": "alerting", "name": name, "query": "latency > 0.5", "labels": {"severity": "critical"}}
                for name in ("HighRequestLatency", "CarefulLatency", "PatientLatency")
            ]
            rules.append({"type": "alerting", "name": "QueueGrows", "query": "queue > 10", "labels": {}})
            return 200, {"status": "success", "data": {"groups": [{"name": "shop", "rules": rules}]}}
        if url.path == "/api/v1/query_exemplars":
            exemplar = {"labels": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, "value": "1.9", "timestamp": 1}
            return 200, {"status": "success", "data": [{"seriesLabels": {}, "exemplars": [exemplar]}]}
        if query == "latency > 0.5":
            names = {service for _, service in self.numbers}
            return self._vector([({"service": name}, 1.9) for name in sorted(names) if self.slow(name)])
        if query == "queue > 10":
            told = [(service, value) for (name, service), value in list(self.numbers.items()) if name == "queue"]
            lengths = [(service, value() if callable(value) else value) for service, value in told]
            return self._vector([({"service": service}, length) for service, length in lengths if length > 10])
        found = re.fullmatch(r'(\w+)\{job="([^"]*)"\}', query)
        if found is None:
            return 400, {"status": "error", "errorType": "bad_data", "error": f"unknown query {query!r}"}
        if "time" in (asked := parse_qs(url.query)):
            self.asked_at[found.group(1), found.group(2)] = float(asked["time"][0])
        if url.path == "/api/v1/query_range":
            return self._matrix(self.histories.get((found.group(1), found.group(2))), parse_qs(url.query))
        value = self.numbers.get((found.group(1), found.group(2)))
        value = value() if callable(value) else value
        if isinstance(value, dict):
            return self._vector([({"instance": name}, number) for name, number in value.items()])
        return self._vector([] if value is None else [({}, value)])

    def _matrix(self, history: Callable[[float], float] | None, asked: dict[str, list[str]]) -> tuple[int, Any]:
        start, end, step = (float(asked[name][0]) for name in ("start", "end", "step"))
        times = [start + number * step for number in range(int((end - start) / step) + 1)]
        values = [] if history is None else [[at, str(history(at))] for at in times]
        result = [{"metric": {}, "values": values}] if values else []
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": result}}

    def _vector(self, samples: list[tuple[dict[str, str], float]]) -> tuple[int, Any]:
        result = [{"metric": labels, "value": [time.time(), str(value)]} for labels, value in samples]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}
