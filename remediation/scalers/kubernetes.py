"""
Deployments and StatefulSets of one namespace, through their scale subresource, by the official client.

A target is `checkout` (a Deployment) or `statefulset/ledger`. Bounds are its annotations `steersman.minimum` and
`steersman.maximum`; without a maximum it is not ours to scale. Scaling in drains as Kubernetes does it: a pod leaves
the endpoints, gets SIGTERM, and has its grace period. A replica is replaced by eviction, which a PodDisruptionBudget
may refuse; its successor starts when it has begun to go.

Source: kubernetes.io/docs/reference/kubernetes-api, apps/v1, autoscaling/v1 and policy/v1.
"""

from __future__ import annotations

from typing import Any

from kubernetes.client import (
    V1DeleteOptions,
    V1Eviction,
    V1ObjectMeta,
    V1Preconditions,
)
from kubernetes.client.exceptions import ApiException

from remediation.errors import ConflictError, TemporaryScalerError
from remediation.scalers.bounds import MAXIMUM, Bounds, require_within
from remediation.scalers.kubernetes_access import CONNECT_S, READ_S, Access, message_of
from remediation.scalers.scaler import Replicas
from remediation.scalers.workload import (
    KINDS,
    Workload,
    kind_and_name,
    named,
    restart_template,
    surely_started_before,
)

TIMEOUTS = (CONNECT_S, READ_S)
# Each write of a status is a new version of the object, so some conflicts are usual while pods start.
TRIES = 5
_GONE, _CONFLICT, _BUDGET = 404, 409, 429


class KubernetesScaler:
    surges = False

    def __init__(self, access: Access) -> None:
        self._access = access

    def close(self) -> None:
        self._access.close()

    def get(self, service: str) -> Replicas:
        return self._read(service).replicas

    def services(self) -> list[str]:
        """Those that have a maximum: what is not ours to scale does not count."""
        return sorted(
            kind.prefix + one.metadata.name
            for kind in KINDS
            for one in self._asked(f"list_namespaced_{kind.method}", f"list {kind.word}s").items
            if MAXIMUM in (one.metadata.annotations or {})
        )

    def set_desired(self, service: str, desired: int) -> Replicas:
        return self._set(service, None, desired)

    def change_desired(self, service: str, before: int, to: int) -> Replicas:
        return self._set(service, before, to)

    def restart(self, service: str, started_before_unix_ms: int, replica: str | None = None) -> None:
        """
        Returns when it is accepted; Kubernetes replaces the pods in turn, as the workload's strategy says.

        Raises:
            PermanentScalerError: also if its strategy would take all away at once, or reach none.
        """
        workload = self._read(service)
        _ = workload.replicas  # it is ours
        older = [pod for pod in self._pods(workload) if surely_started_before(pod, started_before_unix_ms)]
        if replica is not None:
            for pod in older:
                if named(service, pod, replica):
                    self._evict(service, pod)
        elif older:
            self._restart_all(workload, started_before_unix_ms)

    def _set(self, service: str, before: int | None, desired: int) -> Replicas:
        for _ in range(TRIES):
            workload = self._read(service)
            now = workload.replicas
            require_within(service, desired, Bounds(now.minimum, now.maximum))
            if now.desired == desired:
                return now  # also if it was done and only the answer was lost
            if before not in (None, now.desired):
                raise ConflictError(f"somebody else set {service} to {now.desired} meanwhile; it is left as it is")
            if self._written(workload, desired):
                return Replicas(
                    service=service,
                    desired=desired,
                    ready=min(now.ready, desired),
                    minimum=now.minimum,
                    maximum=now.maximum,
                )
        raise TemporaryScalerError(f"{self._access.where}: {service} was changed {TRIES} times while it was read")

    def _written(self, workload: Workload, desired: int) -> bool:
        """False if the object has changed since it was read."""
        metadata = workload.found.metadata
        patch = {"metadata": {"resourceVersion": metadata.resource_version}, "spec": {"replicas": desired}}
        method = f"patch_namespaced_{workload.kind.method}_scale"
        return self._patched(method, f"scale {workload.service}", metadata.name, patch)

    def _restart_all(self, workload: Workload, started_before_unix_ms: int) -> None:
        for _ in range(TRIES):
            if workload.restarted_since(started_before_unix_ms):
                return
            workload.require_restarts_in_turn()
            metadata = workload.found.metadata
            patch = restart_template(started_before_unix_ms, metadata.resource_version)
            method = f"patch_namespaced_{workload.kind.method}"
            if self._patched(method, f"restart {workload.service}", metadata.name, patch):
                return
            workload = self._read(workload.service)
        raise TemporaryScalerError(
            f"{self._access.where}: {workload.service} was changed {TRIES} times while it was read"
        )

    def _patched(self, method: str, what: str, name: str, patch: dict[str, Any]) -> bool:
        with self._access.asking(what):
            try:
                getattr(self._access.apps, method)(name, self._access.namespace, patch, _request_timeout=TIMEOUTS)
            except ApiException as error:
                if error.status != _CONFLICT:
                    raise
                return False
        return True

    def _evict(self, service: str, pod: Any) -> None:
        """This very pod: one that has its name by now is left alone."""
        name, uid = pod.metadata.name, pod.metadata.uid
        eviction = V1Eviction(
            api_version="policy/v1",
            kind="Eviction",
            metadata=V1ObjectMeta(name=name, namespace=self._access.namespace),
            delete_options=V1DeleteOptions(preconditions=V1Preconditions(uid=uid)),
        )
        with self._access.asking(f"replace {name} of {service}"):
            try:
                self._access.core.create_namespaced_pod_eviction(
                    name, self._access.namespace, eviction, _request_timeout=TIMEOUTS
                )
            except ApiException as error:
                if error.status == _BUDGET:
                    raise TemporaryScalerError(f"{name} of {service} stays for now: {message_of(error)}") from error
                if error.status not in (_GONE, _CONFLICT):  # gone, or another by now: what was wanted
                    raise

    def _read(self, service: str) -> Workload:
        kind, name = kind_and_name(service)
        what = f"{kind.word} {name}"
        found = self._asked(f"read_namespaced_{kind.method}", what, name)
        if found.metadata is None or found.spec is None:
            raise TemporaryScalerError(
                f"{self._access.where}: {what}: unexpected answer: it has no metadata or no spec"
            )
        return Workload(kind, service, found)

    def _pods(self, workload: Workload) -> list[Any]:
        with self._access.asking(f"pods of {workload.service}"):
            listed = self._access.core.list_namespaced_pod(
                self._access.namespace, label_selector=workload.selector, _request_timeout=TIMEOUTS
            )
            return [pod for pod in listed.items if workload.owns(pod)]

    def _asked(self, method: str, what: str, *name: str) -> Any:
        with self._access.asking(what):
            return getattr(self._access.apps, method)(*name, self._access.namespace, _request_timeout=TIMEOUTS)
