from __future__ import annotations

import random
import shutil
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_spans import CLIENT, ERROR, OK, RECEIVED_MS, START_NANO, Made, decoded

from collector.model.ids import TraceId
from collector.pipeline.commit import GroupCommit
from collector.pipeline.sampling.config import ProcessorsConfig, TailSamplingConfig
from collector.pipeline.sampling.sampler import Sampler
from collector.pipeline.self_metrics import SelfMetrics
from collector.storage.traces import held
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader

MS = 1_000_000
WAIT_MS = 10_000
ERRORS = {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}
NONE = {"name": "none", "type": "probabilistic", "probabilistic": {"sampling_percentage": 0}}


def slow(threshold_ms):
    return {"name": "slow", "type": "latency", "latency": {"threshold_ms": threshold_ms}}


class Sampled:
    """A store whose spans are held, and the sampler that decides them, with a clock of its own."""

    def __init__(self, directory, *policies, **options) -> None:
        self.now_ms = RECEIVED_MS
        self.counts = SelfMetrics()
        self.database = TelemetryDatabase.open(directory / "telemetry.duckdb")
        self.database.holding = True
        with self.database.writing() as connection:
            held.create(connection)
        self.told = []
        config = TailSamplingConfig.model_validate({"decision_wait": "10s", "policies": list(policies), **options})
        self.sampler = Sampler(config, self.database, self.counts, tell=self.told.append, clock=lambda: self.now_ms)

    def send(self, *spans: Made) -> None:
        self.database.write([decoded(spans, received_ms=self.now_ms)])

    async def after(self, passed_ms: int) -> list[int]:
        """The traces that searches find once so much time has passed."""
        self.now_ms += passed_ms
        async with GroupCommit(self.database.write) as commit:
            await self.sampler.round(commit)
        return self.found()

    def found(self) -> list[int]:
        with self.database.reading() as cursor:
            rows = cursor.execute("SELECT DISTINCT trace_lo FROM spans ORDER BY trace_lo").fetchall()
        return [row[0] for row in rows]

    def held(self) -> int:
        with self.database.reading() as cursor:
            return cursor.execute("SELECT count(*) FROM held_spans").fetchone()[0]

    def value(self, name: str, **labels: str) -> float | None:
        return self.counts.registry.get_sample_value(f"otelcol_processor_tail_sampling_{name}", labels)


@pytest.fixture
def sampled(tmp_path):
    made = []

    def make(*policies, directory=tmp_path, **options) -> Sampled:
        made.append(Sampled(directory, *policies, **options))
        return made[-1]

    make.made = made
    yield make
    for each in made:
        each.database.close()


async def test_a_trace_is_found_once_it_is_decided_to_be_kept_and_not_before(sampled):
    made = sampled(ERRORS)
    made.send(Made(trace=1), Made(trace=2, status=ERROR))
    assert await made.after(WAIT_MS - 1) == []
    assert await made.after(1) == [2]
    assert made.held() == 0
    assert made.value("global_count_traces_sampled_total", sampled="true") == 1
    assert made.value("count_traces_sampled_total", policy="errors", sampled="false") == 1


async def test_the_whole_trace_is_decided_on_wherever_its_error_is(sampled):
    made = sampled(ERRORS)
    made.send(Made(trace=1, service="a"), Made(trace=2, service="a"))
    made.now_ms += 500
    made.send(Made(trace=1, span=2, parent=1, service="b", status=ERROR, resource={"zone": "x"}))
    assert await made.after(WAIT_MS) == [1]
    trace = TraceReader(made.database).trace(TraceId(1))
    assert [(span.resource.service, span.status_code) for span in trace.spans] == [("a", 0), ("b", ERROR)]
    assert [batch.table.num_rows for batch in made.told] == [2], "those that are kept are told, for exemplars"


