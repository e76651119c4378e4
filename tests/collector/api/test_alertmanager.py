"""Alertmanager's API v2 over HTTP, as strangers, broken peers and storms use it. amtool is in tests/interop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from alert_state import rows
from alertmanager_server import TOKEN, Alertmanager, Hook, ours, served

CONFIG: dict[str, Any] = {
    "route": {
        "receiver": "r",
        "group_by": ["alertname"],
        "group_wait": "0s",
        "group_interval": "100ms",
        "routes": [
            {"receiver": "shop", "matchers": ["team=shop"], "mute_time_intervals": ["always"]},
            {"receiver": "core", "matchers": ["team=core"]},
        ],
    },
    "receivers": [{"name": "r"}, {"name": "shop"}, {"name": "core"}],
    "time_intervals": [{"name": "always", "time_intervals": [{"years": ["2000:3000"]}]}],
    "inhibit_rules": [{"source_matchers": ["severity=critical"], "target_matchers": ["severity=warning"]}],
}


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[Alertmanager]:
    async with ours(tmp_path, CONFIG) as running:
        yield running


def at(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def firing(**labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": "Slow", **labels}, "startsAt": at(-1), "endsAt": at(600)}


def silence(**fields: Any) -> dict[str, Any]:
    matchers = [{"name": "alertname", "value": "Slow", "isRegex": False, "isEqual": True}]
    return {
        "matchers": matchers, "startsAt": at(0), "endsAt": at(3600), "createdBy": "me", "comment": "known", **fields,
    }  # fmt: skip


def names(alerts: list[dict[str, Any]]) -> set[str]:
    return {alert["labels"].get("instance", "") for alert in alerts}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v2/alerts", []),
        ("POST", "/api/v2/silences", {}),
        ("DELETE", "/api/v2/silence/x", None),
        ("POST", "/-/reload", None),
    ],
)
@pytest.mark.parametrize("token", ["", "wrong"])
async def test_what_changes_state_wants_the_token(
    alertmanager: Alertmanager, method: str, path: str, body: Any, token: str
) -> None:
    answer = await alertmanager.call(method, path, body, token=token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == 401


async def test_alert_is_shown_as_alertmanager_shows_it(alertmanager: Alertmanager) -> None:
    posted = firing(instance="1") | {
        "annotations": {"summary": "slow"},
        "generatorURL": "http://g",
        "startsAt": at(-60),
    }
    await alertmanager.post(posted)
    (shown,) = (await alertmanager.call("GET", "/api/v2/alerts", token="")).json()
    assert shown["labels"] == posted["labels"]
    assert shown["annotations"] == {"summary": "slow"}
    assert shown["generatorURL"] == "http://g"
    assert shown["receivers"] == [{"name": "r"}]
    assert shown["status"] == {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"}
    assert shown["startsAt"][:19] == posted["startsAt"][:19]
    assert shown["startsAt"].endswith("Z")
    assert len(shown["fingerprint"]) == 16


async def test_filters_choose_by_label_receiver_and_state(alertmanager: Alertmanager) -> None:
    await alertmanager.post(
        firing(instance="plain"),
        firing(instance="core", team="core"),
        firing(instance="muted", team="shop"),
        firing(instance="source", severity="critical"),
        firing(instance="inhibited", severity="warning"),
    )
    await alertmanager.silence(
        **silence(matchers=[{"name": "instance", "value": "pla.*", "isRegex": True, "isEqual": True}])
    )
    for query, expected in {
        "": {"plain", "core", "muted", "source", "inhibited"},
        "?active=false": {"plain", "muted", "inhibited"},
        "?silenced=false": {"core", "muted", "source", "inhibited"},
        "?inhibited=false": {"plain", "core", "muted", "source"},
        "?muted=false": {"plain", "core", "source", "inhibited"},
        "?unprocessed=false": {"plain", "core", "muted", "source", "inhibited"},
        "?receiver=core|shop": {"core", "muted"},
        "?receiver=cor": set(),
        '?filter=team="core"': {"core"},
        "?filter=team!=core&filter=severity=~.%2B": {"source", "inhibited"},
        '?filter={severity="", team=""}': {"plain"},
    }.items():
        assert names(await alertmanager.get(f"/api/v2/alerts{query}")) == expected, query
        groups = await alertmanager.get(f"/api/v2/alerts/groups{query}")
        assert {name for group in groups for name in names(group["alerts"])} == expected, query


async def test_groups_are_listed_with_their_labels_and_receiver(alertmanager: Alertmanager) -> None:
    await alertmanager.post(firing(instance="1"), firing(instance="2", team="core"), firing(instance="3"))
    groups = await alertmanager.get("/api/v2/alerts/groups")
    shown = [(group["labels"], group["receiver"]["name"], names(group["alerts"])) for group in groups]
    assert shown == [({"alertname": "Slow"}, "core", {"2"}), ({"alertname": "Slow"}, "r", {"1", "3"})]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/v2/alerts?active=maybe", 422, "active in query must be of type boolean"),
        ("/api/v2/alerts?filter=a", 400, "bad matcher format: a"),
        ("/api/v2/alerts?receiver=(", 400, "failed to parse receiver param"),
        ("/api/v2/silences?filter=a%3D~(", 400, "error parsing regexp"),
        ("/api/v2/silence/none", 404, "silence none not found"),
        ("/api/v2/nothing", 404, "Not Found"),
    ],
)
async def test_wrong_question_is_refused_clearly(
    alertmanager: Alertmanager, path: str, status: int, message: str
) -> None:
    answer = await alertmanager.call("GET", path)
    assert answer.status_code == status
    body = answer.json()
    assert message in (body if isinstance(body, str) else body["message"])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, "parsing alerts body"),
        ("[" * 100_000, 400, "parsing alerts body"),
        ("{}", 422, "must be of type array"),
        ("[3]", 422, "0 in body must be of type object"),
        ("[{}]", 422, "0.labels in body is required"),
        ('[{"labels": {"a": 1}}]', 422, "0.labels in body must be of type object with text values"),
        ('[{"labels": {"a": "\\ud800"}}]', 422, "not valid UTF-8"),
        ('[{"labels": {}}]', 400, "at least one label pair required"),
        ('[{"labels": {"a": ""}}]', 400, "at least one label pair required"),
        ('[{"labels": {"": "b"}}]', 400, 'invalid label set: invalid name ""'),
        ('[{"labels": {"a": "b"}, "startsAt": "soon"}]', 422, "0.startsAt in body must be of type date-time"),
        ('[{"labels": {"a": "b"}, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"}]', 400,
         "start time must be before end time"),
        (json.dumps([{"labels": {"a": "x" * 70_000}}]), 400, "alert of 70001 characters is over the limit of 65536"),
    ],
)  # fmt: skip
async def test_wrong_alert_is_refused_clearly(alertmanager: Alertmanager, body: str, status: int, message: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{alertmanager.url}/api/v2/alerts", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    shown = answer.json()
    assert message in (shown if isinstance(shown, str) else shown["message"])
    assert await alertmanager.get("/api/v2/alerts") == []


async def test_one_wrong_alert_does_not_keep_the_others_out(alertmanager: Alertmanager) -> None:
    answer = await alertmanager.call("POST", "/api/v2/alerts", [{"labels": {}}, firing(instance="good")])
    assert (answer.status_code, answer.json()) == (400, "at least one label pair required")
    assert names(await alertmanager.get("/api/v2/alerts")) == {"good"}


async def test_alert_without_an_end_times_out_as_configured(tmp_path: Path) -> None:
    async with ours(tmp_path, CONFIG | {"global": {"resolve_timeout": "1s"}}) as alertmanager:
        await alertmanager.post({"labels": {"alertname": "Slow"}})
        assert len(await alertmanager.get("/api/v2/alerts")) == 1
        async with asyncio.timeout(5):
            while await alertmanager.get("/api/v2/alerts"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"matchers": []}, 422, "matchers in body should have at least 1 items"),
        ({"matchers": None}, 422, "matchers in body is required"),
        ({"comment": None}, 422, "comment in body is required"),
        ({"matchers": [{"name": "a"}]}, 422, "matchers.0.value in body is required"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, 400, "error parsing regexp"),
        ({"matchers": [{"name": "a", "value": ".*", "isRegex": True}]}, 400, "must not match the empty string"),
        ({"matchers": [{"name": "", "value": "a", "isRegex": False}]}, 400, "invalid label name"),
        ({"endsAt": "2001-01-01T00:00:00Z", "startsAt": "2000-01-01T00:00:00Z"}, 400, "end time can't be in the past"),
        ({"endsAt": "2000-01-01T00:00:00Z"}, 400, "start time must be before end time"),
        ({"startsAt": "0001-01-01T00:00:00Z"}, 400, "invalid zero start timestamp"),
        ({"id": "00000000-0000-0000-0000-000000000000"}, 404, "not found"),
        ({"comment": "x" * 20_000}, 400, "comment of 20000 characters is over the limit of 16384"),
    ],
)
async def test_wrong_silence_is_refused_clearly(
    alertmanager: Alertmanager, changes: dict[str, Any], status: int, message: str
) -> None:
    answer = await alertmanager.call("POST", "/api/v2/silences", silence(**changes))
    shown = answer.json()
    assert answer.status_code == status, shown
    assert message in (shown if isinstance(shown, str) else shown["message"])
    assert await alertmanager.get("/api/v2/silences") == []


async def test_silence_goes_from_pending_to_active_to_expired(alertmanager: Alertmanager) -> None:
    await alertmanager.post(firing())
    silence_id = await alertmanager.silence(**silence(startsAt=at(0.8), endsAt=at(1.6)))
    states = []
    async with asyncio.timeout(10):
        while not states or states[-1][0] != "expired":
            shown = await alertmanager.get(f"/api/v2/silence/{silence_id}")
            (alert,) = await alertmanager.get("/api/v2/alerts")
            state = shown["status"]["state"], alert["status"]["state"]
            if not states or states[-1][0] != state[0]:
                states.append(state)
            await asyncio.sleep(0.02)
    assert [state for state, _ in states] == ["pending", "active", "expired"]
    assert states[0][1] == "active"


async def test_silence_that_cannot_be_changed_ends_and_another_takes_its_place(alertmanager: Alertmanager) -> None:
    first = await alertmanager.silence(**silence())
    shown = await alertmanager.get(f"/api/v2/silence/{first}")
    same = await alertmanager.silence(
        **silence(id=first, startsAt=shown["startsAt"], comment="longer", endsAt=at(7200))
    )
    assert same == first
    matchers = [{"name": "alertname", "value": "Other", "isRegex": False}]
    second = await alertmanager.silence(**silence(id=first, matchers=matchers))
    assert second != first
    states = {one["id"]: one["status"]["state"] for one in await alertmanager.get("/api/v2/silences")}
    assert states == {first: "expired", second: "active"}
    listed = await alertmanager.get("/api/v2/silences?filter=alertname=Other")
    assert [one["id"] for one in listed] == [second]


async def test_silences_and_alerts_survive_a_restart(tmp_path: Path) -> None:
    async with ours(tmp_path, CONFIG) as alertmanager:
        await alertmanager.post(firing(instance="1"))
        silence_id = await alertmanager.silence(**silence())
        assert rows(tmp_path / "state" / "dispatcher.sqlite", "silences") == 1
        before = await alertmanager.get("/api/v2/silences")
    async with ours(tmp_path, CONFIG) as alertmanager:
        assert await alertmanager.get("/api/v2/silences") == before
        (alert,) = await alertmanager.get("/api/v2/alerts")
        assert alert["status"]["silencedBy"] == [silence_id]


async def test_silence_that_cannot_be_written_is_not_acknowledged_and_not_in_force(
    alertmanager: Alertmanager,
) -> None:
    assert alertmanager.dispatcher is not None
    alertmanager.dispatcher._journal._connection.execute("PRAGMA max_page_count = 1")  # the disk is full
    answer = await alertmanager.call("POST", "/api/v2/silences", silence(comment="x" * 16_000))
    assert answer.status_code == 500
    assert "was not written" in answer.json()
    assert await alertmanager.get("/api/v2/silences") == []


async def test_storm_is_taken_in_one_request_and_survives_a_restart(tmp_path: Path) -> None:
    storm = [firing(instance=str(number)) for number in range(10_000)]
    hook = Hook()
    async with served(hook) as url:
        config = CONFIG | {"receivers": [{"name": "r", "webhook_configs": [{"url": url}]}, *CONFIG["receivers"][1:]]}
        async with ours(tmp_path, config) as alertmanager:
            await alertmanager.post(*storm)
            assert rows(tmp_path / "state" / "dispatcher.sqlite", "alerts") == 10_000
            async with asyncio.timeout(20):
                while not hook.received:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert len(hook.received[-1]["alerts"]) == 10_000
        async with ours(tmp_path, config) as alertmanager:
            assert len(await alertmanager.get("/api/v2/alerts?active=true")) == 10_000
        assert len(hook.received) == 1


async def test_alerts_over_the_limit_are_refused_and_none_of_them_is_taken(tmp_path: Path) -> None:
    async with ours(tmp_path, CONFIG, max_alerts=3) as alertmanager:
        await alertmanager.post(firing(instance="1"), firing(instance="2"))
        answer = await alertmanager.call("POST", "/api/v2/alerts", [firing(instance="3"), firing(instance="4")])
        assert answer.status_code == 400
        assert "alert limit 3 exceeded by 1: 2 are known, 2 new ones were sent, none was taken" in answer.json()
        await alertmanager.post(firing(instance="1"), firing(instance="2"))  # known ones are still welcome
        assert names(await alertmanager.get("/api/v2/alerts")) == {"1", "2"}


async def test_body_over_the_limit_is_refused(alertmanager: Alertmanager) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    body = b"[" + b" " * (33 * 1024 * 1024) + b"]"
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.post(f"{alertmanager.url}/api/v2/alerts", content=body, headers=headers)
    assert answer.status_code == 413


async def test_reload_takes_a_good_file_and_keeps_the_old_one_before_a_bad_one(
    alertmanager: Alertmanager, tmp_path: Path
) -> None:
    path = tmp_path / "alertmanager.yml"
    await alertmanager.post(firing(instance="1"))
    path.write_text(yaml.safe_dump(CONFIG | {"receivers": []}))
    answer = await alertmanager.call("POST", "/-/reload")
    assert answer.status_code == 500
    assert "undefined receiver 'r' used in route" in answer.text
    metrics = (await alertmanager.call("GET", "/metrics")).text
    assert "alertmanager_config_last_reload_successful 0.0" in metrics
    assert len(await alertmanager.get("/api/v2/receivers")) == 3
    path.write_text(yaml.safe_dump({"route": {"receiver": "new"}, "receivers": [{"name": "new"}]}))
    assert (await alertmanager.call("POST", "/-/reload")).status_code == 200
    assert await alertmanager.get("/api/v2/receivers") == [{"name": "new"}]
    (alert,) = await alertmanager.get("/api/v2/alerts")
    assert alert["receivers"] == [{"name": "new"}]
    assert [group["receiver"]["name"] for group in await alertmanager.get("/api/v2/alerts/groups")] == ["new"]


async def test_status_and_metrics_speak_alertmanagers_words(alertmanager: Alertmanager) -> None:
    await alertmanager.post(firing())
    await alertmanager.silence(**silence())
    status = await alertmanager.get("/api/v2/status")
    assert status["cluster"]["status"] == "disabled"
    assert status["versionInfo"]["version"] == "1.2.3"
    assert yaml.safe_load(status["config"]["original"]) == CONFIG
    metrics = (await alertmanager.call("GET", "/metrics")).text
    for line in (
        'alertmanager_alerts{state="suppressed"} 1.0',
        'alertmanager_silences{state="active"} 1.0',
        'alertmanager_alerts_received_total{status="firing",version="v2"} 1.0',
        "alertmanager_dispatcher_aggregation_groups 1.0",
    ):
        assert line in metrics
    for path in ("/-/healthy", "/-/ready"):
        assert (await alertmanager.call("GET", path)).status_code == 200
