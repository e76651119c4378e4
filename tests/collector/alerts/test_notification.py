from __future__ import annotations

from collections.abc import Callable

import pytest

from collector.alerts.notification import Notified, needs_notification, webhook_payload
from collector.model.alert import Alert

MakeAlert = Callable[..., Alert]
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("before", "firing", "resolved", "later_ms", "expected"),
    [
        pytest.param(None, {"a": 1}, [], 0, True, id="nothing was told"),
        pytest.param(None, {}, ["a"], 0, False, id="only resolved ones, of which nobody knows"),
        pytest.param(({"a": 1}, []), {"a": 1}, [], 0, False, id="the same"),
        pytest.param(({"a": 1}, []), {"a": 1, "b": 2}, [], 0, True, id="one more fires"),
        pytest.param(({"a": 1, "b": 2}, []), {"a": 1}, ["b"], 0, True, id="one of two resolved"),
        pytest.param(({"a": 1}, []), {}, ["a"], 0, True, id="all resolved"),
        pytest.param(({}, ["a"]), {}, ["a"], HOUR_MS, False, id="resolved is not repeated"),
        pytest.param(({"a": 1}, []), {"a": 1}, [], HOUR_MS, True, id="firing is repeated after the interval"),
        pytest.param(({"a": 1}, []), {"a": 9}, [], 0, True, id="fired anew in between"),
    ],
)
def test_a_receiver_is_told_what_it_does_not_know(
    before: tuple[dict[str, int], list[str]] | None,
    firing: dict[str, int],
    resolved: list[str],
    later_ms: int,
    expected: bool,
) -> None:
    told = None if before is None else Notified(0, before[0], frozenset(before[1]))
    now = Notified(later_ms, firing, frozenset(resolved))
    assert needs_notification(told, now, repeat_interval_ms=HOUR_MS, send_resolved=True) is expected


def test_without_send_resolved_a_part_that_resolved_is_no_news_but_the_whole_is() -> None:
    told = Notified(0, {"a": 1, "b": 2}, frozenset())
    part = Notified(1, {"a": 1}, frozenset("b"))
    whole = Notified(1, {}, frozenset("ab"))
    assert not needs_notification(told, part, repeat_interval_ms=HOUR_MS, send_resolved=False)
    assert needs_notification(told, whole, repeat_interval_ms=HOUR_MS, send_resolved=False)


def test_payload_has_the_shape_of_version_4(make_alert: MakeAlert) -> None:
    alerts = [
        make_alert(1_700_000_000_123, 1_700_000_100_000, job="cart", instance="cart-2"),
        make_alert(1_700_000_000_000, 1_700_000_003_500, job="cart", instance="cart-1"),
    ]
    payload = webhook_payload(
        alerts,
        receiver="worker",
        group_labels=(("service", "cart"),),
        group_key='{}:{service="cart"}',
        external_url="http://c:9090",
        max_alerts=0,
        now_ms=1_700_000_010_000,
    )
    annotations = {"summary": "cart is slow", "runbook": "look at the traces"}
    assert payload == {
        "receiver": "worker",
        "status": "firing",
        "alerts": [
            {
                "status": "resolved",
                "labels": {"alertname": "Slow", "instance": "cart-1", "job": "cart", "service": "cart"},
                "annotations": annotations,
                "startsAt": "2023-11-14T22:13:20Z",
                "endsAt": "2023-11-14T22:13:23.5Z",
                "generatorURL": "http://c:9090/graph",
                "fingerprint": alerts[1].fingerprint,
            },
            {
                "status": "firing",
                "labels": {"alertname": "Slow", "instance": "cart-2", "job": "cart", "service": "cart"},
                "annotations": annotations,
                "startsAt": "2023-11-14T22:13:20.123Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://c:9090/graph",
                "fingerprint": alerts[0].fingerprint,
            },
        ],
        "groupLabels": {"service": "cart"},
        "commonLabels": {"alertname": "Slow", "job": "cart", "service": "cart"},
        "commonAnnotations": annotations,
        "externalURL": "http://c:9090",
        "version": "4",
        "groupKey": '{}:{service="cart"}',
        "truncatedAlerts": 0,
    }


def test_alerts_beyond_the_maximum_are_cut_off_and_counted(make_alert: MakeAlert) -> None:
    alerts = [make_alert(0, 9000, instance=str(number)) for number in range(5)]
    payload = webhook_payload(
        alerts, receiver="r", group_labels=(), group_key="k", external_url="", max_alerts=2, now_ms=0
    )
    assert (len(payload["alerts"]), payload["truncatedAlerts"]) == (2, 3)  # type: ignore[arg-type]
