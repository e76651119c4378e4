from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from prometheus_client import REGISTRY

from collector.errors import ConfigError, TemporaryError
from collector.model.series import SampleBatch, SampleSink, is_stale
from collector.query.promql.engine import Engine
from collector.rules import metrics
from collector.rules.group import Asked, RuleGroup, Work, first_slot, next_slot
from collector.rules.rulefile import parse
from collector.storage.metrics.store import MetricStore

RULES = """
groups:
  - name: shop
    rules:
      - record: job:latency:double
        expr: latency * 2
      - alert: Slow
        expr: job:latency:double > 1
        for: 2s
        labels: {severity: "{{ if gt $value 5.0 }}critical{{ else }}warning{{ end }}", job2: "{{ $labels.job }}"}
        annotations: {summary: "{{ $labels.job }} takes {{ $value | humanizeDuration }}"}
"""
Put = Callable[[int, Mapping[str, float]], Awaitable[None]]
Ask = Callable[[str, int], dict[tuple[tuple[str, str], ...], float]]


def group_of(text: str, engine: Engine, sink: SampleSink, *, file: str = "r.yml") -> RuleGroup:
    (spec,) = parse(text, file)
    return RuleGroup(
        spec, engine=engine, sink=sink, interval_ms=1000, resend_delay_ms=60_000, external_url="http://c:9090"
    )


@pytest.fixture
def group(engine: Engine, store: MetricStore) -> RuleGroup:
    return group_of(RULES, engine, store)


async def test_alert_reads_what_its_group_recorded_in_the_same_evaluation(
    group: RuleGroup, put: Put, ask: Ask, start_ms: int
) -> None:
    await put(start_ms, {"cart": 0.7, "catalog": 0.1})
    await group.evaluate(start_ms)
    assert sorted(ask("job:latency:double", start_ms).values()) == [0.2, 1.4]
    (alert,) = group.alerting[0].table.alerts.values()
    assert dict(alert.labels) == {"alertname": "Slow", "job": "cart", "job2": "cart", "severity": "warning"}
    assert alert.annotations == (("summary", "cart takes 1.4s"),)


async def test_alert_series_follow_the_state_and_end_with_it(
    group: RuleGroup, put: Put, ask: Ask, start_ms: int
) -> None:
    states = []
    for second, value in enumerate([0.7, 0.7, 0.7, 0.1]):
        at_ms = start_ms + second * 1000
        await put(at_ms, {"cart": value})
        await group.evaluate(at_ms)
        states.append([dict(labels)["alertstate"] for labels in ask("ALERTS", at_ms)])
        since = list(ask("ALERTS_FOR_STATE", at_ms).values())
        assert since == ([start_ms / 1000] if value > 0.5 else [])
    assert states == [["pending"], ["pending"], ["firing"], []]


async def test_recorded_series_that_vanish_are_marked_stale(
    engine: Engine, store: MetricStore, put: Put, ask: Ask, start_ms: int
) -> None:
    text = "groups: [{name: g, rules: [{record: double, expr: '2 * last_over_time(latency[2s])'}]}]"
    group = group_of(text, engine, store)
    await put(start_ms, {"cart": 0.1, "catalog": 0.1})
    await group.evaluate(start_ms)
    assert len(ask("double", start_ms)) == 2
    await put(start_ms + 3000, {"cart": 0.1})
    await group.evaluate(start_ms + 3000)
    assert [dict(labels)["job"] for labels in ask("double", start_ms + 3000)] == ["cart"]


async def test_firing_alert_is_due_with_a_link_to_its_expression(group: RuleGroup, put: Put, start_ms: int) -> None:
    for second in range(3):
        await put(start_ms + second * 1000, {"cart": 0.7})
        await group.evaluate(start_ms + second * 1000)
    (alert,) = group.due(start_ms + 2000)
    assert alert.starts_at_ms == start_ms + 2000
    assert alert.generator_url == "http://c:9090/graph?g0.expr=job%3Alatency%3Adouble+%3E+1&g0.tab=1"
    assert group.due(start_ms + 3000) == []
    group.untell([alert])
    assert len(group.due(start_ms + 4000)) == 1


