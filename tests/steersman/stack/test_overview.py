"""The overview never invents: what does not answer, or answers nonsense, is None."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from rich.console import Console

from steersman.runtime.ports import Ports
from steersman.stack import overview, view
from steersman.stack.settings import Urls

URLS = Urls.of(Ports())
INSTANCE = {"id": "catalog-1", "state": "ready", "port": 1, "pid": 2, "started_at_unix_ms": 3, "restarts": 0}
SERVICE = {"name": "catalog", "desired": 2, "minimum": 1, "maximum": 4, "ready": 1, "instances": [INSTANCE]}


def sample(job: str, value: str) -> dict[str, Any]:
    return {"metric": {"job": job}, "value": [1.0, value]}


GOOD: dict[str, Any] = {
    "/api/v1/services": {"services": [SERVICE]},
    "/api/v1/processes": {"processes": []},
    "/api/v1/query": {"data": {"result": [sample("catalog", "0.25"), sample("cart", "NaN")]}},
    "/api/v1/alerts": {"data": {"alerts": [{"state": "firing", "labels": {"alertname": "Slow", "job": "catalog"}},
                                           {"state": "pending", "labels": {"alertname": "Quiet"}}]}},
    "/api/v1/remediations": {"remediations": [{"id": "a", "state": "verifying"}, {"id": "b", "state": "resolved"}]},
}  # fmt: skip


async def take(answers: dict[str, Any], status: int = 200) -> overview.Overview:
    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.get(request.url.path)
        return httpx.Response(status, json=found) if found is not None else httpx.Response(200, text="<html>")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        return await overview.take(client, URLS)


def shown(now: overview.Overview) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(view.render(now, URLS, load=True))
    console.print(view.processes_table(now))
    return console.file.getvalue() + view.one_line(now)  # type: ignore[attr-defined,no-any-return]


async def test_only_what_fires_and_what_runs_is_listed():
    now = await take(GOOD)
    assert now.p99_s == {"catalog": 0.25}
    assert [alert["labels"]["alertname"] for alert in now.alerts or []] == ["Slow"]
    assert [record["id"] for record in now.remediations or []] == ["a"]
    text = shown(now)
    assert "250 ms" in text
    assert "Slow(catalog)" in text
    assert "Quiet" not in text


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({}, 200),
        (GOOD, 503),
        ({key: [] for key in GOOD}, 200),
        ({key: {"data": None} for key in GOOD}, 200),
        ({"/api/v1/query": {"data": {"result": [{"metric": {}}]}}}, 200),
        ({"/api/v1/query": {"data": {"result": [sample("catalog", "many")]}}}, 200),
    ],
)
async def test_nonsense_and_silence_are_none_and_said_to_be(answers: dict[str, Any], status: int):
    now = await take(answers, status)
    assert (now.services, now.rates, now.alerts, now.remediations) == (None, None, None, None)
    assert "does not answer" in shown(now)


async def test_stack_that_is_gone_is_none_throughout():
    async with httpx.AsyncClient(trust_env=False) as client:
        urls = Urls(**dict.fromkeys(Urls.__dataclass_fields__, "http://127.0.0.1:1"))
        now = await overview.take(client, urls)
    assert now.services is None
    assert now.processes is None
