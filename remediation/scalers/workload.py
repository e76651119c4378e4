"""A Deployment or a StatefulSet, to the scaler. No I/O: what the API answered comes in, as the client's models."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from remediation.errors import PermanentScalerError
from remediation.scalers.bounds import marked_bounds
from remediation.scalers.scaler import Replicas

# kubectl's own, so that `kubectl rollout history` and the worker tell of the same restarts.
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
# RFC 1123, as the API server asks of names.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_TIMESTAMPS_ARE_EXACT_TO_MS = 1000  # Kubernetes writes whole seconds, rounded down


class Kind(NamedTuple):
    prefix: str  # of a target's name; empty for the kind that needs none
    word: str  # for messages
    method: str  # how the client's methods call it


DEPLOYMENT = Kind("", "deployment", "deployment")
STATEFUL_SET = Kind("statefulset/", "statefulset", "stateful_set")
KINDS = (DEPLOYMENT, STATEFUL_SET)


def kind_and_name(service: str) -> tuple[Kind, str]:
    """
    `checkout` is a Deployment, `statefulset/ledger` a StatefulSet.

    Raises:
        PermanentScalerError: it is neither, or a Deployment under a second name: limits are counted by name.
    """
    prefix, slash, name = service.rpartition("/")
    if prefix == DEPLOYMENT.word and slash and _NAME.fullmatch(name):
        raise PermanentScalerError(f"{service} is written {name} here: a target has one name, by which limits count")
    for kind in KINDS:
        if prefix + slash == kind.prefix and _NAME.fullmatch(name):
            return kind, name
    raise PermanentScalerError(f"{service[:120]!r} names neither a deployment (NAME) nor a statefulset/NAME")


@dataclass(frozen=True, slots=True)
class Workload:
    kind: Kind
    service: str  # as policies name it
    found: Any  # V1Deployment or V1StatefulSet

    @property
    def replicas(self) -> Replicas:
        """
        Raises:
            PermanentScalerError: it has no bounds, so it is not ours to scale.
        """
        bounds = marked_bounds(self.service, self.found.metadata.annotations or {}, kind="annotation")
        desired = 1 if self.found.spec.replicas is None else int(self.found.spec.replicas)
        status = self.found.status
        ready = int(status.ready_replicas or 0) if status else 0
        if status is None or (status.observed_generation or 0) < (self.found.metadata.generation or 0):
            ready = min(ready, desired)  # counted before the controller saw the last change
        return Replicas(
            service=self.service, desired=desired, ready=ready, minimum=bounds.minimum, maximum=bounds.maximum
        )

    @property
    def selector(self) -> str:
        """Of its pods, as a list request takes it."""
        selector = self.found.spec.selector
        parts = [f"{name}={value}" for name, value in sorted((selector.match_labels or {}).items())]
        for one in selector.match_expressions or []:
            values = f"({','.join(sorted(one.values or []))})"
            told = {"In": f"{one.key} in {values}", "NotIn": f"{one.key} notin {values}", "Exists": one.key}
            parts.append(told.get(one.operator, f"!{one.key}"))
        return ",".join(parts)

    def owns(self, pod: Any) -> bool:
        """Selectors of two workloads may overlap; owners do not. A Deployment's pods belong to its ReplicaSets."""
        owner = next((one for one in pod.metadata.owner_references or [] if one.controller), None)
        if owner is None:
            return False
        name = self.found.metadata.name
        if self.kind is STATEFUL_SET:
            return bool(owner.kind == "StatefulSet" and owner.name == name)
        return bool(owner.kind == "ReplicaSet" and owner.name.rpartition("-")[0] == name)

    def restarted_since(self, unix_ms: int) -> bool:
        """Whether somebody has asked for a restart then or later."""
        text = (self.found.spec.template.metadata.annotations or {}).get(RESTARTED_AT)
        try:
            return text is not None and _unix_ms(dt.datetime.fromisoformat(text)) >= unix_ms
        except ValueError:
            return False  # written by somebody else, in words of his own

    def require_restarts_in_turn(self) -> None:
        """
        Raises:
            PermanentScalerError: a changed template would take all replicas away at once, or would not reach them.
        """
        spec = self.found.spec
        if self.kind is DEPLOYMENT:
            if spec.paused:
                raise PermanentScalerError(f"{self.service} is paused: it would restart nothing until it is resumed")
            if spec.strategy and spec.strategy.type == "Recreate":
                raise PermanentScalerError(
                    f"{self.service} has the strategy Recreate: a restart takes all of its replicas away at once"
                )
            return
        strategy = spec.update_strategy
        if strategy and strategy.type == "OnDelete":
            raise PermanentScalerError(f"{self.service} has the update strategy OnDelete: it would restart nothing")
        partition = (strategy.rolling_update.partition or 0) if strategy and strategy.rolling_update else 0
        if partition > 0:
            raise PermanentScalerError(f"{self.service} has the partition {partition}: it would restart only a part")


def restart_template(unix_ms: int, resource_version: str) -> dict[str, Any]:
    """The patch that replaces every pod in turn, if nothing has changed since that version was read."""
    at = dt.datetime.fromtimestamp(unix_ms / 1000, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "metadata": {"resourceVersion": resource_version},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}},
    }


def pod_names(service: str, pod: Any) -> set[str]:
    """What telemetry may call it: its name, its uid, its address, and what our services make of its name."""
    name, address = pod.metadata.name, pod.status.pod_ip if pod.status else None
    return {name, pod.metadata.uid, f"{service.rpartition('/')[2]}-{name}", *([address] if address else [])}


def named(service: str, pod: Any, replica: str) -> bool:
    """Whether telemetry's `replica` is this pod; Prometheus calls it `address:port` unless it is told otherwise."""
    names = pod_names(service, pod)
    return replica in names or replica.rpartition(":")[0].strip("[]") in names


def surely_started_before(pod: Any, unix_ms: int) -> bool:
    """
    Not if it may have started in that very second: a StatefulSet's pod has its former one's name, and what was replaced
    once must not be replaced again. One that is on its way out does not count.
    """
    if pod.metadata.deletion_timestamp is not None or pod.metadata.creation_timestamp is None:
        return False
    return _unix_ms(pod.metadata.creation_timestamp) + _TIMESTAMPS_ARE_EXACT_TO_MS <= unix_ms


def _unix_ms(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1000)
