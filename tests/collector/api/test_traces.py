from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI, Request
from trace_builder import START, Builder

from collector.api.traces import traces_router
from collector.errors import BadRequestError
from collector.storage.traces.database import TelemetryDatabase
from steersman.runtime.http import error_response, install_error_envelope

SECONDS = START // 10**9
WITHIN = {"start": SECONDS, "end": SECONDS + 60}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    made = TelemetryDatabase.open(tmp_path_factory.mktemp("traces") / "telemetry.duckdb")
    builder = Builder(made)
    for trace in range(1, 6):
        builder.span(trace, 1, service="gateway", name="GET /", at_ms=trace * 100, took_ms=50 * trace)
        builder.span(trace, 2, 1, service="shop", at_ms=trace * 100 + 10, took_ms=30, status=2 if trace == 4 else 0,
                     events={"exception": {"exception.type": "Timeout"}} if trace == 4 else {})  # fmt: skip
    builder.store()
    yield made
    made.close()


@pytest.fixture
async def api(database):
    app = FastAPI()
    install_error_envelope(app)

    @app.exception_handler(BadRequestError)
    async def bad_request(_request: Request, error: BadRequestError):
        return error_response(400, str(error))

    app.include_router(traces_router(database))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        yield client


async def test_a_cut_search_says_so_and_is_continued(api):
    seen, cursor = [], None
    while True:
        page = {"limit": 2} | ({"cursor": cursor} if cursor else WITHIN)
        data = (await api.get("/api/v1/traces/search", params=page)).json()["data"]
        seen += [int(trace["trace_id"], 16) for trace in data["traces"]]
        cursor = data["cursor"]
        assert data["truncated"] is (cursor is not None)
        if not data["truncated"]:
            break
    assert seen == [5, 4, 3, 2, 1]


async def test_a_search_takes_a_filter_and_answers_in_summaries(api):
    found = await api.get("/api/v1/traces/search", params=WITHIN | {"filter": '{service="gateway"} > {status=error}'})
    assert found.json() == {
        "status": "success",
        "data": {
            "traces": [
                {
                    "trace_id": f"{4:032x}",
                    "root_service": "gateway",
                    "root_name": "GET /",
                    "start_unix_nano": str(START + 400_000_000),
                    "duration_nano": 200_000_000,
                    "spans": 2,
                    "errors": 1,
                    "orphans": 0,
                    "services": [
                        {"name": "gateway", "spans": 1, "errors": 0},
                        {"name": "shop", "spans": 1, "errors": 1},
                    ],
                }
            ],
            "truncated": False,
            "cursor": None,
        },
    }


async def test_a_trace_is_taken_apart(api):
    data = (await api.get("/api/v1/traces/4")).json()["data"]
    root, child = data["spans"]
    assert (root["depth"], root["self_nano"], root["critical_nano"]) == (0, 170_000_000, 170_000_000)
    assert (child["depth"], child["status"], child["parent_span_id"]) == (1, "error", root["span_id"])
    assert child["events"][0]["attributes"] == {"exception.type": "Timeout"}
    assert [section["span_id"] for section in data["critical_path"]] == [
        root["span_id"],
        child["span_id"],
        root["span_id"],
    ]
    assert data["duration_nano"] == 200_000_000


async def test_two_sets_are_compared(api):
    parameters = WITHIN | {"selection": "duration > 160ms"}
    data = (await api.get("/api/v1/traces/compare", params=parameters)).json()["data"]
    assert (data["selection"], data["baseline"], data["capped"], data["values"]) == (2, 3, False, [])


@pytest.mark.parametrize(
    ("path", "parameters", "status", "words"),
    [
        ("search", {"filter": "{ name = }"}, 400, "1:10: parse error"),
        ("search", {"limit": 0}, 400, "limit"),
        ("search", {"limit": 10**9}, 400, "limit"),
        ("search", {"start": -1}, 400, "start"),
        ("search", {"start": "nan"}, 400, "start"),
        ("search", {"start": 2, "end": 1}, 400, "after end"),
        ("search", {"cursor": "next"}, 400, "cursor"),
        ("compare", {}, 400, "selection"),
        ("compare", {"selection": "{", "baseline": "{}"}, 400, "parse error"),
        ("xyz", {}, 400, "hex digits"),
        ("abc", {}, 404, "abc"),
    ],
)
async def test_what_is_wrong_is_named(api, path, parameters, status, words):
    answer = await api.get(f"/api/v1/traces/{path}", params=parameters)
    assert answer.status_code == status
    assert words in answer.json()["error"]
