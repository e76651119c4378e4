"""The viewer's Grafana API, served for the real grafana-client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from grafana_client.api import GrafanaApi

from dashboards.viewer.grafana_api.router import grafana_router
from dashboards.viewer.grafana_store import GrafanaStore
from dashboards.viewer.library import Library
from steersman.runtime.http import require_bearer

TOKEN = "push-dashboards"


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    library: Library
    store: GrafanaStore


@pytest.fixture
def grafana(tmp_path: Path) -> Iterator[Served]:
    library, store = Library(tmp_path / "dashboards"), GrafanaStore(tmp_path / "grafana.sqlite")
    app = FastAPI()
    app.include_router(grafana_router(library, store, allowed=require_bearer(TOKEN)))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", library, store)
        server.should_exit = True
        thread.join()
    store.close()


@pytest.fixture
def client_of(grafana: Served) -> Iterator[Callable[[str], GrafanaApi]]:
    """Makes clients with a token."""
    made: list[GrafanaApi] = []

    def make(token: str = TOKEN) -> GrafanaApi:
        made.append(GrafanaApi.from_url(grafana.url, credential=token))
        return made[-1]

    yield make
    for client in made:
        client.client.s.close()
