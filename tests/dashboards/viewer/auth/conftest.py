from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request, WebSocket

from dashboards.viewer.auth.accounts import Accounts
from dashboards.viewer.auth.attempts import Attempts
from dashboards.viewer.auth.audit import AuditLog
from dashboards.viewer.auth.gate import SCOPE_KEY, Gate
from dashboards.viewer.auth.permission import require
from dashboards.viewer.auth.roles import Act, Role
from dashboards.viewer.auth.sessions import Sessions
from dashboards.viewer.auth.users import Users
from dashboards.viewer.pages.sign_in import sign_in_router

TOKEN = "the-owners-token"


@dataclass(slots=True)
class Site:
    url: str
    browser: httpx.Client
    accounts: Accounts
    audit: AuditLog
    now: SimpleNamespace

    def sign_in(self, name: str, password: str, **more: str):
        form = {"name": name, "password": password, **more}
        return self.browser.post("/sign-in", data=form, headers={"Origin": self.url}, follow_redirects=False)

    def whoami(self) -> str:
        return self.browser.get("/who").json()["name"]


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work factor is the one thing that is not the real one: it costs time and nothing else."""
    monkeypatch.setattr("dashboards.viewer.auth.users._N", 1 << 8)


@pytest.fixture
def anonymous() -> Role | None:
    return Role.VIEWER


@pytest.fixture
def site(tmp_path: Path, anonymous: Role | None) -> Iterator[Site]:
    now = SimpleNamespace(value=1_700_000_000.0)
    accounts = Accounts(
        token=TOKEN,
        users=Users(tmp_path / "users.json"),
        sessions=Sessions(tmp_path / "sessions.sqlite", "secret of the signature"),
        attempts=Attempts(capacity=3, refill_s=10),
        anonymous=anonymous,
        clock=lambda: now.value,
    )
    audit = AuditLog(tmp_path / "audit.jsonl")
    app = FastAPI()
    app.add_middleware(Gate, accounts=accounts, audit=audit, hosts=("127.0.0.1",), cookie_name="session")
    app.include_router(sign_in_router(hint="a hint"))

    @app.get("/who")
    def who(request: Request):
        return {"name": request.scope[SCOPE_KEY].of_scope(request.scope).name}

    @app.post("/api/change", dependencies=[Depends(require(Act.SAVE_DASHBOARD))])
    def change():
        return {"changed": True}

    @app.websocket("/_nicegui_ws/socket.io/")
    async def events(socket: WebSocket):
        await socket.accept()
        await socket.close()

    with _served(app) as url, httpx.Client(base_url=url, follow_redirects=True, trust_env=False) as browser:
        yield Site(url, browser, accounts, audit, now)
    accounts.sessions.close()


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="websockets-sansio"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()
