"""apprise's services against real servers on the loopback, and how Alertmanager's keys become their addresses."""

from __future__ import annotations

import asyncio
import contextlib
import email
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from collector.alerts import apprise_service
from collector.alerts.apprise_service import _ADDRESSES, AppriseService
from collector.alerts.config import load_config
from collector.alerts.integration import RefusedError
from collector.alerts.notification import Notification
from collector.alerts.notification_text import body, subject
from collector.errors import ConfigError, TemporaryError
from collector.model.alert import Alert

# apprise asks for a module that later Pythons lack, and does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
MakeAlert = Callable[..., Alert]
NOW_MS = time.time_ns() // 1_000_000


def service(**receiver: Any) -> AppriseService:
    config = load_config({"route": {"receiver": "r"}, "receivers": [{"name": "r", **receiver}]}).receiver("r")
    return AppriseService("r/x/0", (*config.services, *config.apprise_configs)[0])


@pytest.fixture
def notification(make_alert: MakeAlert) -> Notification:
    alerts = [
        make_alert(NOW_MS - 1000, NOW_MS + 60_000, severity="critical", instance="1"),
        make_alert(NOW_MS - 1000, NOW_MS - 500, severity="critical", instance="2"),
    ]
    return Notification(
        alerts=alerts,
        receiver="r",
        group_labels=(("alertname", "Slow"),),
        group_key='{}:{alertname="Slow"}',
        external_url="http://am",
        now_ms=NOW_MS,
    )


def test_default_texts_are_alertmanagers(notification: Notification) -> None:
    assert subject(notification) == "[FIRING:1] Slow (cart critical)"
    assert body(notification) == (
        "Alerts Firing:\nLabels:\n - alertname = Slow\n - instance = 1\n - service = cart\n - severity = critical\n"
        "Annotations:\n - runbook = look at the traces\n - summary = cart is slow\nSource: http://c:9090/graph\n\n"
        "Alerts Resolved:\nLabels:\n - alertname = Slow\n - instance = 2\n - service = cart\n - severity = critical\n"
        "Annotations:\n - runbook = look at the traces\n - summary = cart is slow\nSource: http://c:9090/graph\n"
    )


