"""
EC2 Auto Scaling groups. A group's own minimum and maximum hold beside its tags `steersman.minimum` and
`steersman.maximum`; without a tag for the maximum it is not ours to scale.

The API has no compare-and-set: between looking and setting somebody else may come. What a description tells may be some
moments old. Source: docs.aws.amazon.com/autoscaling/ec2/APIReference.
"""

from __future__ import annotations

import re
from typing import Any

from boto3.session import Session
from botocore.exceptions import ClientError

from remediation.errors import PermanentScalerError
from remediation.scalers.aws_access import asking, code_of, make_client
from remediation.scalers.bounds import MAXIMUM, Bounds, marked_bounds, require_within
from remediation.scalers.scaler import Replicas

_INSTANCE = re.compile(r"\bi-[0-9a-f]{8,17}\b")
# Another serves before one goes: at most a tenth more than desired, which is one more of up to ten.
_IN_TURN = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 110, "SkipMatching": False}
_REFRESHING = frozenset({"Pending", "InProgress", "Baking"})


class AutoScalingGroups:
    def __init__(self, session: Session, endpoint_url: str | None) -> None:
        self._client = make_client(session, "autoscaling", endpoint_url)

    def close(self) -> None:
        self._client.close()

    def names(self) -> list[str]:
        with asking("Auto Scaling groups"):
            pages = self._client.get_paginator("describe_auto_scaling_groups").paginate(
                Filters=[{"Name": "tag-key", "Values": [MAXIMUM]}]
            )
            return [str(group["AutoScalingGroupName"]) for page in pages for group in page["AutoScalingGroups"]]

    def get(self, service: str, name: str) -> Replicas:
        return _replicas(service, self._group(name))

    def set_desired(self, service: str, name: str, desired: int) -> Replicas:
        now = self.get(service, name)
        require_within(service, desired, Bounds(now.minimum, now.maximum))
        with asking(f"scale {service}"):
            self._client.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=desired, HonorCooldown=False)
        return Replicas(
            service=service, desired=desired, ready=min(now.ready, desired), minimum=now.minimum, maximum=now.maximum
        )

    def restart(self, service: str, name: str, started_before_unix_ms: int) -> None:
        """
        An instance refresh; none if one was begun since. It takes minutes, and goes on without the worker.

        Raises:
            TemporaryScalerError: an earlier one is at work.
        """
        self.get(service, name)
        with asking(f"restart {service}"):
            listed = self._client.describe_instance_refreshes(AutoScalingGroupName=name, MaxRecords=1)
            for last in listed["InstanceRefreshes"]:  # the newest first
                begun = last.get("StartTime")
                since = begun is None or begun.timestamp() * 1000 >= started_before_unix_ms
                if since and last["Status"] in _REFRESHING | {"Successful"}:
                    return
            self._client.start_instance_refresh(AutoScalingGroupName=name, Strategy="Rolling", Preferences=_IN_TURN)

    def replace(self, service: str, name: str, replica: str) -> None:
        """
        Terminate one instance; the group starts another. An instance's id is never given again.

        Raises:
            PermanentScalerError: also if telemetry's name for the replica holds no such id.
        """
        found = _INSTANCE.search(replica)
        if found is None:
            raise PermanentScalerError(f"{replica[:120]!r} of {service} holds no instance's id: see docs/scalers.md")
        group = self._group(name)
        _replicas(service, group)  # it is ours
        mine = {one["InstanceId"]: str(one["LifecycleState"]) for one in group["Instances"]}
        if mine.get(found.group(), "Terminated").startswith("Terminat"):
            return
        with asking(f"replace {found.group()} of {service}"):
            try:
                self._client.terminate_instance_in_auto_scaling_group(
                    InstanceId=found.group(), ShouldDecrementDesiredCapacity=False
                )
            except ClientError as error:
                if code_of(error) != "ValidationError" or "not found" not in str(error):
                    raise

    def _group(self, name: str) -> dict[str, Any]:
        with asking(f"Auto Scaling group {name}"):
            groups = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
            if not groups:
                region = self._client.meta.region_name
                raise PermanentScalerError(f"there is no Auto Scaling group {name!r} in {region}")
            return dict(groups[0])


def _replicas(service: str, group: dict[str, Any]) -> Replicas:
    """
    Raises:
        PermanentScalerError: it is not ours to scale, or launches nothing.
    """
    tags = {tag["Key"]: tag["Value"] for tag in group.get("Tags", [])}
    marked = marked_bounds(service, tags, kind="tag")
    suspended = {one["ProcessName"] for one in group.get("SuspendedProcesses", [])} & {"Launch", "Terminate"}
    if suspended:
        raise PermanentScalerError(f"{service}: somebody has suspended the group's {' and '.join(sorted(suspended))}")
    ready = [
        one
        for one in group.get("Instances", [])
        if one["LifecycleState"] == "InService" and one["HealthStatus"] == "Healthy"
    ]
    return Replicas(
        service=service,
        desired=int(group["DesiredCapacity"]),
        ready=len(ready),
        minimum=max(marked.minimum, int(group["MinSize"])),
        maximum=min(marked.maximum, int(group["MaxSize"])),
    )
