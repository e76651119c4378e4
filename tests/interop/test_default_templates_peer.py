"""Debian's Alertmanager shows its default templates as fields of a message to Slack; ours come to the same texts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alertmanager_server import Hook, debians, served

from collector.alerts.notification import Notification
from collector.alerts.notification_template import NotificationTemplates
from collector.alerts.template_data import template_data
from collector.model.alert import Alert
from collector.model.series import labels_of

pytestmark = pytest.mark.peer

# Of Debian's, those that are not meant to differ; its version has no discord, webex, msteamsv2 and rocketchat yet.
NAMES = (
    "__alertmanager", "__alertmanagerURL", "__subject", "slack.default.title", "slack.default.username",
    "slack.default.fallback", "slack.default.titlelink", "pagerduty.default.description", "pagerduty.default.client",
    "pagerduty.default.clientURL", "opsgenie.default.message", "opsgenie.default.description",
    "opsgenie.default.source", "wechat.default.message", "victorops.default.state_message",
    "victorops.default.entity_display_name", "victorops.default.monitoring_tool", "pushover.default.title",
    "pushover.default.message", "pushover.default.url", "sns.default.subject", "sns.default.message",
    "telegram.default.message", "email.default.subject", "slack.default.pretext", "slack.default.iconemoji",
)  # fmt: skip
LABELS = {"alertname": "Slow", "job": "cart", "severity": "critical"}
ANNOTATIONS = {"summary": "slow", "runbook": "look at the traces"}


async def test_default_texts_are_those_of_debians_alertmanager(tmp_path: Path) -> None:
    hook = Hook()
    texts = {name: f'<{{{{ template "{name}" . }}}}>' for name in NAMES}  # signs around it, for Slack's are trimmed
    async with served(hook) as url:
        slack = {"api_url": url, "fields": [{"title": name, "value": text} for name, text in texts.items()]}
        config = {
            "route": {"receiver": "a.b", "group_by": ["alertname"], "group_wait": "100ms"},
            "receivers": [{"name": "a.b", "slack_configs": [slack | {"send_resolved": True}]}],
        }
        async with debians(tmp_path, config) as peer:
            posted = [{"labels": LABELS | {"instance": one}, "annotations": ANNOTATIONS} for one in "12"]
            await peer.post(*(one | {"generatorURL": "http://g/"} for one in posted))
            async with asyncio.timeout(10):
                while not hook.received:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
    theirs = {one["title"]: one["value"] for one in hook.received[0]["attachments"][0]["fields"]}
    alerts = [
        Alert(labels_of(LABELS | {"instance": one}), labels_of(ANNOTATIONS), 0, 2_000, "http://g/") for one in "12"
    ]
    data = template_data(
        Notification(
            alerts=alerts,
            receiver="a.b",
            group_labels=(("alertname", "Slow"),),
            group_key="k",
            external_url="http://am",
            now_ms=1_000,
        )
    )
    templates = NotificationTemplates()
    assert {name: templates.text(text, data, now_ms=1_000) for name, text in texts.items()} == theirs