async def test_any_service_is_told_by_its_url(receiver: Any, notification: Notification, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(receiver.url.replace("http", "json"))
    await service(apprise_configs=[{"url_file": str(tmp_path / "url")}]).deliver(notification)
    told = await receiver.next()
    assert (told["title"], told["type"]) == ("[FIRING:1] Slow (cart critical)", "failure")
    assert told["message"].startswith("Alerts Firing:\nLabels:\n - alertname = Slow")


async def test_service_that_fails_is_asked_a_few_times_and_its_secret_is_not_logged(
    receiver: Any, notification: Notification, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(apprise_service, "RETRY_AFTER_S", 0.01)
    receiver.always = 500
    url = receiver.url.replace("http://", "json://user:s3cret@")
    with pytest.raises(RefusedError, match="r/x/0: the service did not take it in 3 attempts"):
        await service(apprise_configs=[{"url": url}]).deliver(notification)
    assert receiver.attempts == 3
    assert "s3cret" not in caplog.text


async def test_missing_secret_file_delays_the_notification(notification: Notification, tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=f"cannot read {tmp_path / 'url'}"):
        await service(apprise_configs=[{"url_file": str(tmp_path / "url")}]).deliver(notification)


@pytest.mark.parametrize(
    "receiver",
    [
        {"apprise_configs": [{"url": "s3cret"}]},
        {"apprise_configs": [{"url": "pagerduty://s3cret"}]},
        {"telegram_configs": [{"bot_token": "s3cret", "chat_id": 1}]},
    ],
)
async def test_what_apprise_does_not_take_is_refused_without_repeating_it(
    receiver: dict[str, Any], notification: Notification, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(RefusedError) as caught:
        await service(**receiver).deliver(notification)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in caplog.text


@contextlib.asynccontextmanager
async def smtp_server() -> AsyncIterator[tuple[int, list[str]]]:
    """Speaks as much SMTP as takes a message (RFC 5321)."""
    messages: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line.strip().upper().split(b" ")[0]
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                messages.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 well\r\n")
            if word == b"QUIT":
                break
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], messages


async def test_mail_is_sent_with_alertmanagers_subject(notification: Notification) -> None:
    async with smtp_server() as (port, messages):
        mail = {"to": "a@example.com", "from": "am@example.com", "smarthost": f"127.0.0.1:{port}", "require_tls": False}
        await service(email_configs=[mail]).deliver(notification)
        headers = {"Subject": "mine", "X-Team": "shop", "Reply-To": '{{ template "email.default.subject" . }}'}
        await service(email_configs=[mail | {"headers": headers}]).deliver(notification)
    own = email.message_from_string(messages[1])
    assert (own["Subject"], own["X-Team"], own["Reply-To"]) == ("mine", "shop", None)
    message = email.message_from_string(messages[0])
    assert str(message["To"]) == "a@example.com"
    assert "am@example.com" in str(message["From"])
    assert message["Subject"] == "[FIRING:1] Slow (cart critical)"
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert b" - severity = critical" in payload


UUID = "01234567-0123-0123-0123-0123456789ab"
KEYS = {
    "slack": {"api_url": "https://hooks.slack.com/services/T12345678/B12345678/" + "a" * 24, "channel": "#ops"},
    "pagerduty": {"routing_key": "a" * 32, "severity": "critical"},
    "opsgenie": {"api_key": UUID, "priority": "P1", "tags": "a,b"},
    "telegram": {"bot_token": "123456789:" + "a" * 35, "chat_id": -1001234},
    "discord": {"webhook_url": "https://discord.com/api/webhooks/" + "1" * 24 + "/" + "a" * 64},
    "msteamsv2": {
        "webhook_url": "https://prod-1.westeurope.logic.azure.com:443/workflows/"
        + "a" * 32
        + "/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig="
        + "b" * 43
    },
    "pushover": {"user_key": "u" * 30, "token": "t" * 30},
    "sns": {
        "sigv4": {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "a" * 40, "region": "eu-west-1"},
        "topic_arn": "arn:aws:sns:eu-west-1:123456789012:alerts",
    },
    "victorops": {"api_key": UUID, "routing_key": "team"},
    "wechat": {"api_secret": "s" * 43, "corp_id": "ww" + "1" * 16, "agent_id": "1000002"},
    "mattermost": {"webhook_url": "https://mm.example.com/hooks/" + "a" * 26},
    "email": {"to": "a@example.com", "from": "b@example.com", "smarthost": "mail.example.com:587"},
}


@pytest.mark.parametrize("kind", sorted(_ADDRESSES))
def test_keys_of_alertmanager_make_an_address_that_apprise_takes(kind: str, notification: Notification) -> None:
    import apprise

    made = service(**{f"{kind}_configs": [KEYS[kind]]})
    assert made.kind == kind
    address = _ADDRESSES[kind](made._config.options, notification)  # type: ignore[union-attr]
    assert apprise.Apprise.instantiate(address) is not None


@pytest.mark.parametrize(
    ("receiver", "problem"),
    [
        ({"slack_configs": [KEYS["slack"] | {"text": "{{ .Alerts }}"}]}, "'text' is a template of its own"),
        ({"slack_configs": [KEYS["slack"] | {"channel": "{{ .x }}"}]}, "'channel' is a template of its own"),
        (
            {"email_configs": [KEYS["email"] | {"headers": {"X-Team": "{{ .x }}"}}]},
            "'headers' is a template of its own",
        ),
        ({"telegram_configs": [KEYS["telegram"] | {"api_url": "http://x"}]}, "another address than https://api.tele"),
        ({"webex_configs": [{}]}, "'webex_configs' is a key of Alertmanager that is not built yet: apprise's service"),
        ({"apprise_configs": [{}]}, "one of url or url_file must be configured"),
        ({"discord_configs": [{"webhook_url": "x", "webhook_url_file": "y"}]}, "at most one of webhook_url & webhook_"),
        ({"slack_configs": {}}, "slack_configs is a list"),
        ({"slack_configs": [KEYS["slack"] | {"http_config": {}}]}, "field 'http_config' is not known in slack_configs"),
    ],
)
def test_what_apprise_cannot_do_is_refused_by_name(receiver: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        service(**receiver)
    assert problem in str(caught.value)
