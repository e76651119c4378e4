"""The viewer as a process, with no peer that answers: every page says so, and the gate stands before all of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
import viewer_process
from viewer_process import TOKEN
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PEERS = ("PROMETHEUS", "JAEGER", "ALERTMANAGER", "REMEDIATION", "ORCHESTRATOR", "COLLECTOR")


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: whoever asks is refused
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with viewer_process.viewer(tmp_path_factory.mktemp("viewer"), **dict.fromkeys(PEERS, nobody)) as url:
            yield url


@pytest.fixture
def browser(viewer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=viewer, follow_redirects=True, trust_env=False, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/d/steersman-fleet",
        "/d/steersman-fleet/json",
        "/import",
        "/map",
        "/explore",
        "/traces",
        "/alerts",
        "/alerts/rule?name=x",
        "/silences",
        "/rules",
        "/rules?new=hosts",
        "/remediations",
        "/remediation/x",
        "/drills",
        "/drills/live",
        "/drill/latency-surge-20260101T000000.000Z",
        f"/trace/{'a' * 32}",
        f"/compare?a={'a' * 32}&b={'b' * 32}",
        "/audit",
        "/sign-in",
    ],
)
def test_every_page_is_there_although_no_peer_is(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text[:500]
    assert "Steersman" in answer.text
    assert "Traceback" not in answer.text


def test_the_audit_log_is_for_admins_who_have_signed_in(browser, viewer):
    assert "is for the role admin" in browser.get("/audit").text
    browser.post("/sign-in", data={"password": TOKEN}, headers={"Origin": viewer})
    assert "sign_in" in browser.get("/audit").text
    browser.post("/sign-out", headers={"Origin": viewer})
    assert "is for the role admin" in browser.get("/audit").text


def test_the_session_of_a_browser_opens_no_api(browser, viewer):
    browser.post("/sign-in", data={"password": TOKEN}, headers={"Origin": viewer})
    body = {"dashboard": {"title": "x", "panels": []}, "overwrite": True}
    refused = browser.post("/api/dashboards/db", json=body, headers={"Origin": viewer})
    assert (refused.status_code, refused.json()) == (401, {"message": "missing or wrong bearer token"})
    assert browser.post("/api/dashboards/db", json=body, auth=("any", TOKEN)).is_success


def test_a_websocket_of_another_origin_is_refused_where_ours_is_taken(viewer):
    address = viewer.replace("http", "ws") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    for origin in ("http://127.0.0.1:8080", "http://evil.test"):
        with pytest.raises(InvalidStatus, match="403"), connect(address, origin=origin, proxy=None):
            pass
    with connect(address, origin=viewer, proxy=None) as socket_:
        assert socket_.recv(timeout=10).startswith("0")  # engine.io's open packet


@pytest.mark.parametrize(
    "path", ["/trace-data/zz", "/drill/..%2Fsecret", "/drill/x", "/d/nothing", "/assets/../app.py"]
)
def test_what_is_not_there_is_not_found_and_named(browser, path):
    assert browser.get(path).status_code in (400, 404)


def test_a_body_over_the_limit_is_refused(browser):
    refused = browser.post("/api/annotations", content=b"x" * (9 << 20), headers={"Authorization": f"Bearer {TOKEN}"})
    assert refused.status_code == 413
