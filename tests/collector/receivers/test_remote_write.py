"""Remote write 1.0: what is stored of a request, and what is answered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cramjam
import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from collector.errors import BadRequestError, LimitExceededError, TemporaryError
from collector.model.series import (
    ABSENT_BITS,
    METRIC_NAME,
    STALE,
    STALE_BITS,
    Exemplar,
    Matcher,
    MatchOp,
    RefusalReason,
)
from collector.pipeline.admission import Admission, Limits
from collector.receivers.remote_write import RemoteWrite
from collector.receivers.remote_write_decode import WriteDecoder, histogram_of
from collector.receivers.remote_write_series import InvalidLabelsError, RemoteSeriesTable, checked_labels
from collector.receivers.remote_write_tables import Samples, TableBuilder
from collector.receivers.remote_write_wire import MAX_SERIES, decode, decompressed, message_class
from collector.storage.metrics.store import MetricStore

NOW_MS = time.time_ns() // 1_000_000
Pairs = Sequence[tuple[str, str]]
Point = tuple[float, int]


def series(name: str, **labels: str) -> Pairs:
    return sorted(({METRIC_NAME: name, "job": "api", "instance": "i1"} | labels).items())


def add(request: Any, pairs: Pairs, points: Iterable[Point] = ()) -> Any:
    one = request.timeseries.add()
    for name, value in pairs:
        one.labels.add(name=name, value=value)
    for value, timestamp_ms in points:
        one.samples.add(value=value, timestamp=timestamp_ms)
    return one


def request_of(*all_series: tuple[Pairs, Iterable[Point]]) -> bytes:
    request = message_class("WriteRequest")()
    for pairs, points in all_series:
        add(request, pairs, points)
    return bytes(request.SerializeToString())


@pytest.fixture
def write(metric_store: MetricStore) -> RemoteWrite:
    return remote_write(metric_store)


def remote_write(store: Any, **limits: int) -> RemoteWrite:
    return RemoteWrite(store, metadata=getattr(store, "set_metadata", list), admission=Admission(Limits(**limits)))


async def post(write: RemoteWrite, message: bytes, *, raw: bool = False, **headers: str) -> httpx.Response:
    sent = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    body = message if raw else bytes(cramjam.snappy.compress_raw(message))
    app = Starlette(routes=[write.route()])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://c") as client:
        return await client.post("/api/v1/write", content=body, headers=sent)


async def test_samples_are_stored_when_they_are_acknowledged(write: RemoteWrite, query: Any) -> None:
    one, two = series("up"), series("load", cpu="0")
    message = request_of((one, [(1.0, NOW_MS - 1000), (0.0, NOW_MS)]), (two, [(float("-inf"), NOW_MS)]))
    answer = await post(write, message)
    assert (answer.status_code, answer.content) == (204, b"")
    assert query.values("up") == {tuple(one): [1.0, 0.0]}
    assert query.values("load") == {tuple(two): [float("-inf")]}
    assert (write.stats.requests, write.stats.samples, write.stats.refused) == (1, 3, 0)


async def test_staleness_marker_keeps_its_bits_and_ours_for_absence_is_taken_as_a_nan(
    write: RemoteWrite, query: Any
) -> None:
    absent = float(np.array([ABSENT_BITS], np.uint64).view(np.float64)[0])
    points = [(1.0, NOW_MS - 3), (absent, NOW_MS - 2), (float(STALE), NOW_MS - 1)]
    assert (await post(write, request_of((series("up"), points)))).status_code == 204
    bits = query.bits("up")
    assert len(bits) == 3
    assert bits[2] == STALE_BITS
    assert np.isnan(np.array(bits[1:2], np.uint64).view(np.float64)).all()


async def test_same_request_again_is_no_error(write: RemoteWrite, query: Any) -> None:
    message = request_of((series("up"), [(1.0, NOW_MS)]))
    assert [(await post(write, message)).status_code for _ in range(2)] == [204, 204]
    assert query.values("up") == {tuple(series("up")): [1.0]}


async def test_what_cannot_be_stored_is_refused_after_the_rest_is_stored(write: RemoteWrite, query: Any) -> None:
    await post(write, request_of((series("up"), [(1.0, NOW_MS)])))
    message = request_of(
        (series("up"), [(2.0, NOW_MS)]),
        (series("ahead"), [(1.0, NOW_MS + 86_400_000)]),
        (series("old"), [(1.0, NOW_MS - 86_400_000)]),
        (series("fine"), [(3.0, NOW_MS)]),
    )
    answer = await post(write, message)
    assert answer.status_code == 400
    for reason in (RefusalReason.DUPLICATE, RefusalReason.TOO_FAR_AHEAD, RefusalReason.TOO_OLD):
        assert answer.text.count(reason.value) == 1
    assert query.values("fine") == {tuple(series("fine")): [3.0]}
    assert query.values("up") == {tuple(series("up")): [1.0]}
    assert write.stats.refused == 3


async def test_sample_older_than_the_window_is_refused_in_prometheus_words(tmp_path: Path) -> None:
    store = MetricStore.open(tmp_path / "window", retention_s=3600, out_of_order_s=10)
    try:
        write = remote_write(store)
        await post(write, request_of((series("up"), [(1.0, NOW_MS)])))
        assert (await post(write, request_of((series("up"), [(1.0, NOW_MS - 9_000)])))).status_code == 204
        answer = await post(write, request_of((series("up"), [(1.0, NOW_MS - 11_000)])))
    finally:
        store.close()
    assert answer.status_code == 400
    assert answer.text.startswith("out of order sample: ")


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("job", "x")], 'invalid metric name or labels, got {job="x"}'),
        ([(METRIC_NAME, "x"), ("", "y")], 'invalid metric name or labels, got {="y",__name__="x"}'),
        ([], "invalid metric name or labels, got {}"),
        (
            [(METRIC_NAME, "x"), ("a", "1"), ("a", "2")],
            'invalid labels for series, labels {__name__="x",a="1",a="2"}, duplicated label a',
        ),
    ],
)
async def test_series_with_wrong_labels_is_refused_and_the_others_stored(
    write: RemoteWrite, query: Any, pairs: Pairs, reason: str
) -> None:
    answer = await post(write, request_of((pairs, [(1.0, NOW_MS)]), (series("fine"), [(1.0, NOW_MS)])))
    assert (answer.status_code, answer.text) == (400, reason + "\n")
    assert query.last("fine") == 1.0
    assert write.stats.invalid == 1


def test_labels_are_taken_in_any_order_and_empty_ones_as_absent() -> None:
    assert checked_labels([("job", "x"), (METRIC_NAME, "up"), ("gone", "")]) == ((METRIC_NAME, "up"), ("job", "x"))
    with pytest.raises(InvalidLabelsError):
        checked_labels([(METRIC_NAME, "")])


async def test_label_that_is_no_utf8_is_refused(write: RemoteWrite) -> None:
    message = request_of(([(METRIC_NAME, "x"), ("a", "?")], [(1.0, NOW_MS)])).replace(b"?", b"\xff")
    answer = await post(write, message)
    assert answer.status_code == 400
    assert "Label" in answer.text


async def test_exemplars_and_metadata_are_kept(write: RemoteWrite, metric_store: MetricStore) -> None:
    pairs = series("requests_total")
    await post(write, request_of((pairs, [(1.0, NOW_MS)])))
    request = message_class("WriteRequest")()
    sent = add(request, pairs).exemplars.add(value=0.5, timestamp=NOW_MS)
    sent.labels.add(name="trace_id", value="abc")
    request.metadata.add(type=1, metric_family_name="requests_total", help="All.", unit="")
    assert (await post(write, request.SerializeToString())).status_code == 204
    found = metric_store.exemplars([Matcher(METRIC_NAME, MatchOp.EQUAL, "requests_total")], min_ms=0, max_ms=1 << 60)
    assert found == [(tuple(pairs), [Exemplar((("trace_id", "abc"),), 0.5, NOW_MS)])]
    assert [(one.name, one.kind, one.help) for one in metric_store.metadata()] == [
        ("requests_total", "counter", "All.")
    ]


def histogram(**fields: Any) -> Any:
    return message_class("Histogram")(
        **{
            "count_int": 12,
            "sum": 18.4,
            "schema": 1,
            "zero_threshold": 0.001,
            "zero_count_int": 2,
            "positive_spans": [{"offset": 0, "length": 2}, {"offset": 1, "length": 2}],
            "positive_deltas": [1, 1, -1, 0],
            "negative_spans": [{"offset": -2, "length": 1}, {"offset": 0, "length": 1}],
            "negative_deltas": [3, -1],
            "timestamp": NOW_MS,
        }
        | fields
    )


async def test_native_histogram_of_integers_is_stored(write: RemoteWrite, metric_store: MetricStore) -> None:
    request = message_class("WriteRequest")()
    add(request, series("latency"), [(7.0, NOW_MS - 10)]).histograms.append(histogram())
    assert (await post(write, request.SerializeToString())).status_code == 204
    matchers = [Matcher(METRIC_NAME, MatchOp.EQUAL, "latency")]
    (found,) = metric_store.select_histograms(matchers, min_ms=0, max_ms=1 << 60)
    assert (found.labels, found.timestamps_ms.tolist()) == (tuple(series("latency")), [NOW_MS])
    stored = found.histograms[0]
    assert (stored.schema, stored.count, stored.sum, stored.zero_count) == (1, 12.0, 18.4, 2.0)
    assert (stored.positive_index.tolist(), stored.positive.tolist()) == ([0, 1, 3, 4], [1.0, 2.0, 1.0, 1.0])
    assert (stored.negative_index.tolist(), stored.negative.tolist()) == ([-2, -1], [3.0, 2.0])


def test_native_histogram_of_floats_has_absolute_counts() -> None:
    sent = histogram(
        count_float=5.5, zero_count_float=0.5, positive_counts=[1, 2, 1, 1], positive_deltas=[], negative_spans=[],
        negative_deltas=[], reset_hint=3,
    )  # fmt: skip
    found = histogram_of(sent)
    assert (found.count, found.positive.tolist(), found.gauge) == (5.5, [1.0, 2.0, 1.0, 1.0], True)
    assert histogram_of(histogram(sum=float(STALE))).stale


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"positive_deltas": [1]}, "positive side: spans need 4 buckets, have 1 buckets"),
        ({"positive_spans": [{"offset": 2**31 - 2, "length": 4}]}, "positive side: bucket .* is out of range"),
        ({"schema": 9}, "schema 9"),
        ({"positive_deltas": [1, -5, 1, 0]}, "positive bucket"),
        ({"count_int": 1}, "less than its buckets hold"),
    ],
)
def test_native_histogram_that_contradicts_itself_is_refused(fields: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(BadRequestError, match=reason):
        histogram_of(histogram(**fields))


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"Content_Type": "application/x-protobuf;proto=prometheus.WriteRequest"}, 204, ""),
        ({"Content_Type": ""}, 204, ""),
        ({"Content_Encoding": ""}, 204, ""),
        (
            {"Content_Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"},
            415,
            (
                "io.prometheus.write.v2.Request protobuf message is not accepted by this server; "
                "accepted [prometheus.WriteRequest]\n"
            ),
        ),
        ({"Content_Type": "application/x-protobuf;proto=other"}, 415, "got application/x-protobuf;proto=other content"),
        ({"Content_Type": "text/plain"}, 415, "expected application/x-protobuf as the first (media) part, got text/p"),
        ({"Content_Encoding": "gzip"}, 415, "gzip encoding (compression) is not accepted by this server; only snappy"),
    ],
)
async def test_headers_decide_what_is_understood(
    write: RemoteWrite, headers: dict[str, str], status: int, text: str
) -> None:
    answer = await post(write, request_of((series("up"), [(1.0, NOW_MS)])), **headers)
    assert answer.status_code == status
    assert answer.text.startswith(text)


@pytest.mark.parametrize("body", [b"", b"\xff" * 12, b"\x05hello", bytes(cramjam.snappy.compress_raw(b"\x0a\x05abc"))])
async def test_body_that_is_none_is_refused(write: RemoteWrite, body: bytes) -> None:
    assert (await post(write, body, raw=True)).status_code == 400


async def test_size_is_known_before_anything_is_decompressed() -> None:
    with pytest.raises(LimitExceededError, match="request of 4294967295 bytes decompressed exceeds the limit of 100"):
        decompressed(b"\xff\xff\xff\xff\x0f" + b"x", max_bytes=100)


async def test_bodies_over_a_limit_are_refused(metric_store: MetricStore) -> None:
    message = request_of((series("up"), [(1.0, NOW_MS + number) for number in range(1000)]))
    assert (await post(remote_write(metric_store, max_request_bytes=1000), message)).status_code == 413
    assert (await post(remote_write(metric_store, max_body_bytes=100), message)).status_code == 413


async def test_request_of_too_many_series_is_refused_before_they_are_looked_at(write: RemoteWrite) -> None:
    answer = await post(write, b"\x0a\x00" * (MAX_SERIES + 1))
    assert (answer.status_code, answer.text) == (413, "request of 100001 series exceeds the limit of 100000\n")


async def test_series_of_too_many_labels_is_refused_in_few_words(write: RemoteWrite, query: Any) -> None:
    many = [(METRIC_NAME, "x"), *((f"l{number}", "v") for number in range(1_001))]
    long = [("job", "y" * 10_000)]
    answer = await post(write, request_of(*((pairs, [(1.0, NOW_MS)]) for pairs in (many, long, series("fine")))))
    assert answer.status_code == 400
    assert "a series has 1002 labels, more than 1000" in answer.text
    assert len(answer.text) < 1_000
    assert query.last("fine") == 1.0


async def test_web_page_writes_nothing(write: RemoteWrite, query: Any) -> None:
    answer = await post(write, request_of((series("up"), [(1.0, NOW_MS)])), Origin="http://page")
    assert (answer.status_code, query.values("up")) == (403, {})


async def test_too_many_at_once_are_told_to_come_back(metric_store: MetricStore) -> None:
    write = remote_write(metric_store, max_requests=1)
    message = request_of((series("up"), [(1.0, NOW_MS)]))
    with write.admission.request():
        answer = await post(write, message)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


class _FailingSink:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def append_tables(self, _tables: object) -> None:
        raise self.error


async def test_store_that_cannot_write_makes_the_sender_try_again() -> None:
    write = remote_write(_FailingSink(TemporaryError("the disk is full")))
    answer = await post(write, request_of((series("up"), [(1.0, NOW_MS)])))
    assert (answer.status_code, answer.text) == (503, "the disk is full\n")


def test_series_of_one_target_come_in_one_table_whose_labels_are_the_same_again() -> None:
    decoder = WriteDecoder()
    all_series = [series("up"), series("load"), series("load", instance="i2")]
    tables = [
        decoder.decode(request_of(*((pairs, [(1.0, at)]) for pairs in all_series))).tables for at in (5_000, 6_000)
    ]
    assert [[len(table.labels) for table in each] for each in tables] == [[2, 1], [2, 1]]
    assert all(first.labels is second.labels for first, second in zip(*tables, strict=True))
    assert len({table.target for table in tables[0]}) == 2


def test_series_that_share_no_timestamps_make_no_table_full_of_holes() -> None:
    message = request_of(*((series("x", n=str(number)), [(1.0, 1000 * number)]) for number in range(100)))
    tables = WriteDecoder().decode(message).tables
    assert sum(table.values.size for table in tables) == 100


def test_series_are_told_apart_when_they_are_many() -> None:
    table = RemoteSeriesTable()
    first = table.add(b"a", [(METRIC_NAME, "x")], first_ms=0)
    assert table.find([b"a", b"b"]) == [first, None]


_NAMES = st.sampled_from(["up", "load", "x"])
_POINTS = st.lists(st.tuples(st.sampled_from([0.0, 1.5, float("nan"), -1.0]), st.integers(1, 6)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_NAMES, st.sampled_from(["i1", "i2"]), _POINTS), max_size=8))
def test_tables_hold_the_first_value_of_each_series_and_timestamp(
    sent: list[tuple[str, str, list[Point]]],
) -> None:
    expected: dict[tuple[Any, int], float] = {}
    conflicts = 0
    for name, instance, points in sent:
        for value, at in points:
            key = (tuple(series(name, instance=instance)), at)
            first = expected.setdefault(key, value)
            conflicts += np.float64(first).tobytes() != np.float64(value).tobytes()
    message = request_of(*((series(name, instance=instance), points) for name, instance, points in sent))
    decoded = WriteDecoder().decode(message)
    found = {
        (labels, at): value
        for table in decoded.tables
        for labels, row in zip(table.labels, table.values.tolist(), strict=True)
        for at, value in zip(table.timestamps_ms.tolist(), row, strict=True)
        if np.float64(value).view(np.uint64) != ABSENT_BITS
    }
    assert {key: str(value) for key, value in found.items()} == {key: str(value) for key, value in expected.items()}
    assert decoded.reasons.total() == conflicts
    for table in decoded.tables:
        assert (np.diff(table.timestamps_ms) > 0).all()


def test_histogram_takes_its_place_among_floats() -> None:
    request = message_class("WriteRequest")()
    one = add(request, series("x"), [(1.0, 1000), (2.0, 3000)])
    one.histograms.append(histogram(timestamp=2000))
    one.histograms.append(histogram(timestamp=3000))  # there is a float already
    decoded = WriteDecoder().decode(request.SerializeToString())
    (table,) = decoded.tables
    assert [(row, column) for row, column, _ in table.histograms] == [(0, 1)]
    assert table.values[0].view(np.uint64)[1] == ABSENT_BITS
    assert decoded.reasons == {RefusalReason.DUPLICATE.value: 1}


def test_request_without_series_is_nothing() -> None:
    assert decode(b"").label_bytes == []
    empty = np.empty(0, np.int64)
    assert TableBuilder().tables(Samples([], empty, empty, np.empty(0))) == ([], 0)