async def test_rule_that_fails_says_why_and_does_not_stop_the_next(
    engine: Engine, store: MetricStore, put: Put, ask: Ask, start_ms: int
) -> None:
    text = """
groups:
  - name: g
    rules:
      - {record: one, expr: "latency / on () latency"}
      - {record: two, expr: latency}
"""
    group = group_of(text, engine, store)
    await put(start_ms, {"cart": 1, "catalog": 1})
    await group.evaluate(start_ms)
    first, second = (rule.outcome for rule in group.rules)
    assert (first.health, second.health) == ("err", "ok")
    assert "many" in first.error
    assert len(ask("two", start_ms)) == 2


async def test_alerts_of_one_label_set_are_refused(engine: Engine, store: MetricStore, put: Put, start_ms: int) -> None:
    text = "groups: [{name: g, rules: [{alert: A, expr: latency, labels: {job: same}}]}]"
    group = group_of(text, engine, store)
    await put(start_ms, {"cart": 1, "catalog": 1})
    await group.evaluate(start_ms)
    assert group.rules[0].outcome.error == "vector contains metrics with the same labelset after applying alert labels"


async def test_scalar_rule_records_one_series(engine: Engine, store: MetricStore, ask: Ask, start_ms: int) -> None:
    group = group_of("groups: [{name: g, rules: [{record: answer, expr: 6 * 7}]}]", engine, store)
    await group.evaluate(start_ms)
    assert ask("answer", start_ms) == {(("__name__", "answer"),): 42.0}


async def test_query_offset_evaluates_in_the_past(
    engine: Engine, store: MetricStore, put: Put, ask: Ask, start_ms: int
) -> None:
    text = "groups: [{name: g, query_offset: 2s, rules: [{record: late, expr: latency}]}]"
    group = group_of(text, engine, store)
    await put(start_ms, {"cart": 1})
    await put(start_ms + 1000, {"cart": 2})
    await group.evaluate(start_ms + 2000)
    assert list(ask("late", start_ms).values()) == [1.0]


def test_expression_that_the_engine_refuses_names_file_group_and_rule(engine: Engine, store: MetricStore) -> None:
    rules = ["{alert: A, expr: up}", "{alert: B, expr: 'rate(up[step()])'}"]
    text = "groups:\n- name: g\n  rules:\n" + "".join(f"  - {rule}\n" for rule in rules)
    where = r'r\.yml: 5:22: group "g", rule 2, "B": could not parse expression'
    with pytest.raises(ConfigError, match=f"{where}: .*does not know step"):
        group_of(text, engine, store)


class FailingSink:
    """A sink whose disk is full for a while."""

    def __init__(self, store: MetricStore) -> None:
        self.store, self.full, self.batches = store, False, list[SampleBatch]()

    async def append(self, batches: Sequence[SampleBatch]) -> None:
        if self.full:
            raise TemporaryError("no space left")
        self.batches += batches
        await self.store.append(batches)


async def test_markers_that_a_full_disk_refused_are_written_later(
    engine: Engine, store: MetricStore, put: Put, start_ms: int
) -> None:
    sink = FailingSink(store)
    group = group_of("groups: [{name: g, rules: [{record: double, expr: latency * 2 > 1}]}]", engine, sink)
    await put(start_ms, {"cart": 1})
    await group.evaluate(start_ms)
    await put(start_ms + 1000, {"cart": 0.1})
    sink.full = True
    await group.evaluate(start_ms + 1000)
    assert group.rules[0].outcome.error == "samples were not stored: no space left"
    sink.full = False
    await group.evaluate(start_ms + 2000)
    assert is_stale(sink.batches[-1].values).tolist() == [True]


