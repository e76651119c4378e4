"""
From the stack's JSON to the values of an observation. The shapes are those of docs/architecture.md.

Every function raises KeyError, TypeError, ValueError or AttributeError for what does not have its shape; the caller
turns that into one error that names the peer.
"""

from __future__ import annotations

from typing import Any

from remediation.drills.observation import Action, Alert, Remediation, Service

JOURNEYS = ("browse", "recommend", "cart", "buy")
_EVIDENCE_VALUE_LIMIT = 60  # characters shown of one piece of evidence


def alerts(body: Any) -> tuple[Alert, ...]:
    """Prometheus's /api/v1/alerts."""
    return tuple(
        Alert(
            {str(name): str(value) for name, value in alert["labels"].items()},
            str(alert["state"]),
            None if alert.get("value") in (None, "") else float(alert["value"]),
        )
        for alert in body["data"]["alerts"]
    )


def samples(body: Any) -> tuple[float, ...]:
    """Prometheus's /api/v1/query: the values of a vector, or of a scalar."""
    data = body["data"]
    if data["resultType"] == "scalar":
        return (float(data["result"][1]),)
    if data["resultType"] != "vector":
        raise ValueError(f"a condition needs a vector or a scalar, got a {data['resultType']}")
    return tuple(float(sample["value"][1]) for sample in data["result"])


def services(body: Any) -> dict[str, Service]:
    """The orchestrator's /api/v1/services."""
    return {
        str(each["name"]): Service(
            str(each["name"]),
            int(each["desired"]),
            int(each["ready"]),
            int(each["minimum"]),
            int(each["maximum"]),
        )
        for each in body["services"]
    }


def replicas(body: Any) -> dict[str, int]:
    """The orchestrator's /api/v1/services: the process ids of what runs, by instance."""
    instances = [instance for each in body["services"] for instance in each["instances"]]
    return {str(each["id"]): int(each["pid"]) for each in instances if each.get("pid")}


def ready_replicas(body: Any, service: str) -> list[tuple[str, int]]:
    """The orchestrator's /api/v1/services: name and process id of one service's ready replicas, oldest first."""
    instances = [each for found in body["services"] if found["name"] == service for each in found["instances"]]
    ready = [each for each in instances if each["state"] == "ready" and each.get("pid")]
    return [(str(each["id"]), int(each["pid"])) for each in sorted(ready, key=lambda each: each["started_at_unix_ms"])]


def processes(body: Any) -> dict[str, int]:
    """The orchestrator's /api/v1/processes: the process ids of all that the supervisor keeps, by name."""
    return {str(each["name"]): int(each["pid"]) for each in body["processes"]}


def remediations(body: Any) -> tuple[Remediation, ...]:
    """The worker's /api/v1/remediations, newest first as they come."""
    return tuple(_remediation(each) for each in body["remediations"])


def _remediation(record: Any) -> Remediation:
    return Remediation(
        id=str(record["id"]),
        service=str(record["service"]),
        alertname=str(record["alertname"]),
        state=str(record["state"]),
        started_at_unix_ms=int(record["started_at_unix_ms"]),
        actions=tuple(
            Action(
                str(action["action"]),
                str(action["target"]),
                _text(action.get("from")),
                _text(action.get("to")),
                str(action.get("reason") or ""),
            )
            for action in record.get("actions") or ()
        ),
        evidence=tuple(f"{each['name']} = {_shortened(each['value'])}" for each in record.get("evidence") or ()),
        outcome=str(record.get("outcome") or ""),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)  # a restart has neither from nor to


def _shortened(value: Any) -> str:
    if value is None:
        return "no value"  # the query gave no sample, as an alert's expression that is over
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _EVIDENCE_VALUE_LIMIT else text[: _EVIDENCE_VALUE_LIMIT - 1] + "…"


def rates(body: Any) -> dict[str, float]:
    """The load generator's /rate: arrivals a second of each journey."""
    return {journey: float(body[journey]) for journey in JOURNEYS if journey in body}
