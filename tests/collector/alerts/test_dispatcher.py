"""The dispatcher against a real HTTP server; a restart is a new dispatcher over the same file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from alert_state import is_logged

from collector.alerts.alert_group import NOTIFICATIONS_FAILED, Patience
from collector.alerts.config import load_config
from collector.alerts.dispatcher import Dispatcher
from collector.errors import TemporaryError
from collector.model.alert import Alert

MakeAlert = Callable[..., Alert]
PATIENCE = Patience(first_s=0.02, longest_s=0.1, refused_s=60)
MINUTE_MS = 60_000


class Receiver(Protocol):
    url: str
    headers: list[dict[str, str]]
    answers: list[int]
    attempts: int
    always: int | None

    async def next(self, timeout_s: float = 5.0) -> dict[str, Any]: ...
    async def stays_silent(self, for_s: float = 0.4) -> bool: ...


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def dispatcher(
    url: str, folder: Path, *, webhook: dict[str, Any] | None = None, patience: Patience = PATIENCE, **route: Any
) -> Dispatcher:
    data = {
        "route": {
            "receiver": "worker",
            "group_by": ["service"],
            "group_wait": "0s",
            "group_interval": "100ms",
            "repeat_interval": "1h",
        }
        | route,
        "receivers": [{"name": "worker", "webhook_configs": [{"url": url} | (webhook or {})]}],
    }
    path = folder / "state" / "dispatcher.sqlite"
    return Dispatcher(load_config(data), state_path=path, external_url="http://c:9090/", patience=patience)


@contextlib.asynccontextmanager
async def running(one: Dispatcher) -> AsyncIterator[Dispatcher]:
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    try:
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        one.close()


def firing(make_alert: MakeAlert, **labels: str) -> Alert:
    return make_alert(now_ms(), now_ms() + MINUTE_MS, **labels)


def resolved(alert: Alert) -> Alert:
    return Alert(alert.labels, alert.annotations, alert.starts_at_ms, now_ms(), alert.generator_url)


def summary(payload: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((alert["labels"]["service"], alert["status"]) for alert in payload["alerts"])


async def written_down(folder: Path) -> None:
    """Until the notification log has an entry on disk: killed before, a dispatcher rightly tells again."""
    async with asyncio.timeout(5):
        while not is_logged(folder / "state" / "dispatcher.sqlite"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_firing_reaches_the_webhook_within_a_second(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        alert = firing(make_alert)
        started = time.perf_counter()
        await one.accept([alert])
        payload = await receiver.next()
        assert time.perf_counter() - started < 1
    assert (payload["version"], payload["status"], payload["receiver"]) == ("4", "firing", "worker")
    assert payload["groupKey"] == '{}:{service="cart"}'
    assert payload["externalURL"] == "http://c:9090"
    assert payload["alerts"][0]["fingerprint"] == alert.fingerprint


async def test_alerts_are_grouped_and_the_group_is_told_of_what_joins_and_resolves(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        first, second = firing(make_alert, instance="1"), firing(make_alert, instance="2")
        other = firing(make_alert, service="payment")
        await one.accept([first, other])
        told = [summary(await receiver.next()), summary(await receiver.next())]
        assert sorted(told) == [[("cart", "firing")], [("payment", "firing")]]
        await one.accept([second])
        assert summary(await receiver.next()) == [("cart", "firing"), ("cart", "firing")]
        await one.accept([resolved(first)])
        assert summary(await receiver.next()) == [("cart", "firing"), ("cart", "resolved")]
        await one.accept([resolved(second)])
        last = await receiver.next()
        assert (last["status"], summary(last)) == ("resolved", [("cart", "resolved")])
        await one.accept([resolved(other)])
        assert summary(await receiver.next()) == [("payment", "resolved")]
        async with asyncio.timeout(5):
            while one.alerts:  # noqa: ASYNC110  (nothing announces it)
                await asyncio.sleep(0.02)


async def test_group_wait_gathers_what_fires_together(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path, group_wait="200ms")) as one:
        await one.accept([firing(make_alert, instance="1")])
        await one.accept([firing(make_alert, instance="2")])
        assert len((await receiver.next())["alerts"]) == 2


async def test_repeated_alert_is_told_once_and_again_after_the_repeat_interval(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    alert = firing(make_alert)
    async with running(dispatcher(receiver.url, tmp_path, repeat_interval="1500ms")) as one:
        await one.accept([alert])
        first = await receiver.next()
        await one.accept([alert])
        assert await receiver.stays_silent(0.3)
        assert (await receiver.next())["alerts"] == first["alerts"]


async def test_alert_that_nobody_repeats_resolves_at_its_end(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([make_alert(now_ms(), now_ms() + 1500)])
        assert (await receiver.next())["status"] == "firing"
        assert (await receiver.next())["status"] == "resolved"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_notification_is_tried_again_until_it_is_taken(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert, status: int
) -> None:
    receiver.answers = [status] * 4
    failed = NOTIFICATIONS_FAILED.labels("webhook", "serverError")
    before = failed._value.get()
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([firing(make_alert)])
        assert (await receiver.next())["status"] == "firing"
        assert await receiver.stays_silent()
    assert receiver.attempts == 5
    assert failed._value.get() - before == 4


async def test_receiver_that_comes_up_late_hears_the_truth_of_that_time(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    receiver.always = 503
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        alert, other = firing(make_alert, instance="1"), firing(make_alert, instance="2")
        await one.accept([alert])
        await one.accept([other])
        await one.accept([resolved(alert)])
        await receiver.refuses_again()
        receiver.always = None
        assert summary(await receiver.next()) == [("cart", "firing"), ("cart", "resolved")]


async def test_nothing_is_left_to_say_when_an_alert_came_and_went_while_the_receiver_was_down(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    receiver.always = 503
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        alert = firing(make_alert)
        await one.accept([alert])
        await one.accept([resolved(alert)])
        async with asyncio.timeout(5):
            while one.alerts:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        receiver.always = None
        assert await receiver.stays_silent()


async def test_refused_connection_is_tried_again(receiver: Receiver, tmp_path: Path, make_alert: MakeAlert) -> None:
    one = dispatcher("http://127.0.0.1:1/hook", tmp_path)
    async with running(one):
        await one.accept([firing(make_alert)])
        await asyncio.sleep(0.2)
    async with running(dispatcher(receiver.url, tmp_path)):
        assert (await receiver.next())["status"] == "firing"


async def test_refusal_is_given_up_logged_and_counted_until_there_is_something_new(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.always = 400
    failed = NOTIFICATIONS_FAILED.labels("webhook", "clientError")
    before = failed._value.get()
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([firing(make_alert, instance="1")])
        await asyncio.sleep(0.25)
        assert receiver.attempts == 1
        assert failed._value.get() - before == 1
        assert "is given up: worker/webhook/0: unexpected status code 400: the answer" in caplog.text
        receiver.always = None
        await one.accept([firing(make_alert, instance="2")])
        assert len((await receiver.next())["alerts"]) == 2


async def test_refused_notification_is_offered_again_after_a_rest(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    receiver.answers = [401]
    patience = Patience(first_s=0.02, longest_s=0.1, refused_s=0.3)
    async with running(dispatcher(receiver.url, tmp_path, patience=patience)) as one:
        await one.accept([firing(make_alert)])
        assert (await receiver.next())["status"] == "firing"
    assert receiver.attempts == 2


async def test_credentials_are_read_for_each_notification_and_never_logged(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "token"
    token.write_text("first-s3cret\n")
    http_config = {"authorization": {"credentials_file": str(token)}}
    async with running(dispatcher(receiver.url, tmp_path, webhook={"http_config": http_config})) as one:
        alert = firing(make_alert)
        receiver.answers = [503]
        await one.accept([alert])
        await receiver.next()
        token.write_text("second-s3cret")
        await one.accept([resolved(alert)])
        await receiver.next()
    assert [headers["authorization"] for headers in receiver.headers] == [
        "Bearer first-s3cret",
        "Bearer first-s3cret",
        "Bearer second-s3cret",
    ]
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("content", [None, b"", b"two\nlines-s3cret", b"\xff-s3cret"])
async def test_unusable_credentials_delay_the_notification_and_are_not_shown(
    receiver: Receiver,
    tmp_path: Path,
    make_alert: MakeAlert,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    http_config = {"authorization": {"credentials_file": str(token)}}
    async with running(dispatcher(receiver.url, tmp_path, webhook={"http_config": http_config})) as one:
        await one.accept([firing(make_alert)])
        await asyncio.sleep(0.1)
        assert receiver.attempts == 0
        token.write_text("good")
        await receiver.next()
    assert f"cannot read {token}" in caplog.text
    assert "s3cret" not in caplog.text


async def test_restart_repeats_nothing_and_still_tells_the_resolution(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    alert = firing(make_alert)
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([alert])
        await receiver.next()
        await written_down(tmp_path)
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([alert])
        assert await receiver.stays_silent()
        await one.accept([resolved(alert)])
        payload = await receiver.next()
        assert (payload["status"], payload["alerts"][0]["fingerprint"]) == ("resolved", alert.fingerprint)


async def test_resolution_accepted_before_a_crash_is_told_after_it(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    alert = firing(make_alert)
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([alert])
        await receiver.next()
        receiver.always = 503
        await one.accept([resolved(alert)])
    receiver.always = None
    async with running(dispatcher(receiver.url, tmp_path)):
        assert (await receiver.next())["status"] == "resolved"


async def test_alert_whose_end_passed_during_the_outage_is_believed_until_the_rules_speak(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        alert = make_alert(now_ms(), now_ms() + 1500)
        await one.accept([alert])
        await receiver.next()
        await written_down(tmp_path)
    await asyncio.sleep(max(0, alert.ends_at_ms - now_ms() + 1) / 1000)
    async with running(dispatcher(receiver.url, tmp_path)):
        assert await receiver.stays_silent()


async def test_alert_that_fired_anew_is_told_with_its_new_start(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        old = make_alert(now_ms() - 5000, now_ms() + MINUTE_MS)
        await one.accept([old])
        first = await receiver.next()
        await one.accept([resolved(old)])
        await asyncio.sleep(0.002)
        await one.accept([firing(make_alert)])
        second = await receiver.next()
        assert second["alerts"][0]["startsAt"] > first["alerts"][0]["startsAt"]


async def test_webhook_that_is_down_does_not_hold_up_another(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    data = {
        "route": {"receiver": "both", "group_wait": "0s", "group_interval": "100ms"},
        "receivers": [
            {"name": "both", "webhook_configs": [{"url": "http://127.0.0.1:1/down"}, {"url": receiver.url}]},
        ],
    }
    one = Dispatcher(load_config(data), state_path=tmp_path / "d.json", external_url="", patience=PATIENCE)
    async with running(one):
        alert = firing(make_alert)
        await one.accept([alert])
        assert (await receiver.next())["status"] == "firing"
        await one.accept([resolved(alert)])
        assert (await receiver.next())["status"] == "resolved"


async def test_without_send_resolved_only_firing_is_told(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path, webhook={"send_resolved": False})) as one:
        alert = firing(make_alert)
        await one.accept([alert])
        await receiver.next()
        await one.accept([resolved(alert)])
        assert await receiver.stays_silent()
        assert one.alerts == []


async def test_unreadable_state_is_set_aside(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "dispatcher.sqlite"
    path.parent.mkdir()
    path.write_text('{"version": 1, "alerts"')
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([firing(make_alert)])
        await receiver.next()
    assert "is left aside" in caplog.text
    assert path.with_name("dispatcher.sqlite.bad").read_text() == '{"version": 1, "alerts"'


async def test_alert_is_delivered_although_the_disk_refuses_to_remember_it(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        one._journal._connection.execute("PRAGMA max_page_count = 1")  # the disk is full
        with pytest.raises(TemporaryError, match=r"alert state .*dispatcher\.sqlite was not written"):
            await one.accept([firing(make_alert, padding="x" * 100_000)])
        assert (await receiver.next())["status"] == "firing"


async def test_nothing_runs_on_after_the_dispatcher_was_cancelled(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    receiver.always = 503
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        await one.accept([firing(make_alert)])
        await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("notify ")]


async def test_resolved_alert_waits_for_the_interval_unless_told_otherwise(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path / "waits", group_interval="1h")) as one:
        alert = firing(make_alert)
        await one.accept([alert])
        await receiver.next()
        await one.accept([resolved(alert)])
        assert await receiver.stays_silent()
    async with running(dispatcher(receiver.url, tmp_path / "tells", group_interval="1h", resolve_wait="50ms")) as one:
        alert, joins = firing(make_alert, instance="1"), firing(make_alert, instance="2")
        await one.accept([alert])
        await receiver.next()
        await one.accept([joins])
        assert await receiver.stays_silent()
        await one.accept([resolved(alert)])
        assert summary(await receiver.next()) == [("cart", "firing"), ("cart", "resolved")]


async def test_hundreds_of_groups_are_all_told(receiver: Receiver, tmp_path: Path, make_alert: MakeAlert) -> None:
    async with running(dispatcher(receiver.url, tmp_path, group_by=["..."], group_interval="1h")) as one:
        await one.accept([firing(make_alert, instance=str(number)) for number in range(300)])
        told = {(await receiver.next())["alerts"][0]["labels"]["instance"] for _ in range(300)}
    assert len(told) == 300


async def test_reconfigured_dispatcher_repeats_nothing_and_routes_anew(
    receiver: Receiver, tmp_path: Path, make_alert: MakeAlert
) -> None:
    async with running(dispatcher(receiver.url, tmp_path)) as one:
        alert = firing(make_alert)
        await one.accept([alert])
        await receiver.next()
        await one.reconfigure(one.config)
        assert await receiver.stays_silent()
        await one.accept([resolved(alert)])
        assert (await receiver.next())["status"] == "resolved"
