"""How the gateway spreads a service's requests over its zones, and how many of its customers' it lets in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from steersman.errors import OutOfBoundsError
from steersman.orchestrator.service import ServiceSpec

HIGHEST_WEIGHT = 1000
# Below, a whole customer's visit would not fit; above, the gateway's own limit is lower.
LOWEST_RATE, HIGHEST_RATE = 0.1, 10_000.0
LONGEST_MS = 24 * 3_600_000  # what is forgotten is over the next day


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Weights by zone; none: each replica gets its share, wherever it is."""

    weights: Mapping[str, int] = field(default_factory=dict)
    until_unix_ms: int | None = None  # then there are none again


@dataclass(frozen=True, slots=True, kw_only=True)
class Shedding:
    """Customers' requests that are let in; the services' own calls pass. None: all."""

    requests_per_s: float | None = None
    until_unix_ms: int | None = None


def checked_weights(spec: ServiceSpec, weights: Mapping[str, int], ready: Mapping[str, int]) -> dict[str, int]:
    """
    Args:
        ready: Serving replicas by zone.

    Raises:
        OutOfBoundsError: unknown zones, a weight out of bounds, or nobody would serve.
    """
    if not weights:
        return {}
    if set(weights) != set(spec.zones):
        given, known = ", ".join(sorted(weights)), ", ".join(spec.zones) or "none"
        raise OutOfBoundsError(f"weights of {spec.name} are for zones {given}; its zones are {known}")
    for zone, weight in weights.items():
        if not 0 <= weight <= HIGHEST_WEIGHT:
            raise OutOfBoundsError(f"weight {weight} of zone {zone!r} is outside 0..{HIGHEST_WEIGHT}")
    if not any(weight and ready.get(zone) for zone, weight in weights.items()):
        told = ", ".join(f"{zone}: {weight}" for zone, weight in weights.items())
        raise OutOfBoundsError(f"with weights {told} no replica of {spec.name} would serve")
    return dict(weights)


def effective_weights(weights: Mapping[str, int], ready: Mapping[str, int]) -> dict[str, int]:
    """
    What the gateway is told: a zone without a serving replica gets nothing, since its share would be answered with
    503. When nobody is left whom the weights let serve, everybody does: a bad zone is better than none.
    """
    if not weights:
        return {}
    told = {zone: weight if ready.get(zone) else 0 for zone, weight in weights.items()}
    return told if any(told.values()) else {}


def checked_until(until_unix_ms: int | None, now_unix_ms: int) -> int | None:
    """
    Raises:
        OutOfBoundsError: further than a day ahead.
    """
    if until_unix_ms is not None and until_unix_ms > now_unix_ms + LONGEST_MS:
        raise OutOfBoundsError(f"until_unix_ms {until_unix_ms} is more than {LONGEST_MS} ms ahead")
    return until_unix_ms


def checked_rate(requests_per_s: float | None) -> float | None:
    """
    Raises:
        OutOfBoundsError
    """
    if requests_per_s is not None and not LOWEST_RATE <= requests_per_s <= HIGHEST_RATE:
        raise OutOfBoundsError(f"requests_per_s {requests_per_s:g} is outside {LOWEST_RATE:g}..{HIGHEST_RATE:g}")
    return requests_per_s
