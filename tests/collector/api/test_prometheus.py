from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, MutableMapping, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from collector.api.prometheus import prometheus_router
from collector.api.prometheus_encoding import matrix_data, series_json, timestamp_text
from collector.api.prometheus_floats import float_text, float_texts
from collector.api.prometheus_lookup import unescaped
from collector.api.prometheus_parameters import MAX_FORM_BYTES, parse_api_duration_ms, parse_time_ms
from collector.api.prometheus_targets import TargetSource
from collector.model.series import (
    ABSENT,
    METRIC_NAME,
    Block,
    Exemplar,
    Labels,
    Matcher,
    MetricMetadata,
    labels_of,
)
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine

TARGET = {
    "scrapePool": "shop", "scrapeUrl": "http://127.0.0.1:1/metrics", "labels": {"job": "api"}, "health": "up"
}  # fmt: skip
DROPPED = {"scrapePool": "shop", "discoveredLabels": {"__address__": "127.0.0.1:2"}}


def labels(name: str, **others: str) -> Labels:
    return labels_of({METRIC_NAME: name} | others)


def source() -> MemorySource:
    times = np.arange(0, 601, 10, dtype=np.int64) * 1000
    series = (labels("requests_total", job="api", text='"é"\n'), labels("requests_total", job="web"))
    values = np.array([np.arange(61.0), np.arange(61.0) * 2])
    values[1, 3:50] = ABSENT
    exemplar = Exemplar((("trace_id", "abc"),), 0.25, 30_500)
    return MemorySource(
        [Block(series, times, values)],
        exemplars=[(series[0], [exemplar])],
        metadata=[MetricMetadata("requests", "counter", "What was asked.", "")],
    )


def app_of(series: MemorySource, *, max_samples: int = 1_000_000) -> FastAPI:
    app = FastAPI()
    engine = Engine(series, max_samples=max_samples)
    targets = TargetSource(
        active=lambda: [TARGET],
        dropped=lambda: ([DROPPED], {"shop": 3}),
        pools=lambda: ["web", "shop"],
        metadata=lambda: [{"target": {"job": "api"}, "metric": "requests", "type": "counter", "help": "", "unit": ""}],
        alertmanagers=lambda: ["http://am/api/v2/alerts"],
    )
    app.include_router(prometheus_router(engine=engine, source=series, targets=targets))
    return app


def _client(series: MemorySource) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app_of(series)), base_url="http://api/api/v1")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with _client(source()) as one:
        yield one


async def test_instant_query_answers_a_vector_in_prometheus_json(client: httpx.AsyncClient) -> None:
    answer = await client.get("/query", params={"query": 'requests_total{job="api"} / 4', "time": "30.5"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": {"job": "api", "text": '"é"\n'}, "value": [30.5, "0.75"]}],
        },
    }


async def test_range_query_by_form_leaves_out_the_steps_without_a_value(client: httpx.AsyncClient) -> None:
    form = {"query": 'sum by (job) (requests_total{job="web"}) ', "start": "300", "end": "330", "step": "10s"}
    answer = (await client.post("/query_range", data=form)).json()
    series = {"metric": {"job": "web"}, "values": [[300, "4"], [310, "4"]]}
    assert answer["data"] == {"resultType": "matrix", "result": [series]}


async def test_parameters_in_the_url_count_with_post_too(client: httpx.AsyncClient) -> None:
    answer = await client.post("/query?time=1970-01-01T00:00:05.25Z", data={"query": "time()"})
    assert answer.json()["data"] == {"resultType": "scalar", "result": [5.25, "5.25"]}


async def test_range_vector_answers_its_samples(client: httpx.AsyncClient) -> None:
    answer = await client.get("/query", params={"query": 'requests_total{job="web"}[1m]', "time": "35"})
    values = answer.json()["data"]["result"][0]["values"]
    assert values == [[0, "0"], [10, "2"], [20, "4"]]


async def test_string_answers_itself(client: httpx.AsyncClient) -> None:
    answer = await client.get("/query", params={"query": '"a\\"b"', "time": "1"})
    assert answer.json()["data"] == {"resultType": "string", "result": [1, 'a"b']}


