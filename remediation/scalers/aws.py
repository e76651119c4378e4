"""
AWS: a target is `checkout`, a service of the ECS cluster in the settings, or `asg/checkout`, an Auto Scaling group.

Scaling in drains as AWS does it: a load balancer's deregistration delay, ECS's stop timeout, a group's lifecycle hooks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from boto3.session import Session

from remediation.errors import PermanentScalerError
from remediation.scalers.auto_scaling import AutoScalingGroups
from remediation.scalers.ecs import EcsServices
from remediation.scalers.scaler import Replicas

GROUP = "asg/"
# Names with other characters exist; they cannot be targets of policies either.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class Place(NamedTuple):
    system: AutoScalingGroups | EcsServices
    name: str  # as that system has it


class AwsScaler:
    """
    Args:
        cluster: Of ECS; None: only Auto Scaling groups.
        endpoint_url: Instead of AWS's own.

    Raises:
        SettingsError: no region is set.
    """

    surges = False

    def __init__(self, *, cluster: str | None, endpoint_url: str | None = None) -> None:
        session = Session()  # of our own: boto3's default one belongs to the whole process
        self._groups = AutoScalingGroups(session, endpoint_url)
        self._services = EcsServices(session, endpoint_url, cluster) if cluster else None

    def close(self) -> None:
        self._groups.close()
        if self._services is not None:
            self._services.close()

    def get(self, service: str) -> Replicas:
        place = self._place(service)
        return place.system.get(service, place.name)

    def services(self) -> list[str]:
        """Those that have a tag for the maximum: what is not ours to scale does not count."""
        groups = [GROUP + name for name in self._groups.names()]
        return sorted([*groups, *(self._services.names() if self._services is not None else [])])

    def set_desired(self, service: str, desired: int) -> Replicas:
        place = self._place(service)
        return place.system.set_desired(service, place.name, desired)

    def restart(self, service: str, started_before_unix_ms: int, replica: str | None = None) -> None:
        place = self._place(service)
        if replica is not None:
            place.system.replace(service, place.name, replica)
        else:
            place.system.restart(service, place.name, started_before_unix_ms)

    def _place(self, service: str) -> Place:
        name = service.removeprefix(GROUP)
        if not _NAME.fullmatch(name):
            raise PermanentScalerError(f"{service[:120]!r} names neither a service (NAME) nor a group ({GROUP}NAME)")
        if service.startswith(GROUP):
            return Place(self._groups, name)
        if self._services is None:
            raise PermanentScalerError(
                f"{service}: REMEDIATION_AWS_ECS_CLUSTER is not set; an Auto Scaling group is written {GROUP}{service}"
            )
        return Place(self._services, name)
