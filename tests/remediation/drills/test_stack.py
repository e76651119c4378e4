"""The edge, against real HTTP on loopback."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from remediation.drills import breaker, seams
from remediation.drills.breaker import Breaker
from remediation.drills.disturbances import SetFault, SetLoad, SetVersion, Storm
from remediation.drills.endpoints import Endpoints
from remediation.drills.errors import BrokenAnswerError, DrillError, RefusedError, StackUnreachableError
from remediation.drills.injection import Alerts, Deploy, Fault
from remediation.drills.observation import Service
from remediation.drills.undo import Undo
from remediation.webhook import Notification
from steersman.runtime.tokens import read_token


@pytest.fixture
async def stack(stand_in):
    async with Breaker(stand_in.endpoints) as opened:
        yield opened


async def test_one_poll_reads_everything(stack):
    seen = await stack.observe(["p99"])
    assert seen.troubles == ()
    assert seen.alerts == ()
    assert seen.services == {"catalog": Service("catalog", 1, 1, 1, 9)}
    assert seen.samples == {"p99": (0.1,)}


async def test_a_refused_query_is_told_apart_from_trouble(stack):
    seen = await stack.observe(["syntax("])
    assert seen.troubles == ()
    assert "400: unexpected end of input" in seen.refused["syntax("]


async def test_what_is_down_is_named_and_the_rest_is_read(stack, stand_in):
    stand_in.seams.down.add("/api/v1/alerts")
    seen = await stack.observe([])
    assert seen.alerts is None
    assert seen.services is not None
    (trouble,) = seen.troubles
    assert trouble.startswith(
        f"prometheus at {stand_in.url} (STEERSMAN_PROMETHEUS_URL) answered GET /api/v1/alerts with 503"
    )


@pytest.mark.parametrize("answer", [{}, [], None, {"services": [{"name": "x"}]}, {"services": 5}, {"services": [None]}])
async def test_an_answer_without_its_shape_is_trouble_not_a_crash(stack, stand_in, monkeypatch, answer):
    monkeypatch.setattr(stand_in.seams, "answer", lambda *_: (200, answer))
    seen = await stack.observe(["p99"])
    assert seen.services is None
    assert any("orchestrator: cannot read its answer" in trouble for trouble in seen.troubles)


async def test_a_body_beyond_the_limit_is_refused(stack, monkeypatch):
    monkeypatch.setattr(seams, "MAX_BODY_BYTES", 10)
    seen = await stack.observe([])
    assert "more than 10 bytes" in seen.troubles[0]


async def test_load_is_set_with_a_ttl_and_a_token_and_taken_back(stack, stand_in):
    disturbances = [SetLoad("browse", 60.0, 115.0)]
    undo = await stack.undo_of(disturbances)
    assert await stack.inject(disturbances[0]) == "load: browse at 60/s, for 115s at most"
    assert await stack.undo(undo[0]) == "load: browse back at 8/s"
    bearer = "Bearer " + read_token(stand_in.endpoints.data_dir.token_file("load"))
    assert stand_in.seams.changes() == [
        ("PUT", "/rate", bearer, {"browse": 60.0, "ttl_s": 115.0}),
        ("PUT", "/rate", bearer, {"browse": 8.0}),
    ]


async def test_a_fault_is_set_through_the_mesh_and_ended(stack, stand_in):
    fault = Fault(service="checkout", kind="slow_dependency", dependency="payment", latency_ms=1500)
    disturbance = SetFault(fault, 30.0)
    undo = await stack.undo_of([disturbance])
    await stack.inject(disturbance)
    await stack.undo(undo[0])
    bearer = "Bearer " + read_token(stand_in.endpoints.data_dir.token_file("faults"))
    body = {"kind": "slow_dependency", "latency_ms": 1500, "dependency": "payment", "ttl_s": 30.0}
    assert stand_in.seams.changes() == [
        ("PUT", "/checkout/admin/faults", bearer, body),
        ("DELETE", "/checkout/admin/faults?kind=slow_dependency", bearer, None),
    ]


async def test_undoing_asks_again_while_the_stack_is_down(stack, stand_in, monkeypatch):
    monkeypatch.setattr(breaker, "UNDO_PAUSE_S", 0.01)
    stand_in.seams.down.add("/rate")
    with pytest.raises(DrillError, match="503"):
        await stack.undo(Undo.load({"browse": 8.0}), attempts=3)
    assert len(stand_in.seams.changes()) == 3


async def test_undoing_does_not_ask_again_what_was_refused(stack, stand_in, monkeypatch):
    monkeypatch.setattr(stand_in.seams, "answer", lambda *_: (401, {"error": "missing or wrong bearer token"}))
    with pytest.raises(RefusedError, match="401: missing or wrong bearer token"):
        await stack.undo(Undo.load({"browse": 8.0}))
    assert len(stand_in.seams.changes()) == 1


async def test_a_load_generator_that_hides_its_rate_stops_the_injection(stack, stand_in):
    del stand_in.seams.rates["buy"]
    with pytest.raises(BrokenAnswerError, match=r"names .*'browse'.*, not \['buy'\]"):
        await stack.undo_of([SetLoad("buy", 4.0, 60.0)])


async def test_a_stack_that_is_not_there_is_named_with_its_variable(stand_in):
    endpoints = replace(stand_in.endpoints, orchestrator="http://127.0.0.1:1")
    async with Breaker(endpoints) as stack:
        with pytest.raises(
            StackUnreachableError, match=r"orchestrator at http://127\.0\.0\.1:1 .STEERSMAN_ORCHESTRATOR_URL"
        ):
            await stack.check()


async def test_a_missing_token_says_where_it_was_looked_for(stand_in):
    stand_in.endpoints.data_dir.token_file("faults").unlink()
    async with Breaker(stand_in.endpoints) as stack:
        with pytest.raises(StackUnreachableError, match=r"faults\.token"):
            await stack.check()


async def test_tokens_never_show_in_messages(stack, stand_in, monkeypatch):
    monkeypatch.setattr(stand_in.seams, "answer", lambda *_: (403, {"error": "no"}))
    with pytest.raises(RefusedError) as error:
        await stack.inject(SetLoad("browse", 60.0, 115.0))
    assert read_token(stand_in.endpoints.data_dir.token_file("load")) not in str(error.value)


def test_what_the_environment_does_not_say_is_at_the_standard_ports():
    endpoints = Endpoints.from_environment({"STEERSMAN_LOAD_URL": "http://127.0.0.1:9/"})
    assert endpoints.load == "http://127.0.0.1:9"
    assert endpoints.prometheus == "http://127.0.0.1:9090"
    assert endpoints.data_dir.root.name == ".steersman"


async def test_a_version_is_deployed_for_a_time_and_the_former_one_comes_back(stack, stand_in):
    disturbance = SetVersion(Deploy(service="catalog", version="1.1.0"), 115.0)
    (undo,) = await stack.undo_of([disturbance])
    assert Undo.from_json(undo.to_json()) == undo
    assert await stack.inject(disturbance) == "deploy: 1.1.0 of catalog, for 115s at most"
    assert await stack.undo(undo) == "deploy: 1.0.0 of catalog is back"
    (_, path, _, deployed), (_, _, _, back) = stand_in.seams.changes()
    assert path == "/api/v1/services/catalog/version"
    assert (deployed["version"], back["version"]) == ("1.1.0", "1.0.0")
    assert time.time() * 1000 + 100_000 < deployed["until_unix_ms"] < time.time() * 1000 + 120_000


async def test_a_storm_tells_of_each_alert_once_and_resolves_the_same_ones(stack, stand_in):
    disturbance = Storm(Alerts(service="catalog", alertname="Slow", count=120), 115.0)
    (undo,) = await stack.undo_of([disturbance])
    assert (await stack.inject(disturbance)).startswith("alerts: 120 of Slow for catalog: firing, accepted in ")
    assert Undo.from_json(undo.to_json()) == undo
    await stack.undo(undo)
    told = {"firing": [], "resolved": []}
    for method, path, bearer, body in stand_in.seams.changes():
        assert (method, path) == ("POST", "/api/v1/webhook/alertmanager")
        assert bearer == "Bearer " + read_token(stand_in.endpoints.data_dir.token_file("remediation"))
        assert Notification.model_validate(body).version == "4"
        told[body["status"]] += [(alert["fingerprint"], alert["startsAt"]) for alert in body["alerts"]]
    assert len(set(told["firing"])) == 120
    assert sorted(told["firing"]) == sorted(told["resolved"])


async def test_a_storm_that_the_worker_does_not_take_is_an_error_by_name(stack, stand_in):
    stand_in.seams.down.add("/api/v1/webhook")
    disturbance = Storm(Alerts(service="catalog", alertname="Slow", count=1), 115.0)
    await stack.undo_of([disturbance])
    with pytest.raises(BrokenAnswerError, match=r"remediation at .* with 503: starting"):
        await stack.inject(disturbance)
