"""The orchestrator's HTTP API over a fleet of real processes; no gateway is needed for what is tested here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from steersman.orchestrator.api import LARGEST_BODY_BYTES, create_app

TOKEN = "a-made-up-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
DESIRED = "/api/v1/services/catalog/desired"
RESTART = "/api/v1/services/catalog/restart"


@pytest.fixture
async def api(start_fleet) -> AsyncIterator[httpx.AsyncClient]:
    async with start_fleet(traefik=False) as fleet:
        app = create_app(fleet, token=TOKEN, processes=lambda: [{"name": "nats", "pid": 7}])
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://orchestrator") as client:
            yield client


@pytest.fixture
async def versioned_api(start_fleet) -> AsyncIterator[httpx.AsyncClient]:
    versions = {"1.0.0": {}, "1.1.0": {}}
    async with start_fleet(traefik=False, version="1.0.0", versions=versions, zones=("a", "b")) as fleet:
        transport = httpx.ASGITransport(app=create_app(fleet, token=TOKEN, processes=list))
        async with httpx.AsyncClient(transport=transport, base_url="http://orchestrator") as client:
            yield client


async def desired_and_count(api: httpx.AsyncClient) -> tuple[int, int]:
    service = (await api.get("/api/v1/services/catalog")).json()
    return service["desired"], len(service["instances"])


async def test_setting_desired_starts_replicas_and_again_changes_nothing(api):
    for _ in range(2):
        answer = await api.put(DESIRED, json={"desired": 3}, headers=BEARER)
        assert answer.status_code == 200
        assert (answer.json()["desired"], len(answer.json()["instances"])) == (3, 3)
    assert (await api.get("/api/v1/services")).json()["services"] == [
        (await api.get("/api/v1/services/catalog")).json()
    ]


async def test_service_is_shown_in_the_documented_shape(api):
    await api.put(DESIRED, json={"desired": 1}, headers=BEARER)
    service = (await api.get("/api/v1/services/catalog")).json()
    assert set(service) == {"name", "desired", "minimum", "maximum", "ready", "version", "instances"}
    assert set(service["instances"][0]) == {
        "id", "state", "port", "pid", "started_at_unix_ms", "restarts", "version", "zone"
    }  # fmt: skip
    assert service["instances"][0]["state"] in {"starting", "ready"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
@pytest.mark.parametrize(("method", "path", "body"), [("PUT", DESIRED, {"desired": 2}), ("POST", RESTART, {})])
async def test_changing_without_the_token_is_refused(api, headers, method, path, body):
    answer = await api.request(method, path, json=body, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {
        "status": "error",
        "errorType": "unauthorized",
        "error": "missing or wrong bearer token",
    }
    assert (await desired_and_count(api))[0] == 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"desired": 7}', 422, "desired 7 of catalog is outside 1..6"),
        (b'{"desired": 0}', 422, "outside 1..6"),
        (b'{"desired": "2"}', 400, "desired"),
        (b'{"desired": 2.5}', 400, "desired"),
        (b'{"desired": true}', 400, "desired"),
        (b'{"desired": 2, "by": 1}', 400, "by"),
        (b"{}", 400, "desired"),
        (b"[]", 400, "body"),
        (b"{", 400, "JSON"),
        (b"", 400, "body"),
        (b'{"desired": 1' + b" " * LARGEST_BODY_BYTES + b"}", 413, f"limit of {LARGEST_BODY_BYTES} bytes"),
    ],
)
async def test_bad_desired_is_refused_and_changes_nothing(api, body, status, words):
    answer = await api.put(DESIRED, content=body, headers=BEARER | {"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["status"] == "error"
    assert words in answer.json()["error"]
    assert (await desired_and_count(api))[0] == 1


async def test_body_without_announced_length_is_bounded_too(api):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    answer = await api.put(DESIRED, content=endless(), headers=BEARER)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/services/nobody", None),
        ("PUT", "/api/v1/services/nobody/desired", {"desired": 1}),
        ("POST", "/api/v1/services/nobody/restart", {}),
        ("POST", RESTART, {"instance": "catalog-99"}),
        ("GET", "/nowhere", None),
    ],
)
async def test_unknown_is_404_in_the_envelope(api, method, path, body):
    answer = await api.request(method, path, json=body, headers=BEARER)
    assert answer.status_code == 404
    assert answer.json()["errorType"] == "not_found"


async def test_restart_is_accepted_and_starts_a_replacement(api):
    await api.put(DESIRED, json={"desired": 1}, headers=BEARER)
    answer = await api.post(RESTART, json={"instance": "catalog-1"}, headers=BEARER)
    assert answer.status_code == 202
    assert "catalog-2" in [instance["id"] for instance in answer.json()["instances"]]


async def test_restart_of_one_replica_that_started_before_may_be_asked_for_twice(api):
    async with asyncio.timeout(10):
        while (await api.get("/api/v1/services/catalog")).json()["instances"][0]["pid"] is None:  # noqa: ASYNC110  (a process)
            await asyncio.sleep(0.01)
    for _ in range(2):
        body = {"instance": "catalog-1", "started_before_unix_ms": 1 << 50}
        answer = await api.post(RESTART, json=body, headers=BEARER)
        assert answer.status_code == 202
    assert [one["id"] for one in answer.json()["instances"] if one["state"] != "draining"] == ["catalog-2"]
    body = {"instance": "catalog-2", "started_before_unix_ms": 1}
    assert "catalog-2" in (await api.post(RESTART, json=body, headers=BEARER)).text


async def test_version_is_set_told_and_guarded(versioned_api):
    path, body = "/api/v1/services/catalog/version", {"version": "1.1.0", "by": "ci", "reason": "merged"}
    assert (await versioned_api.put(path, json=body)).status_code == 401
    answer = await versioned_api.put(path, json=body | {"expected": "0.9"}, headers=BEARER)
    assert (answer.status_code, answer.json()["errorType"]) == (409, "conflict")
    answer = await versioned_api.put(path, json=body | {"expected": "1.0.0"}, headers=BEARER)
    assert answer.status_code == 200
    told = (await versioned_api.get(path)).json()
    assert (told["version"], told["known"]) == ("1.1.0", ["1.0.0", "1.1.0"])
    assert [(one["version"], one["by"]) for one in told["history"]] == [("1.1.0", "ci"), ("1.0.0", "services file")]
    assert (await versioned_api.put(path, json=body | {"version": "7"}, headers=BEARER)).status_code == 422


@pytest.mark.parametrize(
    ("control", "body", "status", "words"),
    [
        ("traffic", {"weights": {"a": 10, "b": 0}}, 422, "no replica of catalog would serve"),
        ("traffic", {"weights": {"a": 1001, "b": 0}}, 422, "weight 1001 of zone 'a' is outside 0..1000"),
        ("traffic", {"weights": {"a": "1"}}, 400, "weights"),
        ("shedding", {"requests_per_s": 0}, 422, "outside 0.1..10000"),
        ("shedding", {"requests_per_s": 5, "until_unix_ms": 1 << 52}, 422, "more than 86400000 ms ahead"),
        ("shedding", {}, 400, "requests_per_s"),
    ],
)
async def test_bad_weights_and_rates_are_refused_and_change_nothing(versioned_api, control, body, status, words):
    path = f"/api/v1/services/catalog/{control}"
    before = (await versioned_api.get(path)).json()
    answer = await versioned_api.put(path, json=body, headers=BEARER)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert (await versioned_api.get(path)).json() == before


async def test_processes_and_health_are_open_to_read(api):
    assert (await api.get("/api/v1/processes")).json() == {"processes": [{"name": "nats", "pid": 7}]}
    assert (await api.get("/-/ready")).status_code == 200
