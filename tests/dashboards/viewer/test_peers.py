"""What the viewer sends when a visitor acts is what the peers' own models take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from collector.api import rule_files as rule_files_api
from dashboards.errors import PeerError
from dashboards.viewer.peers.alertmanager import Alertmanager
from dashboards.viewer.peers.drills import Drills
from dashboards.viewer.peers.remediation import Remediation
from dashboards.viewer.peers.rule_files import RuleFiles
from remediation.app import AnswerRequest, KillSwitchRequest
from remediation.drills.api import StartRequest

URL = "http://peer"


def sent_by(act: Callable[[httpx.AsyncClient], Any], answer: Any = None, status: int = 200) -> httpx.Request:
    """The one request that it makes."""
    requests: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, json={} if answer is None else answer)

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(take)) as client:
            await act(client)

    asyncio.run(run())
    (request,) = requests
    return request


@pytest.mark.parametrize(
    ("act", "method", "path", "model", "answer"),
    [
        (
            lambda c: Remediation(c, URL, "t").answer("r1", "approve", by="ada", reason="seen"),
            "POST",
            "/api/v1/remediations/r1/approve",
            AnswerRequest,
            None,
        ),
        (
            lambda c: Remediation(c, URL, "t").turn_kill_switch(on=True, by="ada", reason="stop"),
            "PUT",
            "/api/v1/kill-switch",
            KillSwitchRequest,
            None,
        ),
        (lambda c: Drills(c, URL, "t").start("latency-surge"), "POST", "/api/v1/drills", StartRequest, None),
        (
            lambda c: RuleFiles(c, URL, "t").save("/r.yml", "groups: []", "v1"),
            "PUT",
            "/api/v1/rule-files/content",
            rule_files_api.SaveBody,
            {"data": {"version": "v2"}},
        ),
        (
            lambda c: RuleFiles(c, URL, "t").backtest("/r.yml", "groups: []", from_ms=1, to_ms=2, alert="A"),
            "POST",
            "/api/v1/rule-files/backtest",
            rule_files_api.BacktestBody,
            {"data": {}},
        ),
        (
            lambda c: RuleFiles(c, URL, "t").test("/r.yml", "groups: []", "tests: []"),
            "POST",
            "/api/v1/rule-files/test",
            rule_files_api.TestBody,
            {"data": {}},
        ),
    ],
)
def test_an_act_is_sent_as_the_peer_takes_it_with_its_token(act, method, path, model, answer):
    request = sent_by(act, answer)
    assert (request.method, request.url.path) == (method, path)
    assert request.headers["authorization"] == "Bearer t"
    model.model_validate_json(request.content)


def test_without_a_token_nothing_is_sent_and_the_reason_is_told():
    async def run() -> None:
        def refuse(_request: httpx.Request) -> httpx.Response:
            raise AssertionError("sent")

        async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as client:
            with pytest.raises(PeerError, match="without the token"):
                await Drills(client, URL, "").start("latency-surge")

    asyncio.run(run())


def test_the_words_of_a_peer_that_refuses_are_kept():
    with pytest.raises(PeerError, match="answered 400: bad matcher") as refused:
        sent_by(lambda c: Alertmanager(c, URL, "t").silence({}), "bad matcher", status=400)
    assert refused.value.status == 400
    error = {"status": "error", "error": "no open question"}
    with pytest.raises(PeerError, match="answered 409: no open question"):
        sent_by(lambda c: Remediation(c, URL, "t").answer("r1", "refuse", by="a", reason="b"), error, status=409)
