"""
Provisioning against a stand-in Grafana: it keeps state and answers the few calls as Grafana's HTTP API documents them.

A real Grafana cannot run in these tests (it is no Python package), so what is proved here is the traffic of the real
grafana-client and the idempotence of `push`, not Grafana's own validation.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaUnauthorizedError

from dashboards.fleet import UID
from dashboards.provisioning import Change, DataSources, push

TOKEN = "glsa_stand_in"


class GrafanaStandIn(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sources: dict[str, dict[str, Any]] = {}
        self.folders: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.writes = 0


class _Handler(BaseHTTPRequestHandler):
    server: GrafanaStandIn
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return loaded

    def handle_any(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"message": "Unauthorized"})
        kept = {
            "datasources": self.server.sources,
            "folders": self.server.folders,
            "dashboards": self.server.dashboards,
        }
        _, _, kind, *rest = self.path.split("?")[0].split("/")
        if self.command == "GET":
            found = kept[kind].get(rest[-1])
            return self.answer(200, found) if found else self.answer(404, {"message": "not found"})
        self.server.writes += 1
        body = self.body()
        if kind == "dashboards":
            model = body["dashboard"]
            version = self.server.dashboards.get(model["uid"], {}).get("dashboard", {}).get("version", 0) + 1
            self.server.dashboards[model["uid"]] = {"dashboard": {**model, "id": 1, "version": version}, "meta": {}}
        else:
            kept[kind][body["uid"]] = {"id": len(kept[kind]) + 1, **kept[kind].get(body["uid"], {}), **body}
        return self.answer(200, {"status": "success"})

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815  (the base class's names)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def grafana() -> Iterator[GrafanaStandIn]:
    server = GrafanaStandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@contextlib.contextmanager
def client_of(server: GrafanaStandIn, token: str = TOKEN) -> Iterator[GrafanaApi]:
    client = GrafanaApi.from_url(f"http://127.0.0.1:{server.server_address[1]}", credential=token)
    try:
        yield client
    finally:
        client.client.s.close()


def pushed(server: GrafanaStandIn, sources: DataSources | None = None, *, token: str = TOKEN) -> list[Change]:
    with client_of(server, token) as client:
        return push(client, sources or DataSources())


def test_first_push_creates_everything(grafana: GrafanaStandIn) -> None:
    changes = pushed(grafana)
    assert {change.action for change in changes} == {"created"}
    assert grafana.dashboards[UID]["dashboard"]["title"] == "Fleet overview"
    assert grafana.sources["prometheus"]["url"] == "http://127.0.0.1:9090"


def test_second_push_changes_nothing(grafana: GrafanaStandIn) -> None:
    pushed(grafana)
    writes = grafana.writes
    assert {change.action for change in pushed(grafana)} == {"unchanged"}
    assert grafana.writes == writes


def test_a_moved_data_source_is_updated_in_place(grafana: GrafanaStandIn) -> None:
    pushed(grafana)
    changes = pushed(grafana, DataSources(prometheus_url="http://127.0.0.1:9999"))
    assert [(change.name, change.action) for change in changes if change.action != "unchanged"] == [
        ("Prometheus", "updated")
    ]
    assert grafana.sources["prometheus"]["url"] == "http://127.0.0.1:9999"


def test_an_edited_dashboard_is_put_back(grafana: GrafanaStandIn) -> None:
    pushed(grafana)
    grafana.dashboards[UID]["dashboard"]["title"] = "Somebody's edit"
    pushed(grafana)
    assert grafana.dashboards[UID]["dashboard"]["title"] == "Fleet overview"


def test_a_wrong_token_is_refused_and_nothing_is_written(grafana: GrafanaStandIn) -> None:
    with pytest.raises(GrafanaUnauthorizedError):
        pushed(grafana, token="wrong")
    assert grafana.writes == 0
