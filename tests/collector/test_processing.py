from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from made_spans import CLIENT, ERROR, RECEIVED_MS, Made, decoded

from collector.model.labels import Matcher, MatchOp
from collector.pipeline.commit import GroupCommit
from collector.pipeline.connectors.config import ConnectorsConfig
from collector.pipeline.sampling.config import ProcessorsConfig
from collector.pipeline.self_metrics import SelfMetrics
from collector.processing import SpanProcessing
from collector.storage.metrics.store import MetricStore
from collector.storage.traces.database import TelemetryDatabase

CONNECTORS = ConnectorsConfig.model_validate({"spanmetrics": {"metrics_flush_interval": "100ms"}, "servicegraph": None})
CALLS = "traces_span_metrics_calls_total"


@contextmanager
def processing(
    directory: Path,
    config: ConnectorsConfig = CONNECTORS,
    processors: ProcessorsConfig | None = None,
    *,
    finish: bool = True,
):
    store = MetricStore.open(directory / "metrics", retention_s=1e6)
    database = TelemetryDatabase.open(directory / "telemetry.duckdb")
    counts = SelfMetrics()
    made = SpanProcessing(config, processors or ProcessorsConfig(), database, store, counts)
    try:
        yield made, database, store
        if finish:
            made.finish()
    finally:
        database.close()
        store.close()


def totals(made: SpanProcessing, family: str = "spanmetrics") -> dict[str, int]:
    """Observations by the last label but one: span name, or server."""
    series = made.connectors.series[family]
    key = "span_name" if family == "spanmetrics" else "server"
    counts = series.histograms[0].counts.sum(axis=1).tolist()
    return {dict(labels)[key]: count for labels, count in zip(series.labels, counts, strict=True)}