async def test_what_comes_late_follows_the_decision_and_is_no_trace_of_its_own(sampled):
    made = sampled(ERRORS)
    made.send(Made(trace=1), Made(trace=2, status=ERROR))
    await made.after(WAIT_MS)
    made.send(Made(trace=1, span=9, status=ERROR), Made(trace=2, span=9))
    assert await made.after(1) == [2]
    assert made.held() == 0
    assert len(TraceReader(made.database).trace(TraceId(2)).spans) == 2
    assert made.value("early_releases_from_cache_decision_total", sampled="true") == 1
    assert made.value("early_releases_from_cache_decision_total", sampled="false") == 1
    assert made.value("global_count_traces_sampled_total", sampled="false") == 1


async def test_a_kill_between_leaves_what_was_acknowledged_to_be_decided(sampled, tmp_path):
    made = sampled(ERRORS)
    made.send(Made(trace=1), Made(trace=2, status=ERROR))
    await made.after(WAIT_MS)
    made.send(Made(trace=2, span=3), Made(trace=3, status=ERROR), Made(trace=1, span=3))
    image = tmp_path / "image"  # what a kill at this moment would leave
    image.mkdir()
    for path in tmp_path.glob("telemetry.duckdb*"):
        shutil.copy(path, image)
    after_kill = sampled(ERRORS, directory=image)
    after_kill.now_ms = made.now_ms
    assert await after_kill.after(0) == [2]
    assert len(TraceReader(after_kill.database).trace(TraceId(2)).spans) == 2
    assert await after_kill.after(WAIT_MS) == [2, 3]
    assert after_kill.held() == 0


async def test_of_more_traces_than_may_wait_the_oldest_are_decided_early(sampled):
    made = sampled(ERRORS, num_traces=3)
    for number in range(1, 8):
        made.send(Made(trace=number, status=ERROR))
        made.now_ms += 10
    assert await made.after(0) == [1, 2, 3, 4]
    assert made.value("sampling_trace_dropped_too_early_total") == 4


async def test_old_decisions_are_forgotten(sampled):
    made = sampled(ERRORS, decision_cache={"sampled_cache_size": 2, "non_sampled_cache_size": 3})
    for number in range(1, 9):
        made.send(Made(trace=number, status=ERROR * (number % 2)))
        await made.after(WAIT_MS)
    held.forget_decisions(made.database, kept=2, dropped=3)
    with made.database.reading() as cursor:
        rows = cursor.execute("SELECT kept, count(*) FROM sampling_decisions GROUP BY kept ORDER BY kept").fetchall()
    assert rows == [(False, 3), (True, 2)]


def test_without_sampling_what_was_held_is_kept(sampled):
    made = sampled(NONE)
    made.send(Made(trace=1), Made(trace=2))
    assert held.release(made.database) == 2
    assert (made.found(), made.held()) == ([1, 2], 0)
    assert TraceReader(made.database).trace(TraceId(2)) is not None


spans_of_traces = st.lists(
    st.builds(
        Made,
        trace=st.integers(1, 8),
        span=st.integers(1, 1000),
        service=st.sampled_from(["a", "b"]),
        kind=st.sampled_from([2, CLIENT]),
        status=st.sampled_from([0, 0, OK, ERROR]),
        took_nano=st.integers(0, 600 * MS),
        at_nano=st.integers(START_NANO, START_NANO + 100 * MS),
        attributes=st.sampled_from([{}, {"http.route": "/slow"}, {"n": 7}, {"n": "7"}, {"vip": True}]),
    ),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=spans_of_traces)
