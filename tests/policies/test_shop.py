"""The policies that ship: they load, they match what they should, and their PromQL is PromQL."""

import promql_parser
import pytest

from remediation.policy.book import load_policies
from remediation.policy.template import Values, render_promql
from steersman.runtime.paths import shipped

VALUES = Values(labels={"service": "catalog"}, annotations={}, target="catalog")


@pytest.fixture(scope="module")
def book():
    return load_policies(shipped("policies"))


def test_latency_of_a_service_is_answered_by_scaling_out(book):
    policy = book.first_match({"alertname": "HighRequestLatency", "service": "catalog", "severity": "critical"})
    assert policy is not None
    assert policy.name == "scale-out-on-latency"
    assert policy.steps[0].on_failure == "undo"
    assert policy.steps[0].verify.within <= 60  # a drill waits 90 s for the verdict


@pytest.mark.parametrize(
    "labels",
    [
        {"alertname": "TargetDown", "service": "catalog"},
        {"alertname": "HighRequestLatency"},
        {"alertname": "HighRequestLatency", "service": "gateway"},  # nobody can add replicas of it
    ],
)
def test_other_alerts_are_left_to_people(book, labels):
    assert book.first_match(labels) is None


def test_every_query_is_promql(book):
    queries = []
    for policy in book.policies:
        queries += [one.query or one.exemplars for one in policy.evidence]
        queries += [step.scale.replicas for step in policy.steps if step.scale] + [
            step.verify.query for step in policy.steps
        ]
        queries += [policy.guards.telemetry]
        if policy.scale_in:
            queries += [policy.scale_in.replicas, policy.scale_in.when]
    rendered = [render_promql(query, VALUES) for query in queries if query]
    assert len(rendered) >= 8
    for query in rendered:
        promql_parser.parse(query)