async def test_changed_group_keeps_the_alerts_of_unchanged_rules_and_ends_removed_series(
    engine: Engine, store: MetricStore, put: Put, ask: Ask, start_ms: int
) -> None:
    old = group_of(RULES + "      - {record: gone, expr: latency}\n", engine, store)
    await put(start_ms, {"cart": 0.7})
    await old.evaluate(start_ms)
    new = group_of(RULES + "      - {record: fresh, expr: latency}\n", engine, store)
    new.take_over(old)
    for second in (1, 2):
        await put(start_ms + second * 1000, {"cart": 0.7})
        await new.evaluate(start_ms + second * 1000)
    (alert,) = new.due(start_ms + 2000)
    assert alert.starts_at_ms == start_ms + 2000
    assert ask("gone", start_ms + 2000) == {}
    assert len(ask("fresh", start_ms + 2000)) == 1


@pytest.mark.parametrize(
    ("now_ms", "expected"),
    [
        (10_300, (11_000, 0)),
        (11_900, (11_000, 0)),
        (12_000, (12_000, 1)),
        (14_500, (14_000, 3)),
        (5_000, (6_000, 0)),
    ],
)
def test_next_slot_skips_what_was_missed(now_ms: int, expected: tuple[int, int]) -> None:
    assert next_slot(10_000, now_ms, 1000) == expected


def test_slots_of_a_group_have_a_phase_that_a_restart_keeps() -> None:
    first = first_slot("r.yml;shop", 1_000_000, 1000)
    assert 0 <= first - 1_000_000 < 1000
    assert (first_slot("r.yml;shop", 7_777_777, 1000) - first) % 1000 == 0
    assert first_slot("r.yml;other", 1_000_000, 1000) != first


async def test_rule_reads_the_alerts_of_an_earlier_one_in_the_same_evaluation(
    engine: Engine, store: MetricStore, ask: Ask, start_ms: int
) -> None:
    rules = "[{alert: A, expr: vector(1)}, {record: firing, expr: 'count(ALERTS{alertstate=\"firing\"})'}]"
    group = group_of(f"groups: [{{name: g, rules: {rules}}}]", engine, store)
    await group.evaluate(start_ms)
    assert ask("firing", start_ms) == {(("__name__", "firing"),): 1.0}


async def test_expressions_may_be_evaluated_in_a_thread_of_the_callers(
    engine: Engine, store: MetricStore, ask: Ask, put: Put, start_ms: int
) -> None:
    threads = set()

    async def run(work: Work) -> list[Asked]:
        def watched() -> list[Asked]:
            threads.add(threading.current_thread())
            return work()

        return await asyncio.to_thread(watched)

    (spec,) = parse(RULES, "r.yml")
    group = RuleGroup(
        spec, engine=engine, sink=store, interval_ms=1000, resend_delay_ms=60_000, external_url="", run=run
    )
    await put(start_ms, {"cart": 0.7})
    await group.evaluate(start_ms)
    assert list(ask("ALERTS", start_ms).values()) == [1.0]
    assert threading.main_thread() not in threads


async def test_group_counts_what_it_evaluates_and_what_fails(engine: Engine, store: MetricStore, start_ms: int) -> None:
    rules = '[{record: a, expr: vector(1)}, {record: b, expr: \'label_replace(vector(1), "x", "$1", "", "(")\'}]'
    group = group_of(f"groups: [{{name: counted, rules: {rules}}}]", engine, store)
    await group.evaluate(start_ms)

    def value(name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"rule_group": group.spec.key})

    assert value("prometheus_rule_evaluations_total") == 2
    assert value("prometheus_rule_evaluation_failures_total") == 1
    assert value("prometheus_rule_group_last_evaluation_samples") == 1
    assert value("prometheus_rule_group_last_evaluation_timestamp_seconds") == start_ms / 1000
    metrics.forget(group.spec.key)
    assert value("prometheus_rule_evaluations_total") is None
