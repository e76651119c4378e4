"""What is AWS's own, on moto's server; the contract is in test_contract.py."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from pathlib import Path
from typing import Any

import aws_server
import pytest
from aws_server import CLUSTER, CREDENTIALS

from remediation.errors import PermanentScalerError, SettingsError, TemporaryScalerError
from remediation.scalers.aws import AwsScaler
from remediation.scalers.scaler import Replicas

GUIDE = Path(__file__).parents[3] / "docs" / "scalers.md"
OURS = {"steersman_maximum": "6"}


def documented_actions() -> list[str]:
    (text,) = re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    named = [statement["Action"] for statement in json.loads(text)["Statement"]]
    return [one for some in named for one in ([some] if isinstance(some, str) else some)]


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


def test_documented_rights_are_all_that_it_needs_and_none_of_them_is_too_much(aws, monkeypatch):
    aws.add_group("web", desired=1, **OURS)
    aws.add_service("web", tags=OURS)
    aws.run_tasks("web", 1)
    user = aws.user()
    for name, value in user.credentials.items():
        monkeypatch.setenv(name, value)
    scaler = AwsScaler(cluster=CLUSTER, endpoint_url=aws.url)

    def refused(actions: list[str]) -> str:
        """The first refusal of everything that it does, by somebody with these rights."""
        user.allow(actions)
        (instance, *_), (task, *_) = aws.instances("web"), aws.tasks("web")
        aws.run_tasks("web", 1)
        with aws.require():
            for ask in (
                scaler.services,
                lambda: scaler.set_desired("web", 1),
                lambda: scaler.restart("web", now_unix_ms()),
                lambda: scaler.restart("web", 0, task),
                lambda: scaler.set_desired("asg/web", 1),
                lambda: scaler.restart("asg/web", now_unix_ms(), instance),
                lambda: scaler.restart("asg/web", now_unix_ms()),
            ):
                try:
                    ask()
                except PermanentScalerError as error:
                    return str(error)
        return ""

    actions = documented_actions()
    assert refused(actions) == ""
    for left_out in actions:
        aws.run_tasks("web", 1)
        told = refused([one for one in actions if one != left_out])
        assert left_out in told
        assert "the worker's role does not allow it, see docs/scalers.md" in told
    scaler.close()


@pytest.mark.parametrize(
    ("tags", "bounds"),
    [
        ({"steersman_maximum": "9"}, (2, 5)),
        ({"steersman_maximum": "4", "steersman_minimum": "3"}, (3, 4)),
    ],
)
def test_bounds_of_the_group_itself_hold_beside_the_tags(aws, aws_scaler, tags, bounds):
    aws.add_group("web", desired=3, minimum=2, maximum=5, **tags)
    found = aws_scaler.get("asg/web")
    assert (found.minimum, found.maximum) == bounds
    with pytest.raises(PermanentScalerError, match=f"{bounds[1] + 1} replicas are out of bounds"):
        aws_scaler.set_desired("asg/web", bounds[1] + 1)


def test_what_is_not_marked_is_not_touched_and_does_not_count(aws, aws_scaler):
    aws.add_group("bank", desired=1)
    aws.add_service("bank")
    aws.run_tasks("bank", 1)
    before = aws.instances("bank"), aws.tasks("bank"), aws.deployment("bank")
    for name in ("bank", "asg/bank"):
        assert name not in aws_scaler.services()
        for ask in (
            lambda name=name: aws_scaler.set_desired(name, 2),
            lambda name=name: aws_scaler.restart(name, now_unix_ms()),
            lambda name=name: aws_scaler.restart(name, now_unix_ms(), *before[0]),
            lambda name=name: aws_scaler.restart(name, now_unix_ms(), *before[1]),
        ):
            with pytest.raises(PermanentScalerError, match=r"has no tag steersman\.maximum|holds no"):
                ask()
    assert (aws.instances("bank"), aws.tasks("bank"), aws.deployment("bank")) == before


def test_group_that_launches_nothing_is_refused(aws, aws_scaler):
    aws.add_group("web", desired=1, **OURS)
    aws.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["Launch"])
    with pytest.raises(PermanentScalerError, match="asg/web: somebody has suspended the group's Launch"):
        aws_scaler.set_desired("asg/web", 2)


def test_daemon_and_what_another_controller_deploys_are_refused(aws, aws_scaler):
    aws.add_service("agent", tags=OURS, schedulingStrategy="DAEMON")
    aws.add_service("external", tags=OURS, deploymentController={"type": "EXTERNAL"})
    with pytest.raises(PermanentScalerError, match="agent is a daemon"):
        aws_scaler.set_desired("agent", 2)
    with pytest.raises(PermanentScalerError, match="external is deployed by EXTERNAL"):
        aws_scaler.restart("external", now_unix_ms())


def test_replica_is_found_by_the_id_in_its_name_and_nothing_else(aws, aws_scaler):
    aws.add_group("web", desired=2, **OURS)
    first, second = sorted(aws.instances("web"))
    aws_scaler.restart("asg/web", now_unix_ms(), f"web-{first}:8080")
    assert first not in aws.instances("web")
    assert second in aws.instances("web")
    aws_scaler.restart("asg/web", now_unix_ms(), "i-0123456789abcdef0")  # of another group, or gone
    assert second in aws.instances("web")
    with pytest.raises(PermanentScalerError, match=r"'10\.0\.0\.7:8080' of asg/web holds no instance's id"):
        aws_scaler.restart("asg/web", now_unix_ms(), "10.0.0.7:8080")


def test_refresh_that_began_before_is_not_taken_for_ours(aws, aws_scaler):
    aws.add_group("web", desired=1, **OURS)
    before = aws.instances("web")
    earlier = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    last: dict[str, Any] = {"InstanceRefreshId": "1", "AutoScalingGroupName": "web", "StartTime": earlier}
    aws_server.refreshes["web"] = [last | {"Status": "InProgress"}]
    with pytest.raises(TemporaryScalerError, match="restart asg/web: InstanceRefreshInProgress"):
        aws_scaler.restart("asg/web", now_unix_ms())
    assert aws.instances("web") == before
    aws_server.refreshes["web"] = [last | {"Status": "Successful"}]
    aws_scaler.restart("asg/web", now_unix_ms())
    assert not aws.instances("web") & before


def test_bare_name_without_a_cluster_says_how_a_group_is_written(aws):
    scaler = AwsScaler(cluster=None, endpoint_url=aws.url)
    with pytest.raises(PermanentScalerError, match=r"REMEDIATION_AWS_ECS_CLUSTER is not set.*written asg/web"):
        scaler.get("web")
    scaler.close()


def test_unknown_cluster_is_a_permanent_error(aws):
    scaler = AwsScaler(cluster="nowhere", endpoint_url=aws.url)
    with pytest.raises(PermanentScalerError, match="service web of cluster nowhere: ClusterNotFoundException"):
        scaler.get("web")
    scaler.close()


THROTTLED = """<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>
</Error></ErrorResponse>"""


@pytest.mark.parametrize(
    ("status", "content_type", "body", "complaint", "tries"),
    [
        (400, "text/xml", THROTTLED, "Throttling: Rate exceeded", 3),
        # What botocore cannot read it does not try again; who asked for it does.
        (502, "text/html", "<!doctype html><title>Bad gateway<br></title>", "no answer: ResponseParserError", 1),
    ],
)
def test_throttling_and_proxies_that_fail_are_temporary_errors(
    answering, monkeypatch, status, content_type, body, complaint, tries
):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    server = answering(status, content_type, body)
    scaler = AwsScaler(cluster=None, endpoint_url=server.url)
    with pytest.raises(TemporaryScalerError, match=complaint):
        scaler.get("asg/web")
    assert server.asked == tries
    scaler.close()


def test_missing_region_and_credentials_are_told_and_secrets_are_not(aws, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-is-wrong")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
    stranger = AwsScaler(cluster=None, endpoint_url=aws.url)
    with aws.require(), pytest.raises(PermanentScalerError, match="credentials are not taken") as error:
        stranger.get("asg/web")
    assert "a-secret" not in str(error.value)
    stranger.close()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    nobody = AwsScaler(cluster=None, endpoint_url=aws.url)
    with pytest.raises(PermanentScalerError, match="Unable to locate credentials: give the worker a role"):
        nobody.get("asg/web")
    nobody.close()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SettingsError, match="no region; set AWS_REGION"):
        AwsScaler(cluster=None, endpoint_url=aws.url)


def test_ready_are_the_instances_in_service_that_are_healthy(aws, aws_scaler):
    aws.add_group("web", desired=3, **OURS)
    (ailing, *_) = aws.instances("web")
    aws.autoscaling.enter_standby(
        InstanceIds=[ailing], AutoScalingGroupName="web", ShouldDecrementDesiredCapacity=False
    )
    found = aws_scaler.get("asg/web")
    assert found == Replicas(service="asg/web", desired=3, ready=found.ready, minimum=1, maximum=6)
    standing_by = [one for one in aws.instances("web") if one == ailing]
    assert found.ready == len(aws.instances("web")) - len(standing_by)
