"""From a notification to runs: match, target, accept durably, begin."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from remediation.errors import TemplateError
from remediation.metrics import Metrics
from remediation.policy.book import PolicyBook
from remediation.policy.policy import Policy
from remediation.policy.template import Values, render
from remediation.store.record import Intake, NewRun
from remediation.store.store import Store
from remediation.webhook import Alert, Notification

log = logging.getLogger("remediation")

# What an orchestrator may call a service: it becomes part of a URL and of an identifier.
_TARGET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


class AlertIntake:
    """
    Args:
        begin: Starts the durable workflow of a run; does nothing if it has been started.
    """

    def __init__(self, book: PolicyBook, store: Store, metrics: Metrics, begin: Callable[[str], None]) -> None:
        self._book = book
        self._store = store
        self._metrics = metrics
        self._begin = begin

    def take(self, notification: Notification, now_unix_ms: int) -> list[str]:
        """
        Ids of the runs that answer these alerts, each once. When this returns, they survive any crash.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: not (all) durable; the sender must come again.
        """
        ids = [self._take_one(alert, now_unix_ms) for alert in notification.alerts]
        return list(dict.fromkeys(run_id for run_id in ids if run_id is not None))

    def _take_one(self, alert: Alert, now_unix_ms: int) -> str | None:
        if alert.status == "resolved":
            run_id = self._store.resolve(alert.fingerprint, alert.starts_at_unix_ms, now_unix_ms)
            self._metrics.alerts.labels("resolved" if run_id else "resolved_unknown").inc()
            return run_id
        policy = self._book.first_match(alert.labels)
        target = _target(policy, alert) if policy else None
        if policy is None or target is None:
            self._unmatched(alert, now_unix_ms)
            return None
        new = NewRun(
            id=f"{alert.fingerprint}-{alert.starts_at_unix_ms}",
            service=target,
            alertname=alert.alertname,
            fingerprint=alert.fingerprint,
            starts_at_unix_ms=alert.starts_at_unix_ms,
            policy=policy.name,
            policy_json=policy.model_dump_json(),
            alert_json=alert.model_dump_json(),
            at_unix_ms=now_unix_ms,
        )
        what, run_id = self._store.accept(new)
        self._metrics.alerts.labels(what.value).inc()
        if what is not Intake.DUPLICATE:
            log.info("%s: %s for %s %s", run_id, alert.alertname, target, what.value)
        if what is not Intake.JOINED:
            self._begin(run_id)  # for a duplicate too: the first time may have ended between the two
        return run_id

    def _unmatched(self, alert: Alert, now_unix_ms: int) -> None:
        """No policy answers it; a run at work on the same service mentions it, as it may explain something."""
        self._metrics.alerts.labels("unmatched").inc()
        service = alert.labels.get("service", "")
        log.info("no policy for %s of %r", alert.alertname, service)
        if service:
            key = f"unmatched:{alert.fingerprint}:{alert.starts_at_unix_ms}"
            self._store.remark(service, key, "other_alert", f"{alert.alertname} fires too, no policy", now_unix_ms)


def _target(policy: Policy, alert: Alert) -> str | None:
    try:
        target = render(policy.target, Values(labels=alert.labels, annotations=alert.annotations))
    except TemplateError as error:
        log.warning("policy %s, alert %s: target: %s", policy.name, alert.fingerprint, error)
        return None
    if not _TARGET.fullmatch(target):
        log.warning("policy %s, alert %s: %r is no name of a service", policy.name, alert.fingerprint, target[:80])
        return None
    return target
