"""From a notification to runs: match, target, accept durably, begin."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from remediation.errors import RequestError, TemplateError
from remediation.metrics import Metrics
from remediation.policy.book import PolicyBook
from remediation.policy.policy import Policy
from remediation.policy.target import TARGET_NAME
from remediation.policy.template import Values, render
from remediation.store.record import Arrival, Firing, Intake, NewRun, Note, Outcome, Resolved, Unanswered
from remediation.store.store import Store
from remediation.webhook import Alert
from remediation.workflow.case import REQUESTED_BY

log = logging.getLogger("remediation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A person asks for what a policy does."""

    id: str  # of the request: 1 to 64 of [0-9a-zA-Z_-]
    service: str
    policy: str
    reason: str
    by: str
    labels: Mapping[str, str]  # beside those that the policy's own matchers state


class AlertIntake:
    """
    Args:
        begin: Starts the durable workflow of a run, soon; does nothing if it has been started.
    """

    def __init__(self, book: PolicyBook, store: Store, metrics: Metrics, begin: Callable[[str], None]) -> None:
        self._book = book
        self._store = store
        self._metrics = metrics
        self._begin = begin

    def take(self, alerts: Sequence[Alert], now_unix_ms: int, *, ends_named: bool = False) -> list[str]:
        """
        Ids of the runs that answer these alerts, each once. When this returns, they survive any crash.

        Args:
            ends_named: `startsAt` of what is resolved is when it ended; the sender does not say when it began.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: not durable, none of them; the sender must come again.
        """
        dumped: dict[str, str] = {}
        arrivals = [self._arrival(alert, now_unix_ms, ends_named, dumped) for alert in alerts]
        return self._take([one for one in arrivals if one is not None])

    def take_up_waiting(self, now_unix_ms: int) -> list[str]:
        """
        Answer the alerts that have waited for the end of a run on their target, as if they were sent again now.
        Returns and raises as `take`; may be repeated, also by several workers at once.
        """
        dumped: dict[str, str] = {}
        arrivals: list[Arrival] = []
        for waiting in self._store.waiting():
            alert = Alert.model_validate_json(waiting.alert_json)
            arrival = self._arrival(alert, now_unix_ms, False, dumped)
            if isinstance(arrival, Firing):
                because = f"began this run, when {waiting.run_id} was over"
                new = replace(arrival.new, waited_for=waiting.run_id, because=because)
                arrivals.append(Firing(new))
            else:
                log.warning("%s: no policy answers it any more", alert.fingerprint)
                self._store.wait_no_more(waiting)
        return self._take(arrivals) if arrivals else []

    def _take(self, arrivals: Sequence[Arrival]) -> list[str]:
        outcomes = self._store.take(arrivals)
        told: dict[Intake, int] = {}
        for outcome in outcomes:
            told[outcome.what] = told.get(outcome.what, 0) + 1
        for what, count in told.items():
            self._metrics.alerts.labels(what.value).inc(count)
        self._begin_all(outcomes)
        if outcomes:
            log.info("alerts: %s", ", ".join(f"{count} {what.value}" for what, count in sorted(told.items())))
        return list(dict.fromkeys(one.run_id for one in outcomes if one.run_id is not None))

    def ask(self, request: Request, now_unix_ms: int) -> Outcome:
        """
        Begin a run that a person asks for, or join the one that is at work on the same service.

        Raises:
            RequestError: no such policy, or one that does not answer for this service.
        """
        policy = next((one for one in self._book.policies if one.name == request.policy), None)
        if policy is None:
            known = ", ".join(one.name for one in self._book.policies)
            raise RequestError(f"policy: there is no {request.policy!r}; there are {known}")
        stated = {one.name: one.value for one in policy.matchers if one.operator == "=" and one.value}
        labels = {"alertname": "Requested", "service": request.service} | stated | dict(request.labels)
        for matcher in policy.matchers:
            if not matcher.matches(labels):
                got = labels.get(matcher.name, "")
                raise RequestError(f"labels: policy {policy.name} answers only {matcher}, got {matcher.name}={got!r}")
        annotations = {"summary": request.reason, REQUESTED_BY: request.by}
        target = target_of(policy, labels, annotations)
        if target != request.service:
            raise RequestError(f"service: policy {policy.name} would act on {target!r}, not on {request.service!r}")
        alert = {
            "status": "firing",
            "labels": labels,
            "annotations": annotations,
            "startsAt": dt.datetime.fromtimestamp(now_unix_ms / 1000, dt.UTC).isoformat(),
            "fingerprint": request.id,
        }
        new = NewRun(
            id=f"{request.id}-{now_unix_ms}",
            service=target,
            alertname=labels["alertname"],
            fingerprint=request.id,
            starts_at_unix_ms=now_unix_ms,
            policy=policy.name,
            policy_json=policy.model_dump_json(),
            alert_json=json.dumps(alert, ensure_ascii=False),
            at_unix_ms=now_unix_ms,
            because=f"was asked for by {request.by}: {request.reason}",
        )
        (outcome,) = self._store.take([Firing(new, waits=False)])  # who asked is told that it has joined
        self._metrics.alerts.labels(outcome.what.value).inc()
        self._begin_all([outcome])
        return outcome

    def _begin_all(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.what is Intake.STARTED and outcome.run_id is not None:
                self._begin(outcome.run_id)

    def _arrival(self, alert: Alert, now_unix_ms: int, ends_named: bool, dumped: dict[str, str]) -> Arrival | None:
        """Args: dumped: policies as JSON by name, which this fills: a storm has a thousand alerts of one policy."""
        policy = self._book.first_match(alert.labels)
        target = target_of(policy, alert.labels, alert.annotations) if policy else None
        if policy is None or target is None:
            if alert.status == "resolved":
                self._metrics.alerts.labels(Intake.RESOLVED_UNKNOWN.value).inc()
                return None
            key = f"unmatched:{alert.fingerprint}:{alert.starts_at_unix_ms}"
            note = Note(key, "other_alert", f"{alert.alertname} fires too, no policy")
            return Unanswered(alert.labels.get("service", ""), note, now_unix_ms)
        if alert.status == "resolved":
            return Resolved(
                fingerprint=alert.fingerprint,
                starts_at_unix_ms=alert.starts_at_unix_ms,
                at_unix_ms=now_unix_ms,
                earlier_too=ends_named,
            )
        if policy.name not in dumped:
            dumped[policy.name] = policy.model_dump_json()
        return Firing(
            NewRun(
                id=f"{alert.fingerprint}-{alert.starts_at_unix_ms}",
                service=target,
                alertname=alert.alertname,
                fingerprint=alert.fingerprint,
                starts_at_unix_ms=alert.starts_at_unix_ms,
                policy=policy.name,
                policy_json=dumped[policy.name],
                alert_json=alert.model_dump_json(),
                at_unix_ms=now_unix_ms,
            )
        )


def target_of(policy: Policy, labels: Mapping[str, str], annotations: Mapping[str, str]) -> str | None:
    """The service that the policy would act on; None, and a line in the log, if it is no name of one."""
    try:
        target = render(policy.target, Values(labels=labels, annotations=annotations))
    except TemplateError as error:
        log.warning("policy %s: target: %s", policy.name, error)
        return None
    if not re.fullmatch(TARGET_NAME, target):
        log.warning("policy %s: %r is no name of a service", policy.name, target[:80])
        return None
    return target
