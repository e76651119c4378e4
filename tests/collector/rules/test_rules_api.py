"""The API's answers, in the shapes that Prometheus's clients expect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from collector.api.rules import rules_router
from collector.model.alert import Alert
from collector.query.promql.engine import Engine
from collector.rules.manager import RuleManager
from collector.storage.metrics.store import MetricStore

RULES = """
groups:
  - name: shop
    interval: 2s
    rules:
      - {record: double, expr: latency * 2, labels: {team: shop}}
      - alert: Slow
        expr: latency > 0.5
        keep_firing_for: 5s
        annotations: {summary: "{{ $labels.job }} is slow"}
      - {alert: Broken, expr: "latency + on () latency", for: 1m}
  - {name: other, rules: [{record: one, expr: vector(1)}]}
"""
Put = Callable[[int, Mapping[str, float]], Awaitable[None]]


async def nobody(_alerts: Sequence[Alert]) -> None:
    pass


@pytest.fixture
async def api(
    tmp_path: Path, engine: Engine, store: MetricStore, put: Put, start_ms: int
) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "rules.yml").write_text(RULES)
    manager = RuleManager(
        files=[str(tmp_path / "rules.yml")],
        engine=engine,
        sink=store,
        source=store,
        notify=nobody,
        state_path=tmp_path / "alerts.json",
        evaluation_interval_s=1,
        external_url="http://c",
        clock=lambda: start_ms / 1000,
    )
    await manager.reload()
    await put(start_ms, {"cart": 0.75, "catalog": 0.1})
    for group in manager.groups:
        await manager.evaluate(group, start_ms)
    await put(start_ms + 1000, {"cart": 0.1, "catalog": 0.1})
    await manager.evaluate(manager.groups[1], start_ms + 1000)
    app = FastAPI()
    app.include_router(rules_router(manager))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://c") as client:
        yield client


async def test_alerts_are_those_pending_or_firing(api: httpx.AsyncClient) -> None:
    answer = (await api.get("/api/v1/alerts")).json()
    assert answer == {
        "status": "success",
        "data": {
            "alerts": [
                {
                    "labels": {"alertname": "Slow", "job": "cart"},
                    "annotations": {"summary": "cart is slow"},
                    "state": "firing",
                    "activeAt": "2023-11-14T22:13:20Z",
                    "keepFiringSince": "2023-11-14T22:13:21Z",
                    "value": "7.5e-01",
                }
            ]
        },
    }


async def test_rules_tell_state_health_and_timing(api: httpx.AsyncClient, tmp_path: Path) -> None:
    other, shop = (await api.get("/api/v1/rules")).json()["data"]["groups"]
    assert (other["name"], other["interval"]) == ("other", 1.0)
    assert (shop["file"], shop["interval"], shop["limit"]) == (str(tmp_path / "rules.yml"), 2.0, 0)
    assert shop["lastEvaluation"] == "2023-11-14T22:13:21Z"
    recording, slow, broken = shop["rules"]
    assert recording["evaluationTime"] > 0
    assert {key: recording[key] for key in ("name", "query", "labels", "health", "type")} == {
        "name": "double",
        "query": "latency * 2",
        "labels": {"team": "shop"},
        "health": "ok",
        "type": "recording",
    }
    assert "lastError" not in recording
    assert (slow["state"], slow["duration"], slow["keepFiringFor"], slow["type"]) == ("firing", 0.0, 5.0, "alerting")
    assert len(slow["alerts"]) == 1
    assert (broken["state"], broken["health"], broken["duration"]) == ("inactive", "err", 60.0)
    assert "many" in broken["lastError"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("type=alert", ["Slow", "Broken"]),
        ("type=record", ["one", "double"]),
        ("rule_name[]=Slow&rule_name[]=one", ["one", "Slow"]),
        ("rule_group[]=other", ["one"]),
        ("file[]=nope", []),
        ("type=record&rule_group[]=shop", ["double"]),
        ('match[]={team="shop"}', ["double"]),
        ('match[]={team=~".%2B"}&match[]={nothing="x"}', ["double"]),
    ],
)
async def test_filters_leave_out_rules_and_groups_that_are_empty_then(
    api: httpx.AsyncClient, query: str, names: list[str]
) -> None:
    groups: list[dict[str, Any]] = (await api.get(f"/api/v1/rules?{query}")).json()["data"]["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"]] == names
    assert all(group["rules"] for group in groups)


async def test_alerts_can_be_left_out(api: httpx.AsyncClient) -> None:
    groups = (await api.get("/api/v1/rules?exclude_alerts=true&rule_name[]=Slow")).json()["data"]["groups"]
    assert groups[0]["rules"][0]["alerts"] is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("type=both", 'invalid parameter "type": not supported value "both"'),
        (
            "exclude_alerts=perhaps",
            (
                'invalid parameter "exclude_alerts": error converting exclude_alerts: '
                'strconv.ParseBool: parsing "perhaps": invalid syntax'
            ),
        ),
        ("match[]={}", "match[] must contain at least one non-empty matcher"),
        ("group_limit=0", 'invalid parameter "group_limit": group_limit needs to be greater than 0'),
        (
            "group_next_token=x",
            'invalid parameter "group_next_token": group_limit needs to be set in order to paginate over the groups',
        ),
        (
            "group_next_token=x&group_limit=1",
            "invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?",
        ),
    ],
)
async def test_wrong_parameter_is_refused_in_the_envelope(api: httpx.AsyncClient, query: str, message: str) -> None:
    answer = await api.get(f"/api/v1/rules?{query}")
    assert answer.status_code == 400
    assert answer.json() == {"status": "error", "errorType": "bad_data", "error": message}


async def test_groups_come_in_pages(api: httpx.AsyncClient) -> None:
    first = (await api.get("/api/v1/rules?group_limit=1")).json()["data"]
    assert [group["name"] for group in first["groups"]] == ["other"]
    last = (
        await api.get("/api/v1/rules", params={"group_limit": 1, "group_next_token": first["groupNextToken"]})
    ).json()
    assert [group["name"] for group in last["data"]["groups"]] == ["shop"]
    assert "groupNextToken" not in last["data"]
