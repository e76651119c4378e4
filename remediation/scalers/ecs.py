"""
Services of one ECS cluster. Bounds are a service's tags `steersman.minimum` and `steersman.maximum`; without a tag for
the maximum it is not ours to scale.

As with Auto Scaling there is no compare-and-set. Ready are the tasks that run; whether a load balancer finds them
healthy is not asked. Source: docs.aws.amazon.com/AmazonECS/latest/APIReference.
"""

from __future__ import annotations

import re
from typing import Any

from boto3.session import Session

from remediation.errors import PermanentScalerError
from remediation.scalers.aws_access import asking, make_client
from remediation.scalers.bounds import MAXIMUM, Bounds, marked_bounds, require_within
from remediation.scalers.scaler import Replicas

DESCRIBED_AT_ONCE = 10  # as many as DescribeServices takes
# The id at the end of a task's ARN; old ones have hyphens.
_TASK = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class EcsServices:
    def __init__(self, session: Session, endpoint_url: str | None, cluster: str) -> None:
        self._client = make_client(session, "ecs", endpoint_url)
        self._cluster = cluster

    def close(self) -> None:
        self._client.close()

    def names(self) -> list[str]:
        with asking(f"services of cluster {self._cluster}"):
            pages = self._client.get_paginator("list_services").paginate(cluster=self._cluster)
            arns = [arn for page in pages for arn in page["serviceArns"]]
            found: list[dict[str, Any]] = []
            for start in range(0, len(arns), DESCRIBED_AT_ONCE):
                found += self._described(arns[start : start + DESCRIBED_AT_ONCE])
            return [str(one["serviceName"]) for one in found if MAXIMUM in _tags(one) and one["status"] == "ACTIVE"]

    def get(self, service: str, name: str) -> Replicas:
        return _replicas(service, self._service(name))

    def set_desired(self, service: str, name: str, desired: int) -> Replicas:
        now = self.get(service, name)
        require_within(service, desired, Bounds(now.minimum, now.maximum))
        with asking(f"scale {service}"):
            self._client.update_service(cluster=self._cluster, service=name, desiredCount=desired)
        return Replicas(
            service=service, desired=desired, ready=min(now.ready, desired), minimum=now.minimum, maximum=now.maximum
        )

    def restart(self, service: str, name: str, started_before_unix_ms: int) -> None:
        """A new deployment of the same task definition; none if one was begun since. It goes on without the worker."""
        found = self._service(name)
        _replicas(service, found)  # it is ours
        controller = found.get("deploymentController", {}).get("type", "ECS")
        if controller != "ECS":
            raise PermanentScalerError(f"{service} is deployed by {controller}: ECS does not restart it in turn")
        with asking(f"restart {service}"):
            begun = [one["createdAt"].timestamp() for one in found["deployments"] if one["status"] == "PRIMARY"]
            if begun and max(begun) * 1000 >= started_before_unix_ms:
                return
            self._client.update_service(cluster=self._cluster, service=name, forceNewDeployment=True)

    def replace(self, service: str, name: str, replica: str) -> None:
        """
        Stop one task; the service starts another. A task's id is never given again.

        Raises:
            PermanentScalerError: also if telemetry's name for the replica holds no such id.
        """
        ids = _TASK.findall(replica)
        if not ids:
            raise PermanentScalerError(f"{replica[:120]!r} of {service} holds no task's id: see docs/scalers.md")
        _replicas(service, self._service(name))  # it is ours
        with asking(f"replace {ids[-1]} of {service}"):
            pages = self._client.get_paginator("list_tasks").paginate(
                cluster=self._cluster, serviceName=name, desiredStatus="RUNNING"
            )
            for arn in [arn for page in pages for arn in page["taskArns"]]:
                if arn.rpartition("/")[2] == ids[-1]:
                    self._client.stop_task(cluster=self._cluster, task=arn, reason="replaced by Steersman")

    def _service(self, name: str) -> dict[str, Any]:
        with asking(f"service {name} of cluster {self._cluster}"):
            for found in self._described([name]):
                if found["status"] == "ACTIVE":
                    return found
            raise PermanentScalerError(f"the cluster {self._cluster!r} has no service {name!r}")

    def _described(self, names: list[str]) -> list[dict[str, Any]]:
        answer = self._client.describe_services(cluster=self._cluster, services=names, include=["TAGS"])
        return list(answer["services"])


def _tags(service: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in service.get("tags", [])}


def _replicas(service: str, found: dict[str, Any]) -> Replicas:
    """
    Raises:
        PermanentScalerError: it is not ours to scale, or has as many tasks as there are instances.
    """
    if found.get("schedulingStrategy") == "DAEMON":
        raise PermanentScalerError(f"{service} is a daemon: it has one task on each instance, whatever is desired")
    bounds = marked_bounds(service, _tags(found), kind="tag")
    return Replicas(
        service=service,
        desired=int(found["desiredCount"]),
        ready=int(found["runningCount"]),
        minimum=bounds.minimum,
        maximum=bounds.maximum,
    )
