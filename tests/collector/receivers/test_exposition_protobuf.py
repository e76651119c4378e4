from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from metric_pages import CLASSIC, CONTENT_TYPE, GAUGE_HISTOGRAM, HISTOGRAM, NATIVE, delimited, family, page

from collector.errors import BadRequestError, LimitExceededError
from collector.model.series import METRIC_NAME, Labels, Matcher, MatchOp, labels_of
from collector.receivers.exposition import Exposition
from collector.receivers.exposition_line import ExpositionError, Series
from collector.receivers.exposition_protobuf import ProtobufParser
from collector.receivers.native_options import NativeOptions
from collector.receivers.scrape import ScrapeManager
from collector.receivers.scrape_config import ScrapeConfig
from collector.storage.metrics.store import MetricStore

STAMP_MS = 1_700_000_000_500


def named(series: Series) -> Labels:
    return labels_of(series.labels | {METRIC_NAME: series.name})


def parser(**native: Any) -> ProtobufParser:
    return ProtobufParser(named, NativeOptions(**({"wanted": True, "classic_too": False} | native)))


def values(found: Exposition) -> dict[str, float]:
    """By name and labels, those of floats."""
    shown = {}
    for place, (labels, value) in enumerate(zip(found.labels, found.values, strict=True)):
        if place not in found.histograms:
            rest = ",".join(f"{name}={text}" for name, text in labels if name != METRIC_NAME)
            shown[f"{dict(labels)[METRIC_NAME]}{{{rest}}}"] = value
    return shown


def test_every_kind_of_metric_is_read() -> None:
    one = parser()
    found = one.parse(page(STAMP_MS))
    got = values(found)
    assert np.isnan(got.pop("threads{kind=x}"))
    assert got == {
        "orders_total{job=own,outcome=paid}": 1027,
        "orders_total{outcome=lost}": 3,
        "threads{}": 12.5,
        "odd{}": np.inf,
        "rpc_seconds{quantile=0.5}": 0.2,
        "rpc_seconds_sum{}": 1.5,
        "rpc_seconds_count{}": 7,
        "classic_seconds_bucket{code=200,le=0.5}": 4,
        "classic_seconds_bucket{code=200,le=1e+07}": 5,
        "classic_seconds_bucket{code=200,le=+Inf}": 5,
        "classic_seconds_sum{code=200}": 2.5,
        "classic_seconds_count{code=200}": 5,
    }
    assert [dict(found.labels[place])[METRIC_NAME] for place in found.histograms] == [
        "native_seconds",
        "both_seconds",
        "fractions",
    ]
    first, _, last = found.histograms.values()
    assert (first.schema, first.count, first.sum, first.zero_count) == (1, 12, 25.5, 2)
    assert (first.positive_index.tolist(), first.positive.tolist()) == ([-1, 0, 4], [3, 2, 4])
    assert (last.count, last.zero_count, last.positive.tolist()) == (2.5, 0.5, [2.0])
    assert {dict(found.labels[place])[METRIC_NAME]: each.timestamp_ms for place, each in found.exemplars} == {
        "orders_total": STAMP_MS,
        "native_seconds": STAMP_MS,
    }
    assert {dict(found.labels[place])[METRIC_NAME] for place in found.timestamps_ms} == {"odd"}
    described = {each.name: (each.kind, each.help, each.unit) for each in found.metadata}
    assert described["orders_total"] == ("counter", "Orders.", "")
    assert described["native_seconds"] == ("histogram", "", "seconds")
    assert one.progress == (16, 16)


def test_page_that_comes_again_has_the_same_labels_and_nothing_new() -> None:
    one = parser()
    first, second = one.parse(page(STAMP_MS)), one.parse(page(STAMP_MS))
    assert second.labels is first.labels
    assert (second.exemplars, second.metadata) == ([], [])
    assert one.parse(page(STAMP_MS + 1000)).exemplars != []


