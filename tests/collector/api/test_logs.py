from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collector.api.logs import logs_router
from collector.pipeline.logs import decode_logs
from collector.storage.logs import LogReader
from collector.storage.traces.database import TelemetryDatabase
from steersman.runtime.http import install_error_envelope

START_S = 1_700_000_000
WITHIN = {"start": START_S, "end": START_S + 60}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Ten records, of which six are of one moment; each body tells its number."""
    made = TelemetryDatabase.open(tmp_path_factory.mktemp("logs") / "telemetry.duckdb")
    request = ExportLogsServiceRequest()
    for number in range(10):
        service = "shop" if number % 2 else "bank"
        per_resource = request.resource_logs.add()
        per_resource.resource.attributes.add(key="service.name").value.string_value = service
        per_resource.resource.attributes.add(key="zone").value.string_value = service[0]
        at = 5 if 2 <= number < 8 else number
        record = per_resource.scope_logs.add().log_records.add(time_unix_nano=(START_S + at) * 10**9)
        record.body.string_value = f"Record {number}: 100% of it"
        record.severity_number = 9 + number % 2 * 8
        record.attributes.add(key="n").value.int_value = number
        if number == 3:
            record.trace_id, record.span_id = b"3" * 16, b"3" * 8
    made.write([decode_logs(request.SerializeToString(), received_ms=1)])
    yield made
    made.close()


@pytest.fixture
async def api(database):
    app = FastAPI()
    install_error_envelope(app)
    app.include_router(logs_router(LogReader(database)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        yield client


async def numbers(api, **parameters):
    answer = await api.get("/api/v1/logs", params=WITHIN | parameters)
    assert answer.status_code == 200, answer.text
    return {record["attributes"]["n"] for record in answer.json()["data"]}


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, set(range(10))),
        ({"service": "bank"}, {0, 2, 4, 6, 8}),
        ({"severity": "error"}, {1, 3, 5, 7, 9}),
        ({"text": "RECORD 7"}, {7}),
        ({"text": "100%"}, set(range(10))),
        ({"text": "1%0"}, set()),
        ({"trace_id": "33" * 16}, {3}),
        ({"span_id": "33" * 8}, {3}),
        ({"attribute": "n:4"}, {4}),
        ({"attribute": ["zone:s", "n:4"]}, set()),
        ({"attribute": ["zone:b", "n:4"]}, {4}),
        ({"start": START_S + 5, "end": START_S + 6}, set(range(2, 8))),
    ],
)
async def test_records_are_found_by(api, parameters, found):
    assert await numbers(api, **parameters) == found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9])
async def test_a_cut_answer_says_so_and_is_continued(api, limit):
    """Though most records are of one moment."""
    seen, page = [], WITHIN
    while True:
        answer = (await api.get("/api/v1/logs", params=page | {"limit": limit})).json()
        seen += [record["attributes"]["n"] for record in answer["data"]]
        if not answer["truncated"]:
            assert answer["cursor"] is None
            break
        page = {"cursor": answer["cursor"]}
    assert seen == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"severity": "loud"}, "severity"),
        ({"attribute": "colonless"}, "key:value"),
        ({"attribute": ["a:b"] * 21}, "attribute"),
        ({"text": "x" * 1001}, "text"),
        ({"cursor": "more"}, "cursor"),
        ({"span_id": "0"}, "span id"),
        ({"trace_id": "xyz"}, "trace id"),
        ({"limit": 10_001}, "limit"),
        ({"start": -1}, "start"),
    ],
)
async def test_wrong_parameters_are_named(api, parameters, words):
    answer = await api.get("/api/v1/logs", params=parameters)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
