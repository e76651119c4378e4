"""Alerts pushed to real Alertmanagers: Debian's, and a server that plays a broken one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from alertmanager_server import debians, ours

from collector.alerting import push_targets
from collector.alerts.push import DROPPED, AlertPusher
from collector.alerts.push_config import load_alerting
from collector.errors import ConfigError
from collector.model.alert import Alert

MakeAlert = Callable[..., Alert]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def pusher(url: str, *, capacity: int = 100, **keys: Any) -> AlertPusher:
    address = url.removeprefix("http://").partition("/")[0]
    entry = {"static_configs": [{"targets": [address]}], "api_version": "v2"} | keys
    return AlertPusher(push_targets(load_alerting({"alertmanagers": [entry]})), capacity=capacity)


@contextlib.asynccontextmanager
async def running(one: AlertPusher) -> AsyncIterator[AlertPusher]:
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def emptied(one: AlertPusher) -> None:
    async with asyncio.timeout(10):
        while one.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def firing(make_alert: MakeAlert, **labels: str) -> Alert:
    return make_alert(now_ms(), now_ms() + 60_000, **labels)


@pytest.mark.peer
async def test_alertmanager_takes_what_is_pushed(tmp_path: Path, make_alert: MakeAlert) -> None:
    config = {"route": {"receiver": "r"}, "receivers": [{"name": "r"}]}
    async with debians(tmp_path, config) as peer, running(pusher(peer.url)) as one:
        alert = firing(make_alert)
        await one.send([alert])
        await emptied(one)
        (shown,) = await peer.get("/api/v2/alerts")
        assert (shown["labels"], shown["annotations"]) == (dict(alert.labels), dict(alert.annotations))
        assert shown["fingerprint"] == alert.fingerprint
        await one.send([Alert(alert.labels, alert.annotations, alert.starts_at_ms, now_ms(), alert.generator_url)])
        await emptied(one)
        assert await peer.get("/api/v2/alerts") == []


async def test_our_own_api_takes_them_with_its_token(tmp_path: Path, make_alert: MakeAlert) -> None:
    config = {"route": {"receiver": "r"}, "receivers": [{"name": "r"}]}
    (tmp_path / "token").write_text("the-token-of-the-tests\n")
    login = {"authorization": {"credentials_file": str(tmp_path / "token")}}
    async with ours(tmp_path, config) as alertmanager, running(pusher(alertmanager.url, **login)) as one:
        await one.send([firing(make_alert)])
        await emptied(one)
        assert len(await alertmanager.get("/api/v2/alerts")) == 1


async def test_alertmanager_that_comes_back_hears_the_newest_state(receiver: Any, make_alert: MakeAlert) -> None:
    receiver.always = 503
    async with running(pusher(receiver.url, path_prefix="/am/")) as one:
        alert = firing(make_alert)
        await one.send([alert])
        async with asyncio.timeout(5):
            while receiver.attempts < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        ended = Alert(alert.labels, alert.annotations, alert.starts_at_ms, alert.starts_at_ms + 1, "")
        await one.send([ended])
        receiver.always = None
        (told,) = await receiver.next()
        assert told["endsAt"] != told["startsAt"]
        assert told["endsAt"][:19] == told["startsAt"][:19]
        await emptied(one)


async def test_full_queue_drops_the_oldest_and_counts_them(make_alert: MakeAlert) -> None:
    one, before = pusher("http://127.0.0.1:1", capacity=3), DROPPED._value.get()
    await one.send([firing(make_alert, instance=str(number)) for number in range(5)])
    assert one.waiting == 3
    assert DROPPED._value.get() - before == 2
    await one.send([firing(make_alert, instance="4")])
    assert one.waiting == 3


async def test_refused_alerts_are_dropped_and_the_next_ones_go_on(receiver: Any, make_alert: MakeAlert) -> None:
    receiver.answers = [400]
    async with running(pusher(receiver.url)) as one:
        await one.send([firing(make_alert, instance="bad")])
        await emptied(one)
        await one.send([firing(make_alert, instance="good")])
        (told,) = await receiver.next()
        assert told["labels"]["instance"] == "good"


async def test_alerts_are_relabelled_for_each_alertmanager(receiver: Any, make_alert: MakeAlert) -> None:
    rules: list[Mapping[str, Any]] = [
        {"source_labels": ["service"], "regex": "payment", "action": "drop"},
        {"regex": "instance", "action": "labeldrop"},
    ]
    async with running(pusher(receiver.url, alert_relabel_configs=rules)) as one:
        await one.send([firing(make_alert, service="payment"), firing(make_alert, instance="1")])
        told = await receiver.next()
        assert [alert["labels"] for alert in told] == [{"alertname": "Slow", "service": "cart"}]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"alertmanagers": [{"dns_sd_configs": []}]},
            "'dns_sd_configs' is a key of Alertmanager that is not built yet",
        ),
        ({"alertmanagers": [{"api_version": "v1"}]}, "api_version: Input should be 'v2'"),
        ({"alertmanagers": [{"scheme": "ftp"}]}, "scheme: Input should be 'http' or 'https'"),
        ({"alertmanager": []}, "field 'alertmanager' is not known"),
        ({"alertmanagers": [{"timeout": "soon"}]}, "timeout: not a valid duration string"),
    ],
)
def test_wrong_section_is_refused_by_name(data: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_alerting(data)


def test_wrong_relabelling_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="relabelling rule"):
        push_targets(load_alerting({"alertmanagers": [{"alert_relabel_configs": [{"action": "nothing"}]}]}))


def test_targets_are_found_as_prometheus_finds_them() -> None:
    rules = [{"source_labels": ["zone"], "regex": "b", "action": "drop"}]
    groups = [{"targets": ["x:1", "y:2"], "labels": {"zone": "a"}}, {"targets": ["z:3"], "labels": {"zone": "b"}}]
    entry = {"static_configs": groups, "path_prefix": "am", "scheme": "https", "relabel_configs": rules}
    found = push_targets(load_alerting({"alertmanagers": [entry]}))
    assert [target.url for target in found] == ["https://x:1/am/api/v2/alerts", "https://y:2/am/api/v2/alerts"]