def batch(number: int, **fields):
    spans = [Made(**fields), Made(**fields, span=2, took_nano=7)]
    return replace(decoded(spans, received_ms=time.time_ns() // 1_000_000), digest=bytes([number]))


def stored(store: MetricStore, name: str) -> dict[str, list[float]]:
    matchers = [Matcher("__name__", MatchOp.EQUAL, name)]
    return {
        dict(labels).get("span_name", ""): row.tolist()
        for block in store.select(matchers, min_ms=0, max_ms=2**62)
        for labels, row in zip(block.labels, block.values, strict=True)
    }


def test_counts_go_on_after_a_restart(tmp_path):
    with processing(tmp_path) as (_, database, _store):
        database.write([batch(1), batch(2, name="other")])
    with processing(tmp_path) as (made, database, _store):
        assert totals(made) == {"op": 2, "other": 2}
        database.write([batch(3)])
        assert totals(made) == {"op": 4, "other": 2}
    with processing(tmp_path) as (made, _, store):
        assert totals(made) == {"op": 4, "other": 2}
        assert {name: values[-1] for name, values in stored(store, CALLS).items()} == {"op": 4, "other": 2}


def test_what_is_on_disk_when_the_process_is_killed_is_counted_once(tmp_path):
    with processing(tmp_path / "a") as (_, database, _store):
        for number in range(3):
            database.write([batch(number, name=f"op {number % 2}")])
            image = tmp_path / f"image {number}"  # what a kill at this moment would leave
            shutil.copytree(tmp_path / "a", image, ignore=shutil.ignore_patterns("LOCK"))
    for number in range(3):
        with processing(tmp_path / f"image {number}") as (made, database, _store):
            assert sum(totals(made).values()) == 2 * (number + 1)
            database.write([batch(each, name=f"op {each % 2}") for each in range(number + 1)])  # all are sent again
            assert sum(totals(made).values()) == 2 * (number + 1)


def test_a_request_that_is_sent_again_counts_once(tmp_path):
    with processing(tmp_path) as (made, database, _store):
        database.write([batch(1), batch(1)])
        database.write([batch(1)])
        assert totals(made) == {"op": 2}


def test_other_buckets_begin_anew(tmp_path):
    with processing(tmp_path) as (_, database, _store):
        database.write([batch(1)])
    other = ConnectorsConfig.model_validate({"spanmetrics": {"histogram": {"explicit": {"buckets": ["1s"]}}}})
    with processing(tmp_path, other) as (made, database, _store):
        assert totals(made) == {}
        database.write([batch(2)])
    with processing(tmp_path, other) as (made, _, _store):
        assert totals(made) == {"op": 2}


def test_series_that_were_silent_for_a_day_are_forgotten_for_good(tmp_path):
    with processing(tmp_path) as (_, database, _store):
        database.write([decoded([Made()], received_ms=RECEIVED_MS)])
    with processing(tmp_path) as (made, _, _store):
        assert totals(made) == {}


def test_edges_whose_other_end_never_comes_are_durable_too(tmp_path):
    with processing(tmp_path, finish=False) as (made, database, _store):
        database.write([decoded([Made(kind=CLIENT)], received_ms=RECEIVED_MS)])
        made.finish()  # long after RECEIVED_MS
        assert totals(made, "servicegraph") == {"unknown": 1}
    with processing(tmp_path) as (made, _, _store):
        assert totals(made, "servicegraph") == {"unknown": 1}


async def test_all_series_are_written_at_each_flush(tmp_path):
    with processing(tmp_path) as (made, database, store):
        async with GroupCommit(database.write) as commit:
            await commit.submit(batch(1))
            ((_, run),) = made.background(commit)
            task = asyncio.create_task(run())
            async with asyncio.timeout(20):
                while not stored(store, CALLS):  # noqa: ASYNC110  (the store tells nobody of what it takes)
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert stored(store, CALLS)["op"][-1] == 2
        assert made.counts.registry.get_sample_value("steersman_connector_spanmetrics_series") == 1
    assert {CALLS, "traces_service_graph_request_total"} <= {entry.name for entry in store.metadata()}


async def test_exemplars_lead_to_traces_that_are_kept(tmp_path):
    errors = {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}
    processors = ProcessorsConfig.model_validate({"tail_sampling": {"decision_wait": "1ms", "policies": [errors]}})
    attributes = {"http.route": "/a", "n": 1, "list": [1, {"b": b"c"}]}
    spans = [
        Made(trace=1, name="dropped", attributes=attributes),
        Made(trace=2, name="kept", attributes=attributes, resource={"zone": "a"}),
        Made(trace=2, span=2, name="kept", status=ERROR, took_nano=10**9),
    ]
    with processing(tmp_path, CONNECTORS, processors) as (made, database, _store):
        now_ms = time.time_ns() // 1_000_000
        database.write([decoded(spans, received_ms=now_ms - 1000)])
        assert not any(table.exemplars for table in made.connectors.flush(now_ms).tables)
        async with GroupCommit(database.write) as commit:
            assert await made.sampler.round(commit) == 2
        tables = made.connectors.flush(now_ms + 1).tables
        named = {dict(each.labels)["trace_id"] for table in tables for _, each in table.exemplars}
        assert named == {f"{2:032x}"}
        assert sum(made.connectors.series["spanmetrics"].histograms[0].counts.ravel()) == 3


def test_spans_are_stored_even_if_they_cannot_be_counted(tmp_path, monkeypatch, caplog):
    with processing(tmp_path) as (made, database, _store):
        monkeypatch.setattr(made.connectors.span_metrics, "measure", lambda _: 1 / 0)
        database.write([batch(1)])
        with database.reading() as cursor:
            assert cursor.execute("SELECT count(*) FROM spans").fetchall() == [(2,)]
        assert made.counts.registry.get_sample_value("steersman_connector_failures_total") == 1
        assert "2 spans are stored and not counted" in caplog.text


def test_the_sections_of_the_real_collector_are_taken_as_they_are():
    content = yaml.safe_load((Path(__file__).parents[2] / "collector" / "otelcol.yaml").read_text())
    connectors = ConnectorsConfig.model_validate(content["connectors"])
    assert connectors.spanmetrics.options().buckets_nano[0] == 5_000_000
    assert connectors.servicegraph.options().ttl_ms == 5000
    sampling = ProcessorsConfig.model_validate({"tail_sampling": content["processors"]["tail_sampling"]}).tail_sampling
    assert (sampling.decision_wait, sampling.policies[0].type) == (5.0, "status_code")


@pytest.mark.parametrize(
    "section",
    [
        {"spanmetrics": {"dimensions": [{"name": "span.name"}]}},
        {"spanmetrics": {"metrics_flush_interval": "1ms"}},
        {"spanmetrics": {"histogram": {"explicit": {"buckets": ["2s", "1s"]}}}},
        {"servicegraph": {"dimensions": ["failed"]}},
        {"servicegraph": {"store": {"ttl": "soon"}}},
        {"other": {}},
    ],
)
def test_a_wrong_section_is_refused(section):
    with pytest.raises(ValueError, match=r"dimension|interval|buckets|duration|other|100ms"):
        ConnectorsConfig.model_validate(section)
