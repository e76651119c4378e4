"""What a service can serve before anything is broken: loads are sized by it, and it is `$capacity` in PromQL."""

from __future__ import annotations

from collections.abc import Mapping

from remediation.drills.bounds import number
from remediation.drills.observation import Observation


def replica_capacity_query(service: str) -> str:
    """Requests a second that one replica serves (docs/architecture.md, Telemetry of the shop)."""
    selector = f'{{job="{service}"}}'
    return f"avg(worker_pool_size{selector} / worker_pool_service_time_seconds{selector})"


def of(service: str, seen: Observation) -> float | None:
    """Requests a second of all its desired replicas; None if either is not known."""
    values = seen.samples.get(replica_capacity_query(service), ())
    replicas = None if seen.services is None else seen.services.get(service)
    return values[0] * replicas.desired if values and values[0] > 0 and replicas and replicas.desired else None


def in_words(capacities: Mapping[str, float]) -> str:
    return ", ".join(f"{name} can serve {number(value)}/s" for name, value in capacities.items())