@pytest.mark.parametrize(
    ("path", "params", "status", "kind", "error"),
    [
        ("query", {"query": "sum("}, 400, "bad_data", 'invalid parameter "query": 1:5: parse error: unclosed left'),
        ("query", {}, 400, "bad_data", 'invalid parameter "query": 1:1: parse error: no expression found in input'),
        (
            "query",
            {"query": "x", "time": "noon"},
            400,
            "bad_data",
            'invalid parameter "time": invalid time value for \'time\': cannot parse "noon" to a valid timestamp',
        ),
        (
            "query",
            {"query": "x", "timeout": "1z"},
            400,
            "bad_data",
            'invalid parameter "timeout": cannot parse "1z" to',
        ),
        ("query", {"query": "x", "limit": "-1"}, 400, "bad_data", 'invalid parameter "limit": limit must be non-neg'),
        ("labels", {"limit": "x"}, 400, "bad_data", 'invalid parameter "limit": strconv.Atoi: parsing "x": invalid sy'),
        ("metadata", {"limit": "x"}, 400, "bad_data", "limit must be a number"),
        ("query", {"query": "x", "lookback_delta": "y"}, 400, "bad_data", "error parsing lookback delta duration: can"),
        ("labels", {"match[]": '{a=~".*"}'}, 400, "bad_data", "match[] must contain at least one non-empty matcher"),
        ("query_exemplars", {"query": "x", "start": "9", "end": "1"}, 400, "bad_data", "end timestamp must not be bef"),
        ("query", {"query": "x[step()]"}, 422, "execution", "the parser does not know step() in a duration"),
        (
            "query",
            {"query": "requests_total + on () requests_total", "time": "10"},
            422,
            "execution",
            "found duplicate series for the match group {} on the right hand-side of the operation: [",
        ),
        ("query_range", {"query": "x"}, 400, "bad_data", 'invalid parameter "start": cannot parse "" to a valid'),
        (
            "query_range",
            {"query": "x", "start": "10", "end": "5", "step": "1"},
            400,
            "bad_data",
            'invalid parameter "end": end timestamp must not be before start time',
        ),
        (
            "query_range",
            {"query": "x", "start": "0", "end": "5", "step": "0"},
            400,
            "bad_data",
            'invalid parameter "step": zero or negative query resolution step widths are not accepted.',
        ),
        (
            "query_range",
            {"query": "x", "start": "0", "end": "11001", "step": "1"},
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries.",
        ),
        (
            "query_range",
            {"query": "x[1m]", "start": "0", "end": "1", "step": "1"},
            400,
            "bad_data",
            'invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or',
        ),
        ("series", {}, 400, "bad_data", "no match[] parameter provided"),
        (
            "series",
            {"match[]": "{}"},
            400,
            "bad_data",
            'invalid parameter "match[]": match[] must contain at least one non-empty matcher',
        ),
        ("series", {"match[]": "sum(x)"}, 400, "bad_data", 'invalid parameter "match[]": 1:1: parse error: expected'),
    ],
)
async def test_bad_request_is_refused_as_prometheus_refuses_it(
    client: httpx.AsyncClient, path: str, params: dict[str, str], status: int, kind: str, error: str
) -> None:
    answer = await client.get(f"/{path}", params=params)
    body = answer.json()
    assert (answer.status_code, body["status"], body["errorType"]) == (status, "error", kind)
    assert body["error"].startswith(error)


async def test_range_of_exactly_eleven_thousand_steps_is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.get("/query_range", params={"query": "1", "start": "0", "end": "11000", "step": "1"})
    assert len(answer.json()["data"]["result"][0]["values"]) == 11_001


async def test_query_over_the_sample_limit_is_refused() -> None:
    transport = httpx.ASGITransport(app_of(source(), max_samples=10))
    async with httpx.AsyncClient(transport=transport, base_url="http://api/api/v1") as client:
        answer = await client.get("/query", params={"query": "rate(requests_total[5m])", "time": "600"})
    assert answer.status_code == 422
    assert answer.json() == {
        "status": "error",
        "errorType": "execution",
        "error": "query processing would load too many samples into memory in query execution",
    }


async def test_query_over_its_timeout_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/query", params={"query": "sum(requests_total)", "timeout": "0"})
    assert answer.status_code == 503
    assert answer.json()["errorType"] == "timeout"


async def test_form_over_its_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/query", data={"query": "x" * MAX_FORM_BYTES})
    assert answer.status_code == 413


async def test_form_that_is_no_utf8_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/query?query=%ff")
    assert answer.status_code == 400


