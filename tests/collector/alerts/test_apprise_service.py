"""apprise's services against real servers on the loopback, and how Alertmanager's keys become their addresses."""

from __future__ import annotations

import asyncio
import contextlib
import email
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from collector.alerts import apprise_service
from collector.alerts.apprise_service import AppriseService
from collector.alerts.config import load_config
from collector.alerts.integration import RefusedError
from collector.alerts.notification import Notification
from collector.alerts.service_address import ADDRESSES
from collector.errors import ConfigError, TemporaryError
from collector.model.alert import Alert

# apprise asks for a module that later Pythons lack, and does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
MakeAlert = Callable[..., Alert]
NOW_MS = time.time_ns() // 1_000_000


def service(**receiver: Any) -> AppriseService:
    loaded = load_config({"route": {"receiver": "r"}, "receivers": [{"name": "r", **receiver}]})
    config = loaded.receiver("r")
    return AppriseService("r/x/0", [*config.services, *config.apprise_configs][0], loaded.notification_templates)


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


async def test_any_service_is_told_by_its_url(receiver: Any, notification: Notification, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(receiver.url.replace("http", "json"))
    await service(apprise_configs=[{"url_file": str(tmp_path / "url")}]).deliver(notification)
    told = await receiver.next()
    assert (told["title"], told["type"]) == ("[FIRING:1] Slow (cart critical)", "failure")
    assert told["message"].startswith("Alerts Firing:\nLabels:\n - alertname = Slow")
    own = {"title": "{{ .Status }}", "text": "{{ len .Alerts }} of {{ .Receiver }}"}
    await service(apprise_configs=[{"url_file": str(tmp_path / "url")} | own]).deliver(notification)
    told = await receiver.next()
    assert (told["title"], told["message"]) == ("firing", "2 of r")


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


async def test_mail_is_a_page_with_alertmanagers_subject_unless_told_otherwise(notification: Notification) -> None:
    async with smtp_server() as (port, messages):
        mail = {"to": "a@example.com", "from": "am@example.com", "smarthost": f"127.0.0.1:{port}", "require_tls": False}
        await service(email_configs=[mail]).deliver(notification)
        headers = {"subject": "mine: {{ .Status }}", "X-Team": "{{ .CommonLabels.service }}"}
        plain = {"html": "", "text": "<{{ .Status }}>"}
        await service(email_configs=[mail | plain | {"headers": headers}]).deliver(notification)
    first, second = map(email.message_from_string, messages)
    assert (str(first["To"]), first["Subject"]) == ("a@example.com", "[FIRING:1] Slow (cart critical)")
    assert "am@example.com" in str(first["From"])
    page = next(part for part in first.walk() if part.get_content_type() == "text/html").get_payload(decode=True)
    assert b"<td><b>severity</b></td><td>critical</td>" in page  # type: ignore[operator]
    assert (second["Subject"], second["X-Team"]) == ("mine: firing", "cart")
    assert second.get_content_type() == "text/plain"
    assert second.get_payload(decode=True) == b"<firing>\r\n.\r\n"  # the server keeps the mark of the end


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
    "rocketchat": {"api_url": "https://chat.example.com", "token": "t" * 43, "token_id": "u" * 17, "channel": "#ops"},
    "webex": {"room_id": "r" * 40, "http_config": {"authorization": {"credentials": "s3cret"}}},
}


@pytest.mark.parametrize("kind", sorted(ADDRESSES))
def test_keys_of_alertmanager_make_an_address_that_apprise_takes(kind: str, notification: Notification) -> None:
    import apprise

    made = service(**{f"{kind}_configs": [KEYS[kind]]})
    assert made.kind == kind
    address = made._address(made._message(notification), notification)
    assert apprise.Apprise.instantiate(address) is not None