@pytest.mark.parametrize(
    ("native", "names"),
    [
        ({"wanted": False}, {"h_bucket", "h_sum", "h_count", "n_bucket", "n_sum", "n_count"}),
        ({"classic_too": False}, {"h", "n"}),
        ({"classic_too": True}, {"h", "h_bucket", "h_sum", "h_count", "n"}),
    ],
)
def test_which_form_of_a_histogram_is_taken_is_the_jobs_choice(native: dict[str, bool], names: set[str]) -> None:
    both = family("h", HISTOGRAM, {"histogram": CLASSIC | NATIVE}), family("n", HISTOGRAM, {"histogram": NATIVE})
    found = parser(**native).parse(delimited(both))
    assert {dict(labels)[METRIC_NAME] for labels in found.labels} == names


def test_gauge_histogram_is_one() -> None:
    found = parser().parse(delimited([family("g", GAUGE_HISTOGRAM, {"histogram": NATIVE})]))
    assert found.histograms[0].gauge


def test_resolution_is_given_up_for_the_jobs_limits() -> None:
    wide = NATIVE | {
        "sample_count": 10, "zero_count": 0, "schema": 3, "negative_span": [], "negative_delta": [],
        "positive_span": [{"offset": 1, "length": 8}], "positive_delta": [1, 0, 0, 0, 0, 0, 0, 0],
    }  # fmt: skip
    body = delimited([family("h", HISTOGRAM, {"histogram": wide})])
    assert parser().parse(body).histograms[0].schema == 3
    limited = parser(bucket_limit=2).parse(body).histograms[0]
    assert (limited.schema, limited.positive.tolist()) == (1, [4, 4])
    assert parser(min_bucket_factor=2).parse(body).histograms[0].schema == 0
    apart = wide | {"positive_span": [{"offset": -100, "length": 1}, {"offset": 200, "length": 7}]}
    with pytest.raises(LimitExceededError, match="2 buckets are over the native_histogram_bucket_limit of 1"):
        parser(bucket_limit=1).parse(delimited([family("h", HISTOGRAM, {"histogram": apart})]))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"\xff" * 12, "no length of a metric family at byte 0"),
        (b"\x09abc", "the page is cut off: 9 bytes are to follow at byte 1 of 4"),
        (b"\x02\xff\xff", "no metric family at byte 1"),
        (delimited([family("a", 1, {})]), "metric a: a metric without a value"),
        (delimited([family("", 1, {"gauge": {"value": 1}})]), "a name is empty"),
        (delimited([family("a", 4, {"histogram": NATIVE | {"schema": 9}})]), "metric a: histogram schema 9 is not"),
        (delimited([family("a", 4, {"histogram": NATIVE | {"positive_delta": [1]}})]), "spans need 3 buckets, have 1"),
        (delimited([family("a", 4, {"histogram": NATIVE | {"sample_count": 1}})]), "less than its buckets hold"),
    ],
)
def test_wrong_page_is_refused_with_its_place(body: bytes, problem: str) -> None:
    one = parser()
    with pytest.raises(ExpositionError) as caught:
        one.parse(body)
    assert problem in str(caught.value)
    assert isinstance(caught.value, BadRequestError)


@pytest.fixture
def target() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Accept"].startswith("application/vnd.google.protobuf")
            self.send_response(200 if asked else 406)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(page(STAMP_MS))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_scraped_native_histograms_are_stored_and_end_with_their_target(
    target: str, metric_store: MetricStore
) -> None:
    config = ScrapeConfig.model_validate({
        "job_name": "shop",
        "scrape_interval": "100ms",
        "scrape_native_histograms": True,
        "honor_timestamps": False,
        "static_configs": [{"targets": [target]}],
    })  # fmt: skip
    scrapes = ScrapeManager([config], metric_store)
    task = asyncio.create_task(scrapes.run())
    matchers = [Matcher(METRIC_NAME, MatchOp.EQUAL, "native_seconds")]
    try:
        async with asyncio.timeout(10):
            while not metric_store.select_histograms(matchers, min_ms=0, max_ms=1 << 60):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    (series,) = metric_store.select_histograms(matchers, min_ms=0, max_ms=1 << 60)
    assert dict(series.labels)["job"] == "shop"
    assert series.histograms[0].positive.tolist() == [3, 2, 4]