async def test_labels_series_and_values_are_listed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/labels")).json()["data"] == [METRIC_NAME, "job", "text"]
    values = await client.get("/label/job/values", params={"match[]": 'requests_total{text=""}'})
    assert values.json()["data"] == ["web"]
    found = await client.get("/series", params={"match[]": ['{job="web"}', "nothing", '{job=~"w.*"}']})
    assert found.json()["data"] == [{METRIC_NAME: "requests_total", "job": "web"}]
    assert (await client.get("/labels", params={"start": "9999"})).json()["data"] == []
    assert (await client.get("/label/not.there/values")).json() == {"status": "success", "data": []}


async def test_answer_cut_to_its_limit_says_so(client: httpx.AsyncClient) -> None:
    truncated = ["results truncated due to limit"]
    for path, params, kept in (
        ("/labels", {}, [METRIC_NAME]),
        ("/label/job/values", {}, ["api"]),
        ("/series", {"match[]": '{job="web"}'}, [{METRIC_NAME: "requests_total", "job": "web"}]),
    ):
        answer = (await client.get(path, params={"limit": "1"} | params)).json()
        assert answer["data"] == kept
        assert answer.get("warnings") == (truncated if path != "/series" else None)
    for params in ({"query": "requests_total", "time": "0"}, {"query": "requests_total[1m]", "time": "30"}):
        answer = (await client.get("/query", params=params | {"limit": "1"})).json()
        assert len(answer["data"]["result"]) == 1
        assert answer["warnings"] == truncated
        assert "warnings" not in (await client.get("/query", params=params | {"limit": "2"})).json()


async def test_query_says_what_it_cost_to_who_asks(client: httpx.AsyncClient) -> None:
    params = {"query": "sum(requests_total)", "start": "0", "end": "20", "step": "10"}
    assert "stats" not in (await client.get("/query_range", params=params)).json()["data"]
    for wanted, per_step in (("1", None), ("all", [[0, 2], [10, 2], [20, 2]])):
        stats = (await client.get("/query_range", params=params | {"stats": wanted})).json()["data"]["stats"]
        assert stats["samples"]["totalQueryableSamples"] == 6
        assert stats["samples"].get("totalQueryableSamplesPerStep") == per_step
        assert stats["timings"]["execTotalTime"] >= stats["timings"]["evalTotalTime"] > 0
    scalar = (await client.get("/query", params={"query": "1", "time": "1", "stats": "1"})).json()["data"]
    assert scalar["result"] == [1, "1"]
    assert scalar["stats"]["samples"]["totalQueryableSamples"] == 0


async def test_query_says_what_is_doubtful_beside_its_result(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/query", params={"query": "quantile(2, requests_total)", "time": "10"})).json()
    assert answer["warnings"] == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]


async def test_metadata_and_exemplars_are_listed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/metadata")).json()["data"] == {
        "requests": [{"type": "counter", "help": "What was asked.", "unit": ""}]
    }
    for params in ({"metric": "other"}, {"limit": "0"}):
        assert (await client.get("/metadata", params=params)).json()["data"] == {}
    span = {"query": "sum(rate(requests_total[5m])) / 2", "start": "0", "end": "100"}
    assert (await client.get("/query_exemplars", params=span)).json()["data"] == [
        {
            "seriesLabels": {METRIC_NAME: "requests_total", "job": "api", "text": '"é"\n'},
            "exemplars": [{"labels": {"trace_id": "abc"}, "value": "0.25", "timestamp": 30.5}],
        }
    ]
    assert (await client.get("/query_exemplars", params={"query": "1 + 1"})).status_code == 204


