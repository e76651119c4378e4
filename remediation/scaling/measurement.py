"""What telemetry says of one service of an autoscaler: its utilisations, and whether it is there at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remediation.errors import TelemetryError
from remediation.policy.autoscaler import Autoscaler, Tracking
from remediation.policy.template import Values, render_promql
from remediation.prometheus import Prometheus, Sample, holds, single
from remediation.store.record import Finding


def rendered(query: str, service: str) -> str:
    return render_promql(query, Values(labels={}, annotations={}, target=service))


@dataclass(frozen=True, slots=True)
class Measurement:
    # By metric, in the order of the autoscaler's `tracking`: by replica, one average, or None if nobody knows.
    utilisations: list[Mapping[str, float] | float | None]
    findings: list[Finding]  # the same for the record


def measure_now(prometheus: Prometheus, autoscaler: Autoscaler, service: str) -> Measurement:
    """Asks Prometheus; what cannot be had is None, and a finding as well."""
    utilisations: list[Mapping[str, float] | float | None] = []
    findings = []
    for number, metric in enumerate(autoscaler.tracking):
        query = rendered(metric.utilisation, service)
        value: Any
        try:
            known = _utilisation(metric, prometheus.query(query))
            value = _told(known)
        except TelemetryError as error:
            known, value = None, f"no answer: {error}"
        utilisations.append(known)
        findings.append(Finding(f"utilisation:{number}", f"utilisation, target {metric.target:g}", query, value))
    return Measurement(utilisations, findings)


def _utilisation(metric: Tracking, samples: list[Sample]) -> Mapping[str, float] | float | None:
    if metric.per is None:
        return single(samples)
    by_replica = {sample.labels.get(metric.per, ""): sample.value for sample in samples}
    if not samples or "" in by_replica or len(by_replica) < len(samples):
        return None  # nothing, or samples that do not say whose they are
    return by_replica


def _told(known: Mapping[str, float] | float | None) -> Any:
    """As JSON can say it."""
    if isinstance(known, Mapping):
        return {name: value if math.isfinite(value) else str(value) for name, value in sorted(known.items())}
    return known


def missing_telemetry(prometheus: Prometheus, autoscaler: Autoscaler, service: str) -> str | None:
    """Why telemetry counts as missing, by the autoscaler's guard; None if it does not."""
    query = autoscaler.guards.telemetry
    if query is None:
        return None
    try:
        present = holds(prometheus.query(rendered(query, service)))
    except TelemetryError as error:
        return str(error)
    return None if present else f"telemetry of {service} is missing or stale"
