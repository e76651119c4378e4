"""
How many replicas one utilisation asks for.

Source: kubernetes/kubernetes pkg/controller/podautoscaler/replica_calculator.go, calcPlainMetricReplicas: the ratio of
the mean to its target, a tolerance around 1, and what is not known counted against whatever would be done. Replicas
that are silent or starting count as idle where more is wanted, and as loaded to the target where less is; that those
that start do so too is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from remediation import wording
from remediation.policy.autoscaler import Tracking

# A load of exactly three replicas measures as 3.0000000000000004 of them, which are not four.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`replicas` is None where nobody knows."""

    replicas: int | None
    ratio: float | None  # of utilisation to target, of the replicas that are counted
    reason: str
    steady: bool = True  # it may be the basis to take away: nobody who should be gone is counted


@dataclass(frozen=True, slots=True)
class Told:
    """What telemetry says of a service's replicas, beside what the scaler says of them."""

    values: Mapping[str, float]  # by replica
    warm: frozenset[str]  # of these, who has been told of for long enough
    ready: int
    desired: int

    @property
    def counted(self) -> list[float]:
        return [value for name, value in self.values.items() if name in self.warm]

    @property
    def starting(self) -> int:
        """Replicas that are wanted and not counted yet."""
        told = len(self.values)
        return told - len(self.counted) + max(0, self.desired - max(self.ready, told))

    @property
    def missing(self) -> int:
        """Replicas that are ready, and say nothing."""
        return max(0, self.ready - len(self.values))

    @property
    def lingering(self) -> int:
        return max(0, len(self.values) - max(self.ready, self.desired))


def by_replica(tracking: Tracking, told: Told) -> Recommendation:
    """What samples of single replicas ask for; `told.desired` is what runs now."""
    if any(not math.isfinite(value) or value < 0 for value in told.values.values()):
        return Recommendation(None, None, "the utilisation of a replica is no finite number")
    counted = told.counted
    if not counted:
        return Recommendation(None, None, f"no replica has told of its utilisation for {tracking.warm_up:g} s")
    current = told.desired
    ratio = sum(counted) / len(counted) / tracking.target
    steady = not told.lingering
    what = (
        f"utilisation {ratio * tracking.target:.3g}, target {tracking.target:g}, over {wording.replicas(len(counted))}"
    )
    for count, why in ((told.starting, "starting"), (told.missing, "silent"), (told.lingering, "going")):
        what += f", {count} {why}" if count else ""
    # Of those that are going nobody knows which: their share of the mean is kept, their number is not.
    number = min(len(counted), max(told.ready, 1)) if told.lingering else len(counted)
    corrected = ratio
    if unsure := told.missing + told.starting:
        # Who is silent or starting counts as idle where more is wanted, as loaded to the target where less is.
        loaded = 0 if ratio > 1 else unsure
        corrected = (ratio * number + loaded) / (number + unsure)
        number += unsure
        if corrected < 1 < ratio:
            return Recommendation(current, ratio, f"{what}: with those it needs no more", steady)
    if abs(corrected - 1) <= tracking.tolerance:
        return Recommendation(current, ratio, f"{what}: within {tracking.tolerance:.0%}", steady)
    wanted = max(1, math.ceil(corrected * number - _ROUNDING))
    if (corrected < 1 and wanted > current) or (corrected > 1 and wanted < current):
        wanted = current
    return Recommendation(wanted, ratio, f"{what}: {wording.replicas(wanted)}", steady)


def by_average(tracking: Tracking, value: float, *, ready: int, desired: int, settled: bool) -> Recommendation:
    """
    What an average over all that are ready asks for.

    Args:
        settled: Nothing was changed within the warm-up, so all that are ready are warm.
    """
    if not math.isfinite(value) or value < 0:
        return Recommendation(None, None, "the utilisation is no finite number")
    if ready < 1:
        return Recommendation(None, None, "no replica is ready, so an average says nothing")
    ratio = value / tracking.target
    steady, starting = settled, max(0, desired - ready)
    what = f"utilisation {value:.3g}, target {tracking.target:g}, over {wording.replicas(ready)}"
    what += f", {starting} starting" if starting else ""
    if abs(ratio - 1) <= tracking.tolerance:
        return Recommendation(desired, ratio, f"{what}: within {tracking.tolerance:.0%}", steady)
    # What has been asked for already comes still, and counts as loaded to the target where less is wanted.
    wanted = max(1, math.ceil(ratio * ready + (starting if ratio < 1 else 0) - _ROUNDING))
    if ratio > 1:
        wanted = max(wanted, desired)
    return Recommendation(wanted, ratio, f"{what}: {wording.replicas(wanted)}", steady)
