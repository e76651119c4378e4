"""Where webhooks go and what they are sent, beside what the dispatcher's tests show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.alerts.config import load_config
from collector.alerts.integration import Integration, RefusedError
from collector.alerts.integrations import Integrations
from collector.alerts.notification import Notification
from collector.alerts.webhook import MAX_INCIDENTIO_BYTES
from collector.model.alert import Alert

MakeAlert = Callable[..., Alert]


def integration(**receiver: Any) -> Integration:
    config = load_config({"route": {"receiver": "shop.x"}, "receivers": [{"name": "shop.x", **receiver}]})
    return Integrations(config).of("shop.x")[0]


def notification(*alerts: Alert) -> Notification:
    return Notification(
        alerts=alerts,
        receiver="shop.x",
        group_labels=(("alertname", "Slow"),),
        group_key="k",
        external_url="http://am",
        now_ms=2_000,
    )


async def test_url_is_expanded(receiver: Any, make_alert: MakeAlert, tmp_path: Path) -> None:
    told = notification(make_alert(1_000, 5_000, instance="1"))
    url = receiver.url + "?team={{ .CommonLabels.service }}"
    await integration(webhook_configs=[{"url": url}]).deliver(told)
    assert (await receiver.next())["receiver"] == r"shop\.x"
    (tmp_path / "url").write_text(receiver.url.replace("http", "{{ `http` }}"))
    await integration(webhook_configs=[{"url_file": str(tmp_path / "url")}]).deliver(told)
    assert (await receiver.next())["status"] == "firing"


@pytest.mark.parametrize("url", ["{{ .CommonLabels.nope }}", "{{ .Nope }}", "ftp://{{ .Receiver }}"])
async def test_url_that_expands_to_none_is_refused(url: str, make_alert: MakeAlert) -> None:
    with pytest.raises(RefusedError, match=r"shop\.x/webhook/0: url: "):
        await integration(webhook_configs=[{"url": url}]).deliver(notification(make_alert(1_000, 5_000)))


async def test_incident_io_has_a_login_and_a_version_of_its_own(receiver: Any, make_alert: MakeAlert) -> None:
    one = integration(incidentio_configs=[{"url": receiver.url, "alert_source_token": "s3cret"}])
    assert (one.name, one.kind) == ("shop.x/incidentio/0", "incidentio")
    many = [make_alert(1_000, 5_000, instance=str(number)) for number in range(3)]
    await one.deliver(notification(*many))
    assert ((told := await receiver.next())["version"], len(told["alerts"])) == ("1", 3)
    assert receiver.headers[-1]["authorization"] == "Bearer s3cret"
    long = [make_alert(1_000, 5_000, instance=str(number), text="x" * MAX_INCIDENTIO_BYTES) for number in range(2)]
    await one.deliver(notification(*long))
    assert [alert["labels"]["instance"] for alert in (await receiver.next())["alerts"]] == ["0"]
