"""The configuration read anew by the running collector's parts, over a real store and a real target."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge, MetricsHandler

from collector.app import Collector, open_collector
from collector.config import load
from collector.errors import ConfigError


@pytest.fixture
def target() -> Iterator[str]:
    registry = CollectorRegistry()
    Gauge("level", "Level.", registry=registry).set(1)
    server = ThreadingHTTPServer(("127.0.0.1", 0), MetricsHandler.factory(registry))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def write(path: Path, target: str, *, steady: str = "", more: str = "", rules: str = "rules/*.yml") -> None:
    path.write_text(
        f"""
global: {{scrape_interval: 100ms, external_labels: {{site: here}}}}
rule_files: [{rules}]
scrape_configs:
  - job_name: steady
    static_configs: [{{targets: ["{target}"]}}]
    {steady}
{more}
"""
    )


@contextlib.asynccontextmanager
async def running(path: Path, data: Path) -> AsyncIterator[Collector]:
    async with open_collector(load(path), data, external_url="http://127.0.0.1:1") as collector:
        runs = [run for name, run in collector.background if name in ("scrapes", "rules")]
        tasks = [asyncio.create_task(run()) for run in runs]
        try:
            yield collector
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  (what threads do sets no event)
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited ten seconds for: {what}")


def urls(collector: Collector) -> dict[str, str]:
    return {each["scrapePool"]: each["health"] for each in collector.in_force.scrapes.targets()}


async def test_jobs_come_and_go_and_one_that_stays_is_not_disturbed(tmp_path, target):
    path = tmp_path / "collector.yml"
    added = f'  - job_name: added\n    static_configs: [{{targets: ["{target}"]}}]\n'
    write(path, target)
    async with running(path, tmp_path / "data") as collector:
        scrapes = collector.in_force.scrapes
        await until(lambda: urls(collector) == {"steady": "up"}, "the first job")
        (loop,) = scrapes._loops()
        write(path, target, more=added)
        await collector.in_force.reload()
        await until(lambda: urls(collector) == {"steady": "up", "added": "up"}, "the second job")
        assert loop in scrapes._loops()
        assert loop.task is not None
        assert not loop.task.done()
        assert "job_name: added" in collector.in_force.config.text
        write(path, target, steady="metric_relabel_configs: [{regex: level, action: drop, source_labels: [__name__]}]")
        await collector.in_force.reload()
        await until(lambda: urls(collector) == {"steady": "up"} and scrapes._loops()[0] is not loop, "the change")
        await until(lambda: not scrapes._loops()[0].session._series, "a scrape without the dropped series")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steady": "scrape_interval: soon"}, "job steady: scrape_interval"),
        ({"steady": "colour: red"}, "colour: unknown key"),
        ({"steady": "tls_config: {ca_file: absent.pem}"}, "job steady: tls_config: "),
        ({"more": "otlp: {translation_strategy: Shouting}"}, "otlp.translation_strategy"),
        ({"rules": "absent.yml"}, "absent.yml: no such file"),
        ({"more": "alerting: {alert_relabel_configs: [{action: explode}]}"}, "unknown relabel action"),
        ({"more": "not: known"}, "not: unknown key"),
    ],
)
async def test_a_wrong_file_changes_nothing(tmp_path, target, change, message):
    path = tmp_path / "collector.yml"
    write(path, target)
    async with running(path, tmp_path / "data") as collector:
        before = collector.in_force.config
        write(path, target, **change)
        with pytest.raises(ConfigError) as caught:
            await collector.in_force.reload()
        assert message in str(caught.value)
        assert collector.in_force.config is before
        assert collector.in_force.rules._files == before.rule_files
        await until(lambda: urls(collector) == {"steady": "up"}, "the job as it was")


async def test_rules_follow_the_files_that_the_configuration_names_now(tmp_path, target):
    path = tmp_path / "collector.yml"
    (tmp_path / "rules").mkdir()
    rule = "groups: [{{name: {name}, rules: [{{record: a:b, expr: vector(1)}}]}}]\n"
    (tmp_path / "rules" / "one.yml").write_text(rule.format(name="one"))
    (tmp_path / "two.yml").write_text(rule.format(name="two"))
    write(path, target)
    async with running(path, tmp_path / "data") as collector:
        rules = collector.in_force.rules
        await until(lambda: [group.spec.name for group in rules.groups] == ["one"], "the first file")
        write(path, target, rules="two.yml")
        await collector.in_force.reload()
        assert [group.spec.name for group in rules.groups] == ["two"]


async def test_subqueries_step_as_often_as_rules_are_evaluated_now(tmp_path, target):
    path = tmp_path / "collector.yml"
    write(path, target)
    async with running(path, tmp_path / "data") as collector:
        engine = collector.in_force.engine
        assert engine.subquery_step_ms == 60_000
        path.write_text(path.read_text().replace("scrape_interval: 100ms", "evaluation_interval: 5s"))
        await collector.in_force.reload()
        assert float(engine.instant("count_over_time(vector(1)[1m:])", at_ms=60_000).values[0]) == 12