async def test_targets_are_listed_by_state_and_pool(client: httpx.AsyncClient) -> None:
    both = (await client.get("/targets")).json()["data"]
    assert both == {"activeTargets": [TARGET], "droppedTargets": [DROPPED], "droppedTargetCounts": {"shop": 3}}
    dropped = (await client.get("/targets", params={"state": "dropped"})).json()["data"]
    assert dropped == both | {"activeTargets": []}
    active = (await client.get("/targets", params={"state": "active", "scrapePool": "other"})).json()["data"]
    assert active == {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": None}
    assert (await client.get("/scrape_pools")).json()["data"] == {"scrapePools": ["shop", "web"]}
    assert (await client.get("/alertmanagers")).json()["data"] == {
        "activeAlertmanagers": [{"url": "http://am/api/v2/alerts"}],
        "droppedAlertmanagers": [],
    }


async def test_metadata_of_targets_is_chosen_by_metric_and_by_target(client: httpx.AsyncClient) -> None:
    about = {"target": {"job": "api"}, "type": "counter", "help": "", "unit": ""}
    everything = (await client.get("/targets/metadata", params={"match_target": '{job="api"}'})).json()["data"]
    assert everything == [about | {"metric": "requests"}]
    assert (await client.get("/targets/metadata", params={"metric": "requests"})).json()["data"] == [about]
    for params in ({"metric": "other"}, {"match_target": '{job="web"}'}, {"limit": "0"}):
        assert (await client.get("/targets/metadata", params=params)).json()["data"] == []


async def test_query_is_formatted(client: httpx.AsyncClient) -> None:
    answer = await client.get("/format_query", params={"query": "sum(rate(x[5m]))by(job)"})
    assert answer.json() == {"status": "success", "data": "sum by (job) (rate(x[5m]))"}


async def test_query_is_parsed_into_the_tree_that_prometheus_draws(client: httpx.AsyncClient) -> None:
    query = 'sum without (a) (rate(x{b="c"}[5m] offset -1m)) / on (d) group_left (e) (y @ end() > bool 2)'
    tree = (await client.get("/parse_query", params={"query": query})).json()["data"]
    plain = {"anchored": False, "smoothed": False}
    assert tree["matching"] == {
        "card": "many-to-one", "labels": ["d"], "on": True, "include": ["e"], "fillValues": {"lhs": None, "rhs": None}
    }  # fmt: skip
    assert (tree["type"], tree["op"], tree["bool"]) == ("binaryExpr", "/", False)
    total = tree["lhs"]
    assert {key: total[key] for key in ("type", "op", "grouping", "without", "param")} == {
        "type": "aggregation", "op": "sum", "grouping": ["a"], "without": True, "param": None
    }  # fmt: skip
    assert total["expr"]["func"] == {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"}
    assert total["expr"]["args"] == [
        plain
        | {
            "type": "matrixSelector",
            "name": "x",
            "range": 300_000,
            "offset": -60_000,
            "matchers": [
                {"name": "b", "value": "c", "type": "="},
                {"name": METRIC_NAME, "value": "x", "type": "="},
            ],
            "timestamp": None,
            "startOrEnd": None,
        }
    ]
    comparison = tree["rhs"]["expr"]
    assert (comparison["op"], comparison["bool"], comparison["matching"]) == (">", True, None)
    assert (comparison["lhs"]["startOrEnd"], comparison["rhs"]) == ("end", {"type": "numberLiteral", "val": "2"})


async def test_page_of_another_origin_may_read(client: httpx.AsyncClient) -> None:
    plain = await client.get("/labels")
    assert "access-control-allow-origin" not in plain.headers
    for method in ("GET", "OPTIONS"):
        answer = await client.request(method, "/labels", headers={"Origin": "http://page"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert answer.headers["vary"] == "Origin"
    refused = await client.get("/series", headers={"Origin": "http://page"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, "*")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_answer_is_compressed_for_who_asks(client: httpx.AsyncClient, encoding: str) -> None:
    params = {"query": "requests_total", "start": "0", "end": "600", "step": "1"}
    clear = await client.get("/query_range", params=params, headers={"Accept-Encoding": "identity"})
    packed = await client.get("/query_range", params=params, headers={"Accept-Encoding": f"br, {encoding};q=0.5"})
    assert ("content-encoding" in clear.headers, packed.headers["content-encoding"]) == (False, encoding)
    assert packed.json() == clear.json()
    assert int(packed.headers["content-length"]) < int(clear.headers["content-length"]) / 3


async def test_large_answer_comes_in_pieces_and_is_the_same() -> None:
    times = np.arange(500, dtype=np.int64) * 1000
    values = np.arange(1000.0 * 500).reshape(1000, 500) / 7
    series = tuple(labels("large", n=f"{number:04}") for number in range(1000))
    async with _client(MemorySource([Block(series, times, values)])) as client:
        params = {"query": "large", "start": "0", "end": "499", "step": "1"}
        answer = await client.get("/query_range", params=params, headers={"Accept-Encoding": "identity"})
        assert "content-length" not in answer.headers
        result = answer.json()["data"]["result"]
        instant = (await client.get("/query", params={"query": "large[500s]", "time": "499"})).json()["data"]["result"]
    assert [one["metric"]["n"] for one in result] == [f"{number:04}" for number in range(1000)]
    assert [float(value) for _, value in result[999]["values"]] == values[999].tolist()
    assert instant[999] == result[999]


@pytest.mark.parametrize(
    ("escaped", "name"),
    [
        ("job", "job"),
        ("U__http_2e_status", "http.status"),
        ("U__a__b", "a_b"),
        ("U__caf_e9_", "café"),
        ("U___1F600_x", "😀x"),
        ("U__lone_", "U__lone_"),
        ("U__a_d800_", "U__a_d800_"),
    ],
)
def test_escaped_label_name_is_read(escaped: str, name: str) -> None:
    assert unescaped(escaped) == name


class _HeldSource(MemorySource):
    """Answers only once `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = threading.Event(), threading.Event()

    def select(self, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int) -> list[Block]:
        self.asked.set()
        assert self.released.wait(10)
        return []


async def test_event_loop_goes_on_while_a_query_is_evaluated() -> None:
    held = _HeldSource()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(held)), base_url="http://api/api/v1") as client:
        slow = asyncio.create_task(client.get("/query", params={"query": "x"}))
        assert await asyncio.to_thread(held.asked.wait, 10)
        assert (await client.get("/targets")).status_code == 200
        assert not slow.done()
        held.released.set()
        assert (await slow).json()["data"]["result"] == []


async def test_query_ends_when_nobody_waits_for_it() -> None:
    held, gone = _HeldSource(), asyncio.Event()
    sent: list[MutableMapping[str, Any]] = []
    arriving: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if arriving:
            return arriving.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/api/v1/query", "query_string": b"query=x-x", "headers": []}
    asking = asyncio.create_task(app_of(held)(scope, receive, send))
    assert await asyncio.to_thread(held.asked.wait, 10)
    gone.set()
    for _ in range(5):  # the watching task runs in this loop
        await asyncio.sleep(0)
    held.released.set()
    await asking
    assert sent[0]["status"] == 503
    assert b'"errorType":"canceled"' in sent[1]["body"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (100.0, "100"),
        (1e16, "10000000000000000"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (0.00001, "0.00001"),
        (1.5e-6, "0.0000015"),
        (1.5e-7, "1.5e-07"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
    ],
)
def test_value_is_written_as_go_writes_it(value: float, text: str) -> None:
    assert float_text(value) == text
    series = series_json(((("a", "1.0"),),), np.array([1_500], dtype=np.int64), np.array([[value]]))
    assert b"".join(matrix_data(series)) == (
        f'{{"resultType":"matrix","result":[{{"metric":{{"a":"1.0"}},"values":[[1.500,"{text}"]]}}]}}'.encode()
    )


def test_every_float_is_written_so_that_it_reads_back() -> None:
    random = np.random.default_rng(7)
    bits = random.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    scaled = random.random(20_000) * 10.0 ** random.integers(-12, 25, 20_000)
    values = np.concatenate([bits[~np.isnan(bits)], scaled, np.floor(scaled), [2.0**53, 2.0**53 + 2, 1e-6, 9e-7]])
    texts = float_texts(values).to_pylist()
    assert [float(text) for text in texts] == values.tolist()
    assert texts == [float_text(value) for value in values.tolist()]


@pytest.mark.parametrize(("timestamp_ms", "text"), [(0, "0"), (1_005, "1.005"), (2_000, "2"), (-1_500, "-1.500")])
def test_timestamp_is_written_in_seconds(timestamp_ms: int, text: str) -> None:
    assert timestamp_text(timestamp_ms) == text


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1435781451.781", 1_435_781_451_781),
        ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
        ("2015-07-01T22:10:51+02:00", 1_435_781_451_000),
        ("-5", -5_000),
        ("1e3", 1_000_000),
    ],
)
def test_time_is_read(text: str, time_ms: int) -> None:
    assert parse_time_ms(text) == time_ms


@pytest.mark.parametrize("text", ["", "now", "NaN", "Inf", "2015-07-01", "2015-13-01T00:00:00Z", "2015-07-01T20:10:51"])
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="to a valid timestamp"):
        parse_time_ms(text)


@pytest.mark.parametrize(("text", "duration_ms"), [("15", 15_000), ("0.25", 250), ("1h30m", 5_400_000), ("20ms", 20)])
def test_duration_is_read(text: str, duration_ms: int) -> None:
    assert parse_api_duration_ms(text) == duration_ms


@pytest.mark.parametrize("text", ["", "5x", "1e400", "NaN", "-5m"])
def test_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="to a valid duration"):
        parse_api_duration_ms(text)
