from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from collector.api.federation import federation_router
from collector.api.federation_format import PROTOBUF_TYPE, TEXT_TYPE, UTF8_TYPE, escaped, format_for
from collector.model.histogram import STALE_HISTOGRAM, HistogramSeries, NativeHistogram
from collector.model.series import (
    ABSENT,
    METRIC_NAME,
    STALE,
    Block,
    Labels,
    SampleTable,
    SeriesSource,
    labels_of,
)
from collector.query.memory import MemorySource
from collector.receivers.exposition_line import Series
from collector.receivers.exposition_protobuf import ProtobufParser
from collector.receivers.native_options import NativeOptions
from collector.storage.metrics.store import MetricStore

NOW_MS = 1_800_000_000_000
OLD_MS = NOW_MS - 400_000  # before the lookback


def labels(name: str, **others: str) -> Labels:
    return labels_of({METRIC_NAME: name} | others)


HISTOGRAM = NativeHistogram(
    1, 9.0, 4.5, 0.001, 1.0, np.array([-1, 0, 4], np.int32), np.array([3.0, 2.0, 1.0]), np.array([2], np.int32),
    np.array([2.0]),
)  # fmt: skip
EMPTY = NativeHistogram(0, 0.0, 0.0, 0.0, 0.0, *([np.empty(0, np.int32), np.empty(0)] * 2), gauge=True)


async def asked(
    source: SeriesSource, *chosen: str, external: dict[str, str] | None = None, accept: str = "*/*"
) -> httpx.Response:
    app = FastAPI()
    app.include_router(
        federation_router(source, lookback_ms=300_000, external_labels=lambda: external or {}, clock=lambda: NOW_MS)
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://c") as client:
        return await client.get("/federate", params={"match[]": list(chosen)}, headers={"Accept": accept})


async def federated(*chosen: str, external: dict[str, str] | None = None, accept: str = "*/*") -> httpx.Response:
    times = np.array([OLD_MS, NOW_MS - 2000, NOW_MS - 1000])
    values = np.array([[1, 2, 3.5], [1, 5, STALE], [1, 2, ABSENT], [1, ABSENT, ABSENT], [0, 0, np.inf], [1, 1, 1]])
    series = (
        labels("load", job="a", instance="i", text='"\\\n'),
        labels("load", job="ended"),
        labels("load", job="late", site="own"),
        labels("load", job="old"),
        labels("http.odd", job="a"),
        labels("", job="nameless"),
    )
    ends = np.array([NOW_MS - 500, NOW_MS - 400], np.int64)
    histograms = [
        HistogramSeries(labels("native", job="a"), ends, (EMPTY, HISTOGRAM)),
        HistogramSeries(labels("native", job="b"), ends[:1], (EMPTY,)),
        HistogramSeries(labels("native", job="ended"), ends, (HISTOGRAM, STALE_HISTOGRAM)),
        HistogramSeries(labels("load", job="became"), ends, (HISTOGRAM, HISTOGRAM)),
    ]
    became = Block((labels("load", job="became"),), times[1:2], np.array([[1.0]]))
    source = MemorySource([Block(series, times, values), became], histograms=histograms)
    return await asked(source, *chosen, external=external, accept=accept)


async def test_newest_sample_of_each_series_is_told_under_its_own_labels_and_the_external_ones() -> None:
    answer = await federated('{job=~".+"}', "load", external={"site": "here"})
    assert answer.headers["content-type"] == TEXT_TYPE
    assert answer.text.splitlines() == [
        "# TYPE http_odd untyped",
        f'http_odd{{job="a",instance="",site="here"}} +Inf {NOW_MS - 1000}',
        "# TYPE load untyped",
        f'load{{instance="i",job="a",text="\\"\\\\\\n",site="here"}} 3.5 {NOW_MS - 1000}',
        f'load{{job="late",site="own",instance=""}} 2 {NOW_MS - 2000}',
    ]


async def test_the_store_knows_the_newest_samples_without_a_look_into_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(labels("load", instance=str(number)) for number in range(4))
    values = np.array([[1, 2, 3], [1, STALE, ABSENT], [1, 2, STALE], [1, 5, ABSENT]])
    times = np.array([NOW_MS - 3000, NOW_MS - 2000, NOW_MS - 1000])
    store = MetricStore.open(tmp_path, retention_s=86_400, clock=lambda: NOW_MS)
    try:
        store.submit([SampleTable("t", names, times, values)]).result(timeout=10)
        held = MemorySource([Block(names, times, values)])
        in_full = (await asked(held, "load")).text
        monkeypatch.setattr(store, "select", None)
        assert (await asked(store, "load")).text == in_full
        assert len(in_full.splitlines()) == 3
    finally:
        store.close()


async def test_nothing_chosen_is_nothing_told() -> None:
    assert (await federated()).text == (await federated("other")).text == ""


async def test_wrong_selector_is_refused_in_plain_text() -> None:
    answer = await federated('load{a="')
    assert answer.status_code == 400
    assert "parse error" in answer.text


def test_name_is_told_so_that_every_scraper_reads_it() -> None:
    assert [escaped(name) for name in ("up", "a:b", "http.code", "1st")] == ["up", "a:b", "http_code", "_st"]


async def test_protobuf_has_native_histograms_too() -> None:
    answer = await federated('{job=~".+"}', accept=PROTOBUF_TYPE.replace(" ", ""))
    assert answer.headers["content-type"] == PROTOBUF_TYPE

    def named(series: Series) -> Labels:
        return labels_of(series.labels | {METRIC_NAME: series.name})

    found = ProtobufParser(named, NativeOptions(wanted=True, classic_too=False)).parse(answer.content)
    shown = {dict(labels)[METRIC_NAME] + "/" + dict(labels)["job"]: place for place, labels in enumerate(found.labels)}
    assert sorted(shown) == ["http_odd/a", "load/a", "load/became", "load/late", "native/a", "native/b"]
    assert found.values[shown["load/a"]] == 3.5
    assert found.timestamps_ms[shown["load/late"]] == NOW_MS - 2000
    for name, expected in (("native/a", HISTOGRAM), ("native/b", EMPTY), ("load/became", HISTOGRAM)):
        assert found.histograms[shown[name]].identical(expected), name


async def test_names_of_any_characters_are_told_to_who_can_read_them() -> None:
    answer = await federated('{__name__="http.odd"}', accept="text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4")
    assert answer.headers["content-type"] == UTF8_TYPE
    assert answer.text.splitlines() == [
        '# TYPE "http.odd" untyped',
        f'{{"http.odd",job="a",instance=""}} +Inf {NOW_MS - 1000}',
    ]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT_TYPE),
        ("application/json", TEXT_TYPE),
        ("application/openmetrics-text;version=1.0.0", TEXT_TYPE),
        (f"text/plain;q=0.5,{PROTOBUF_TYPE}", PROTOBUF_TYPE),
        (f"{PROTOBUF_TYPE};q=0.5,text/plain", TEXT_TYPE),
        (f"{PROTOBUF_TYPE};q=0", TEXT_TYPE),
        (PROTOBUF_TYPE.replace("delimited", "text"), TEXT_TYPE),
        ("text/plain;version=1.0.0", TEXT_TYPE),
        # Prometheus 3: what it says of OpenMetrics counts for the text that it gets instead.
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.4",
         UTF8_TYPE),
    ],
)  # fmt: skip
def test_form_is_the_one_that_is_asked_for_first(accept: str, expected: str) -> None:
    assert format_for(accept).content_type == expected
