"""What a Deployment's or StatefulSet's own words say, without a server."""

import datetime as dt

import pytest
from kubernetes.client import (
    V1Deployment,
    V1DeploymentSpec,
    V1DeploymentStatus,
    V1LabelSelector,
    V1LabelSelectorRequirement,
    V1ObjectMeta,
    V1OwnerReference,
    V1Pod,
    V1PodTemplateSpec,
)

from remediation.errors import PermanentScalerError
from remediation.scalers.bounds import MAXIMUM
from remediation.scalers.workload import (
    DEPLOYMENT,
    RESTARTED_AT,
    STATEFUL_SET,
    Workload,
    kind_and_name,
    surely_started_before,
)

AT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
AT_MS = round(AT.timestamp() * 1000)


def deployment(*, selector: V1LabelSelector | None = None, restarted_at: str | None = None, **status: int) -> Workload:
    annotations = {} if restarted_at is None else {RESTARTED_AT: restarted_at}
    found = V1Deployment(
        metadata=V1ObjectMeta(name="shop", generation=3, annotations={MAXIMUM: "6"}),
        spec=V1DeploymentSpec(
            replicas=2,
            selector=selector or V1LabelSelector(match_labels={"app": "shop"}),
            template=V1PodTemplateSpec(metadata=V1ObjectMeta(annotations=annotations)),
        ),
        status=V1DeploymentStatus(**status) if status else None,
    )
    return Workload(DEPLOYMENT, "shop", found)


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({}, 0),
        ({"observed_generation": 3}, 0),
        ({"observed_generation": 3, "ready_replicas": 1}, 1),
        ({"observed_generation": 3, "ready_replicas": 3}, 3),  # a rollout's surge serves too
        ({"observed_generation": 2, "ready_replicas": 5}, 2),  # counted before the last change was seen
        ({"observed_generation": 2, "ready_replicas": 1}, 1),
    ],
)
def test_status_of_before_the_last_change_does_not_count_for_more_than_is_desired(status, ready):
    assert deployment(**status).replicas.ready == ready


def test_selector_is_told_as_a_list_request_takes_it():
    expressions = [
        V1LabelSelectorRequirement(key="tier", operator="In", values=["b", "a"]),
        V1LabelSelectorRequirement(key="track", operator="NotIn", values=["canary"]),
        V1LabelSelectorRequirement(key="owner", operator="Exists"),
        V1LabelSelectorRequirement(key="debug", operator="DoesNotExist"),
    ]
    selector = V1LabelSelector(match_labels={"b": "2", "a": "1"}, match_expressions=expressions)
    assert deployment(selector=selector).selector == "a=1,b=2,tier in (a,b),track notin (canary),owner,!debug"


@pytest.mark.parametrize(
    ("restarted_at", "since"),
    [
        (None, False),
        ("2026-01-02T03:04:04Z", False),
        ("2026-01-02T03:04:05Z", True),
        ("2026-01-02T05:04:05+02:00", True),
        ("2026-01-02T04:04:04.999+01:00", False),
        ("yesterday", False),
    ],
)
def test_restart_counts_from_the_moment_on_that_it_names(restarted_at, since):
    assert deployment(restarted_at=restarted_at).restarted_since(AT_MS) is since


@pytest.mark.parametrize(("later_ms", "before"), [(-1, False), (0, False), (999, False), (1000, True)])
def test_pod_of_the_same_second_may_be_the_new_one(later_ms, before):
    pod = V1Pod(metadata=V1ObjectMeta(name="ledger-0", creation_timestamp=AT))
    assert surely_started_before(pod, AT_MS + later_ms) is before
    pod.metadata.deletion_timestamp = AT
    assert not surely_started_before(pod, AT_MS + later_ms)


@pytest.mark.parametrize(
    ("kind", "owner", "controller", "ours"),
    [
        (DEPLOYMENT, ("ReplicaSet", "shop-5d4f"), True, True),
        (DEPLOYMENT, ("ReplicaSet", "shop-canary-5d4f"), True, False),
        (DEPLOYMENT, ("ReplicaSet", "shop-5d4f"), False, False),
        (DEPLOYMENT, ("Job", "shop-5d4f"), True, False),
        (STATEFUL_SET, ("StatefulSet", "shop"), True, True),
        (STATEFUL_SET, ("StatefulSet", "shop-2"), True, False),
    ],
)
def test_pod_belongs_to_who_controls_it(kind, owner, controller, ours):
    reference = V1OwnerReference(api_version="apps/v1", kind=owner[0], name=owner[1], uid="1", controller=controller)
    pod = V1Pod(metadata=V1ObjectMeta(name="shop-1", owner_references=[reference]))
    assert Workload(kind, "shop", deployment().found).owns(pod) is ours
    pod.metadata.owner_references = None
    assert not Workload(kind, "shop", deployment().found).owns(pod)


@pytest.mark.parametrize(
    ("service", "kind", "name"),
    [
        ("checkout", DEPLOYMENT, "checkout"),
        ("statefulset/ledger", STATEFUL_SET, "ledger"),
        ("a.b-1", DEPLOYMENT, "a.b-1"),
    ],
)
def test_target_names_a_kind_and_an_object(service, kind, name):
    assert kind_and_name(service) == (kind, name)


@pytest.mark.parametrize(
    "service",
    [
        "",
        "/",
        "statefulset/",
        "deployment/checkout",
        "daemonset/x",
        "statefulset/a/b",
        "Checkout",
        "-a",
        "a\n",
        "a" * 254,
    ],
)
def test_what_is_no_target_is_refused(service):
    with pytest.raises(PermanentScalerError):
        kind_and_name(service)