async def test_policies_match_as_they_would_one_trace_at_a_time(sampled, spans):
    route = {"name": "r", "type": "string_attribute", "string_attribute": {"key": "http.route", "values": ["/slow"]}}
    policies = [
        {
            "name": "drop",
            "type": "drop",
            "drop": {
                "drop_sub_policy": [
                    {"name": "b", "type": "boolean_attribute", "boolean_attribute": {"key": "vip", "value": True}}
                ]
            },
        },
        ERRORS,
        slow(500),
        {"name": "slow route", "type": "and", "and": {"and_sub_policy": [route, {**slow(200), "name": "s"}]}},
        {"name": "number", "type": "numeric_attribute", "numeric_attribute": {"key": "n", "min_value": 7}},
        {"name": "many", "type": "span_count", "span_count": {"min_spans": 6, "max_spans": 9}},
    ]
    made = sampled.made[0] if sampled.made else sampled(*policies)
    with made.database.writing() as connection:
        for table in ("spans", "sampling_decisions"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  (ours)
    made.send(*spans)
    found = await made.after(WAIT_MS)
    wanted = []
    for trace in sorted({span.trace for span in spans}):
        own = [span for span in spans if span.trace == trace]
        began = min(span.at_nano for span in own)
        took_ms = (max(span.at_nano + span.took_nano for span in own) - began) // MS
        attributes = [span.attributes for span in own]
        kept = (
            any(span.status == ERROR for span in own)
            or took_ms >= 500
            or ({"http.route": "/slow"} in attributes and took_ms >= 200)
            or {"n": 7} in [each for each in attributes if isinstance(each.get("n"), int)]
            or 6 <= len(own) <= 9
        )
        if kept and {"vip": True} not in attributes:
            wanted.append(trace)
    assert found == wanted


async def test_a_share_of_the_traces_is_kept_whoever_decides(sampled, tmp_path):
    half = {"name": "half", "type": "probabilistic", "probabilistic": {"sampling_percentage": 50}}
    chance = random.Random(1)
    traces = [chance.getrandbits(64) for _ in range(600)]
    kept = []
    for name in ("a", "b"):
        made = sampled(half, directory=tmp_path / name)
        made.send(*(Made(trace=trace) for trace in traces))
        kept.append(await made.after(WAIT_MS))
    assert kept[0] == kept[1]
    assert 240 < len(kept[0]) < 360


async def test_the_rest_is_kept_at_a_rate_beside_all_errors(sampled):
    made = sampled(ERRORS, {"name": "rest", "type": "rate_limiting", "rate_limiting": {"spans_per_second": 20}})
    for second in range(5):
        numbers = range(1 + 100 * second, 101 + 100 * second)
        made.send(*(Made(trace=number, status=ERROR * (number % 10 == 0)) for number in numbers))
        made.now_ms += 1000
    made.now_ms += WAIT_MS - 5000
    counts = []
    for _ in range(5):
        before = set(made.found())
        counts.append(len([each for each in await made.after(0) if each % 10 and each not in before]))
        made.now_ms += 1000
    assert counts == [20] * 5
    assert [each for each in made.found() if each % 10 == 0] == list(range(10, 501, 10))


async def test_each_operation_has_its_floor(sampled):
    made = sampled({"name": "floor", "type": "operation_floor", "operation_floor": {"traces_per_minute": 3}})
    made.now_ms = RECEIVED_MS // 60_000 * 60_000
    numbers = iter(range(1, 1000))
    for minute in range(2):
        common = [Made(trace=next(numbers), name="common") for _ in range(30)]
        rare = [Made(trace=next(numbers), name="rare", took_nano=minute)]
        other = [replace(common[0], trace=next(numbers), service="other") for _ in range(2)]
        made.send(*common, *rare, *other)
        made.now_ms += 60_000
        await made.after(0)
    assert len(made.found()) == 2 * (3 + 1 + 2)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"name": "x", "type": "ottl_condition"}, "ottl_condition is not supported"),
        ({"name": "x", "type": "made_up"}, "there is no policy type made_up"),
        ({"name": "x", "type": "latency"}, "lacks its section latency"),
        (
            {
                "name": "x",
                "type": "string_attribute",
                "string_attribute": {"key": "k", "values": ["("], "enabled_regex_matching": True},
            },
            "not RE2",
        ),
        ({"name": "x", "type": "and", "and": {"and_sub_policy": [{"name": "y", "type": "and"}]}}, "cannot be part"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_by_name(policy, reason):
    with pytest.raises(ValueError, match=reason):
        ProcessorsConfig.model_validate({"tail_sampling": {"policies": [policy]}})
