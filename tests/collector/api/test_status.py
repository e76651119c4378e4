"""What the process says of itself, and who may make it read its files again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from fastapi import FastAPI

from collector.api.status import ProcessStatus, ReloadState, status_router
from collector.errors import ConfigError
from collector.storage.metrics.cardinality import Cardinality, Cost
from steersman.runtime.http import install_error_envelope

COSTS = [Cost("requests_total", 3), Cost("up", 1)]
TOKEN = "a-token"


@dataclass
class Process:
    reloads: int = 0
    error: ConfigError | None = None
    tops: list[int] = field(default_factory=list)

    async def reload(self) -> None:
        self.reloads += 1
        if self.error is not None:
            raise self.error

    def cardinality(self, top: int) -> Cardinality:
        self.tops.append(top)
        return Cardinality(4, 7, 2, 1_000, 9_000, COSTS[:top], [Cost("job", 2)], [Cost("job", 40)], [Cost("job=a", 3)])


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
async def client(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_error_envelope(app)
    status = ProcessStatus(
        version="1.2.3",
        started_ms=1_700_000_000_000,
        flags={"query.timeout": "2m"},
        config=lambda: "global: {}\n",
        retention=lambda: "15d",
        corruptions=lambda: 3,
        cardinality=process.cardinality,
        reload=process.reload,
        reloaded=ReloadState(1_700_000_000_000),
    )
    app.include_router(status_router(status, token=TOKEN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://c") as one:
        yield one


async def test_status_says_what_runs_and_how(client: httpx.AsyncClient) -> None:
    async def data(path: str) -> object:
        return (await client.get(f"/api/v1/{path}")).json()["data"]

    build = await data("status/buildinfo")
    assert isinstance(build, dict)
    assert (build["version"], build["application"], "features" in build) == ("1.2.3", "Steersman", False)
    assert await data("status/flags") == {"query.timeout": "2m"}
    assert await data("status/config") == {"yaml": "global: {}\n"}
    runtime = await data("status/runtimeinfo")
    assert isinstance(runtime, dict)
    assert runtime["startTime"] == runtime["lastConfigTime"] == "2023-11-14T22:13:20Z"
    assert (runtime["reloadConfigSuccess"], runtime["corruptionCount"], runtime["storageRetention"]) == (True, 3, "15d")
    assert isinstance(await data("features"), dict)


async def test_cost_of_metrics_and_labels_is_listed(client: httpx.AsyncClient, process: Process) -> None:
    found = (await client.get("/api/v1/status/tsdb")).json()["data"]
    assert found == {
        "headStats": {"numSeries": 4, "numLabelPairs": 7, "chunkCount": 2, "minTime": 1_000, "maxTime": 9_000},
        "seriesCountByMetricName": [{"name": "requests_total", "value": 3}, {"name": "up", "value": 1}],
        "labelValueCountByLabelName": [{"name": "job", "value": 2}],
        "memoryInBytesByLabelName": [{"name": "job", "value": 40}],
        "seriesCountByLabelValuePair": [{"name": "job=a", "value": 3}],
    }
    one = (await client.get("/api/v1/status/tsdb?limit=1")).json()["data"]["seriesCountByMetricName"]
    assert one == [{"name": "requests_total", "value": 3}]
    assert process.tops == [10, 1]


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("0", "limit must be a positive number"),
        ("x", "limit must be a positive number"),
        ("10001", "limit must not exceed 10000"),
    ],
)
async def test_wrong_limit_of_the_lists_is_refused(client: httpx.AsyncClient, limit: str, reason: str) -> None:
    answer = await client.get(f"/api/v1/status/tsdb?limit={limit}")
    assert (answer.status_code, answer.json()["error"]) == (400, reason)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_files_are_read_again_for_who_has_the_token(
    client: httpx.AsyncClient, process: Process, method: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer another"}):
        assert (await client.request(method, "/-/reload", headers=headers)).status_code == 401
    assert (await client.get("/-/reload")).status_code == 405
    assert process.reloads == 0
    answer = await client.request(method, "/-/reload", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, process.reloads) == (200, 1)


async def test_bad_file_is_reported_until_a_good_one_is_read(client: httpx.AsyncClient, process: Process) -> None:
    async def reload() -> httpx.Response:
        return await client.post("/-/reload", headers={"Authorization": f"Bearer {TOKEN}"})

    async def succeeded() -> bool:
        return bool((await client.get("/api/v1/status/runtimeinfo")).json()["data"]["reloadConfigSuccess"])

    process.error = ConfigError("rules.yml: 3: no such thing")
    answer = await reload()
    assert (answer.status_code, answer.text) == (500, "failed to reload config: rules.yml: 3: no such thing\n")
    assert not await succeeded()
    process.error = None
    assert (await reload()).status_code == 200
    assert await succeeded()