@pytest.mark.parametrize(
    ("receiver", "problem"),
    [
        ({"slack_configs": [KEYS["slack"] | {"text": "{{ .Alerts"}]}, "slack_configs: text: template: :1: unclosed"),
        ({"slack_configs": [KEYS["slack"] | {"title": "{{ nope }}"}]}, 'function "nope" not defined'),
        ({"slack_configs": [KEYS["slack"] | {"text": '{{ template "nope" . }}'}]}, 'template "nope" not defined'),
        ({"email_configs": [KEYS["email"] | {"headers": {"X-Team": "{{"}}]}, "email_configs: headers.X-Team: template"),
        ({"webhook_configs": [{"url": "http://x/{{ .Nope"}]}, "webhook_configs: url: template: :1: unclosed action"),
        (
            {"webex_configs": [{"room_id": "r", "http_config": {"a": 1}}]},
            "webex_configs: http_config has authorization, and here nothing else",
        ),
        (
            {"rocketchat_configs": [KEYS["rocketchat"] | {"api_url": "http://x/y"}]},
            "rocketchat_configs: api_url is http",
        ),
        ({"jira_configs": [{}]}, "'jira_configs' is a key of Alertmanager that is not built yet: apprise's service"),
        (
            {"incidentio_configs": [{"url": "http://x", "http_config": {}}]},
            "at least one of alert_source_token, alert_",
        ),
        ({"telegram_configs": [KEYS["telegram"] | {"api_url": "http://x"}]}, "another address than https://api.tele"),
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


class Network:
    """Takes what apprise would send to services on the internet."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def __call__(self, method: str, url: str, **request: Any) -> requests.Response:
        assert method.upper() == "POST"
        data = request.get("data") or request.get("json")
        self.sent.append((url, json.loads(data) if isinstance(data, str | bytes) and data[:1] in ("{", b"{") else data))
        answer = requests.Response()
        answer.status_code = 202 if "pagerduty" in url else 200
        answer._content = b"ok" if "slack" in url else b'{"ok": true, "result": {"message_id": 1}}'
        return answer


async def told(
    notification: Notification, monkeypatch: pytest.MonkeyPatch, kind: str, **keys: Any
) -> tuple[str, dict[str, Any]]:
    """Where the service was called, and with what."""
    network = Network()
    monkeypatch.setattr(requests.sessions.Session, "request", network)
    await service(**{f"{kind}_configs": [KEYS[kind] | keys]}).deliver(notification)
    return network.sent[-1]


async def test_slack_shows_title_and_text_of_templates(
    notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {
        "title": "{{ .Status | toUpper }} {{ .GroupLabels.alertname }}",
        "text": "{{ range .Alerts }}- {{ .Labels.instance }}{{ end }}",
    }
    _url, body = await told(notification, monkeypatch, "slack", **own)
    assert body["attachments"][0]["title"] == "FIRING Slow"
    assert body["attachments"][0]["text"] == "- 1- 2"
    _url, body = await told(notification, monkeypatch, "slack", channel="#{{ .CommonLabels.service }}")
    assert body["channel"] == "#cart"
    assert body["attachments"][0]["title"] == "[FIRING:1] Slow (cart critical)"
    assert "Alerts Resolved:" in body["attachments"][0]["text"]


async def test_pagerduty_has_the_description_as_summary_and_the_alerts_as_details(
    notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    details = {"team": "{{ .CommonLabels.service }}"}
    _url, body = await told(
        notification, monkeypatch, "pagerduty", details=details, severity="{{ .CommonLabels.severity }}"
    )
    assert body["payload"]["summary"] == "[FIRING:1] Slow (cart critical)"
    assert body["payload"]["severity"] == "critical"
    shown = body["payload"]["custom_details"]
    assert (shown["num_firing"], shown["num_resolved"], shown["team"]) == ("1", "1", "cart")
    assert shown["firing"].startswith("Labels:\n - alertname = Slow\n - instance = 1")


async def test_telegram_is_told_in_html_unless_told_otherwise(
    notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "<b>{{ .Status }}</b>\n{{ `a<b` }} *x*"
    shown = {}
    for mode in ("HTML", "Markdown", "MarkdownV2", ""):
        url, body = await told(notification, monkeypatch, "telegram", message=message, parse_mode=mode)
        assert url.endswith("/sendMessage")
        shown[mode] = (body["parse_mode"], body["text"])
    assert shown["HTML"] == ("HTML", "<b>firing</b>\na&lt;b *x*")
    assert shown["Markdown"] == ("MARKDOWN", "<b>firing</b>\na<b *x*")
    assert shown["MarkdownV2"] == ("MarkdownV2", "<b>firing</b>\na<b *x*")
    assert shown[""] == ("HTML", "&lt;b&gt;firing&lt;/b&gt;\na&lt;b *x*")


async def test_webex_is_told_in_its_room(notification: Notification, monkeypatch: pytest.MonkeyPatch) -> None:
    url, body = await told(notification, monkeypatch, "webex", message="**{{ .Status }}**")
    assert url == "https://webexapis.com/v1/messages"
    assert body == {"roomId": "r" * 40, "markdown": "**firing**"}


async def test_rocketchat_and_mattermost_are_told_where_they_are(receiver: Any, notification: Notification) -> None:
    root = receiver.url.rpartition("/")[0]
    keys = KEYS["rocketchat"] | {"api_url": root, "title": "{{ .Status }}", "text": "x"}
    await service(rocketchat_configs=[keys]).deliver(notification)
    told_rocketchat = await receiver.next()
    assert (told_rocketchat["channel"], told_rocketchat["text"]) == ("#ops", "firing\r\nx")
    keys = {
        "webhook_url": f"{root}/hooks/{'a' * 26}",
        "text": "{{ .Status }}",
        "channel": "{{ .CommonLabels.service }}",
    }
    await service(mattermost_configs=[keys]).deliver(notification)
    told_mattermost = await receiver.next()
    assert (told_mattermost["channel"], told_mattermost["text"]) == ("cart", "firing")


async def test_template_that_fails_is_refused_with_its_key_and_reason(notification: Notification) -> None:
    failing = service(apprise_configs=[{"url": "json://127.0.0.1:9", "text": "{{ .Nope }}"}])
    with pytest.raises(RefusedError, match=r"r/x/0: text: .*can't evaluate field Nope in type \*template.Data"):
        await failing.deliver(notification)
