"""
moto's server as the peer of what talks to AWS, in threads of this process.

moto knows no instance refreshes; they are added here, a stand-in that replaces every instance at once. With `require`,
moto asks each request for a signature and for rights, as IAM does, though for all resources alike.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "made-up-for-tests",
    "AWS_SECRET_ACCESS_KEY": "made-up-for-tests-too",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
CLUSTER = "demo"


class AwsServer:
    """One account with a subnet, an image, and the ECS cluster `demo`."""

    def __init__(self, folder: Path) -> None:
        images = folder / "images.json"
        images.write_text("[]")
        os.environ["MOTO_AMIS_PATH"] = str(images)  # else a thousand of them are loaded
        from moto.server import ThreadedMotoServer

        _add_instance_refreshes()
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())
        self.autoscaling, self.ecs, self._ec2, self._iam = map(self.client, ("autoscaling", "ecs", "ec2", "iam"))
        image = self._ec2.register_image(Name="shop", Architecture="x86_64")["ImageId"]
        self.autoscaling.create_launch_configuration(
            LaunchConfigurationName="shop", ImageId=image, InstanceType="t3.micro"
        )
        self._subnet = self._ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        self.ecs.create_cluster(clusterName=CLUSTER)
        container = {"name": "main", "image": "shop:1", "memory": 64}
        self.ecs.register_task_definition(family="shop", containerDefinitions=[container])

    def client(self, service: str) -> Any:
        import boto3

        key, secret = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        return boto3.session.Session(key, secret, region_name=REGION).client(service, endpoint_url=self.url)

    def close(self) -> None:
        for client in (self.autoscaling, self.ecs, self._ec2, self._iam):
            client.close()
        self._server.stop()

    def add_group(self, name: str, *, desired: int = 2, minimum: int = 1, maximum: int = 6, **tags: str) -> None:
        """Tags have underscores for their dots."""
        marks = [
            {
                "Key": key.replace("_", "."),
                "Value": value,
                "ResourceId": name,
                "ResourceType": "auto-scaling-group",
                "PropagateAtLaunch": False,
            }
            for key, value in tags.items()
        ]
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchConfigurationName="shop",
            MinSize=minimum,
            MaxSize=maximum,
            DesiredCapacity=desired,
            VPCZoneIdentifier=self._subnet,
            Tags=marks,
        )

    def add_service(self, name: str, **more: Any) -> None:
        """`tags` have underscores for their dots."""
        tags = [{"key": key.replace("_", "."), "value": value} for key, value in more.pop("tags", {}).items()]
        self.ecs.create_service(
            cluster=CLUSTER, serviceName=name, taskDefinition="shop", launchType="FARGATE", tags=tags, **more
        )

    def run_tasks(self, name: str, count: int) -> None:
        """So many of a service are desired, and run."""
        self.ecs.update_service(cluster=CLUSTER, service=name, desiredCount=count)
        network = {"awsvpcConfiguration": {"subnets": [self._subnet]}}
        for _ in range(count - len(self.tasks(name))):  # moto runs none for a service by itself
            self.ecs.run_task(
                cluster=CLUSTER,
                taskDefinition="shop",
                launchType="FARGATE",
                group=f"service:{name}",
                networkConfiguration=network,
            )

    def instances(self, group: str) -> set[str]:
        found = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return {one["InstanceId"] for one in found[0]["Instances"]}

    def tasks(self, service: str) -> set[str]:
        arns = self.ecs.list_tasks(cluster=CLUSTER, serviceName=service, desiredStatus="RUNNING")["taskArns"]
        return {arn.rpartition("/")[2] for arn in arns}

    def deployment(self, service: str) -> str:
        found = self.ecs.describe_services(cluster=CLUSTER, services=[service])["services"][0]
        return str(found["deployments"][0]["id"])

    @property
    def groups(self) -> set[str]:
        listed = self.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        return {one["AutoScalingGroupName"] for one in listed}

    @property
    def services(self) -> set[str]:
        return {arn.rpartition("/")[2] for arn in self.ecs.list_services(cluster=CLUSTER)["serviceArns"]}

    def clear(self, *, keep: str = "") -> None:
        """All groups and services but those of that name."""
        for name in self.groups - {keep}:
            self.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name)
        for name in self.services - {keep}:
            self.ecs.delete_service(cluster=CLUSTER, service=name, force=True)
        refreshes.clear()

    def user(self) -> User:
        return User(self._iam, f"worker-{uuid.uuid4().hex[:8]}")

    @contextmanager
    def require(self) -> Iterator[None]:
        """Inside, requests need rights."""
        from moto import settings
        from moto.core.authorization import ActionAuthenticatorMixin

        former = settings.INITIAL_NO_AUTH_ACTION_COUNT
        settings.INITIAL_NO_AUTH_ACTION_COUNT = ActionAuthenticatorMixin.request_count = 0
        try:
            yield
        finally:
            settings.INITIAL_NO_AUTH_ACTION_COUNT = former


class User:
    """Somebody with rights of his own; he has none at first."""

    def __init__(self, iam: Any, name: str) -> None:
        self._iam, self._name = iam, name
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.credentials = {  # as the environment has them
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def allow(self, actions: list[str]) -> None:
        """Of all resources: these, and nothing else any more."""
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        self._iam.put_user_policy(UserName=self._name, PolicyName="scale", PolicyDocument=json.dumps(policy))


refreshes: dict[str, list[dict[str, Any]]] = {}  # by group, the newest first


def _add_instance_refreshes() -> None:
    from moto.autoscaling.responses import AutoScalingResponse
    from moto.core.exceptions import ServiceException
    from moto.core.responses import ActionResult

    class InstanceRefreshInProgressFault(ServiceException):
        code = "InstanceRefreshInProgress"

    def start(self: Any) -> Any:
        name = self._get_param("AutoScalingGroupName")
        before = refreshes.setdefault(name, [])
        if before and before[0]["Status"] == "InProgress":
            raise InstanceRefreshInProgressFault("An Instance Refresh is already in progress")
        for instance in list(self.autoscaling_backend.autoscaling_groups[name].active_instances()):
            self.autoscaling_backend.terminate_instance(instance.instance.id, False)
        made = {
            "InstanceRefreshId": str(uuid.uuid4()),
            "AutoScalingGroupName": name,
            "Status": "Successful",
            "StartTime": dt.datetime.now(dt.UTC),
        }
        before.insert(0, made)
        return ActionResult({"InstanceRefreshId": made["InstanceRefreshId"]})

    def describe(self: Any) -> Any:
        return ActionResult({"InstanceRefreshes": refreshes.get(self._get_param("AutoScalingGroupName"), [])})

    AutoScalingResponse.start_instance_refresh = start
    AutoScalingResponse.describe_instance_refreshes = describe


@contextmanager
def running_aws() -> Iterator[AwsServer]:
    with tempfile.TemporaryDirectory(prefix="moto-") as folder:
        server = AwsServer(Path(folder))
        try:
            yield server
        finally:
            server.close()
