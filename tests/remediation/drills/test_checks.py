"""Each kind of check, on one observation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from remediation.drills.bounds import number
from remediation.drills.definition import Condition
from remediation.drills.facts import Baseline, Facts
from remediation.drills.observation import Observation
from remediation.drills.telemetry_checks import alert_name


def judge(check: dict, seen: Observation, **facts):
    facts.setdefault("baseline", Baseline(desired={"catalog": 1}, variables={"capacity": 20.0}))
    return Condition.model_validate({"name": "c", **check}).check.judge(Facts(seen, **facts))


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [
        ({"below": 0.5}, 0.4, True),
        ({"below": 0.5}, 0.5, False),
        ({"above": 0}, 0.0, False),
        ({"above": 0}, 0.1, True),
        ({"at_least": 2}, 2.0, True),
        ({"at_most": 2}, 2.1, False),
        ({"equals": 1}, 1.0, True),
        ({"above": 1, "below": 2}, 1.5, True),
        ({"above": 1, "below": 2}, 2.5, False),
        ({"below": 0.5}, float("nan"), False),
        ({}, 7.0, True),
    ],
)
def test_a_sample_is_compared_with_its_bounds(bound, value, holds):
    assert judge({"promql": "x", **bound}, Observation(samples={"x": (value,)})).holds is holds


def test_every_sample_must_satisfy_the_bounds_and_the_one_that_does_not_is_told():
    judgement = judge({"promql": "x", "below": 1}, Observation(samples={"x": (0.1, 3.25, 0.2)}))
    assert judgement.holds is False
    assert judgement.got == "3.25"


def test_no_sample_is_a_no_and_no_answer_is_neither():
    assert judge({"promql": "x", "below": 1}, Observation(samples={"x": ()})).got == "no sample"
    assert judge({"promql": "x", "below": 1}, Observation(samples={"x": ()})).holds is False
    assert judge({"promql": "x", "below": 1}, Observation()).holds is None


def test_variables_are_put_into_the_query():
    assert judge({"promql": "x / $capacity"}, Observation(samples={"x / 20.0": (3.0,)})).holds is True


@pytest.mark.parametrize(
    "check",
    [
        {"alert_firing": {"alertname": "Slow"}},
        {"replicas": {"service": "catalog", "is": "initial"}},
        {"scale_outs": {"service": "catalog", "at_most": 1}},
        {"remediation": {"service": "catalog", "state": "resolved"}},
        {"remediations_count": {"service": "catalog", "at_most": 1}},
        {"no_open_remediation": {"service": "catalog"}},
        {"no_new_action": {"service": "catalog"}},
    ],
)
def test_what_could_not_be_read_is_neither_yes_nor_no(check):
    assert judge(check, Observation()).holds is None


def test_alerts_are_matched_by_all_labels_given(calm, firing):
    seen = replace(calm, alerts=(firing,))
    assert judge({"alert_firing": {"alertname": "Slow", "service": "catalog"}}, seen).holds is True
    assert judge({"alert_firing": {"alertname": "Slow", "service": "cart"}}, seen).holds is False
    assert judge({"alert_resolved": {"alertname": "Slow"}}, seen).holds is False
    assert judge({"alert_resolved": {"service": "cart"}}, seen).holds is True


def test_a_pending_alert_is_resolved_but_not_absent(calm, firing):
    seen = replace(calm, alerts=(replace(firing, state="pending"),))
    assert judge({"alert_resolved": {"service": "catalog"}}, seen).holds is True
    assert judge({"no_alert": {"service": "catalog"}}, seen).got == "pending"
    assert judge({"no_alert": {"service": "catalog"}}, seen).holds is False


@pytest.mark.parametrize(
    ("wanted", "desired", "ready", "holds"),
    [
        ({"is": "initial"}, 1, 3, True),
        ({"is": "initial", "count": "both"}, 1, 3, False),
        ({"is": "above_initial"}, 1, 1, False),
        ({"is": "above_initial"}, 2, 1, True),
        ({"is": "minimum"}, 1, 1, True),
        ({"at_least": 3}, 3, 0, True),
        ({"at_least": 3, "count": "ready"}, 3, 2, False),
        ({"at_most": 3}, 4, 4, False),
        ({"equals": 2, "count": "both"}, 2, 2, True),
    ],
)
def test_replicas_are_compared(calm, catalog, wanted, desired, ready, holds):
    seen = replace(calm, services=catalog(desired, ready))
    assert judge({"replicas": {"service": "catalog", **wanted}}, seen).holds is holds


def test_a_service_that_does_not_exist_is_named(calm):
    judgement = judge({"replicas": {"service": "nosuch", "at_least": 1}}, calm)
    assert judgement == (False, "no service nosuch", None)


def test_an_open_remediation_is_named(calm, remediation):
    seen = replace(calm, remediations=(remediation("verifying"),))
    assert judge({"no_open_remediation": {"service": "catalog"}}, seen)[:2] == (False, "r1 verifying")
    done = replace(calm, remediations=(remediation("resolved"),))
    assert judge({"no_open_remediation": {"service": "catalog"}}, done).holds is True


def test_a_remediation_of_another_alert_does_not_count(calm, remediation):
    seen = replace(calm, remediations=(remediation("resolved"),))
    wanted = {"service": "catalog", "state": "resolved"}
    assert judge({"remediation": wanted}, seen).holds is True
    assert judge({"remediation": {**wanted, "alertname": "Down"}}, seen)[:2] == (False, "none began")


def test_alerts_are_named_as_prometheus_writes_series():
    assert alert_name({"service": "catalog", "alertname": "Slow"}) == 'Slow{service="catalog"}'
    assert alert_name({"alertname": "Slow"}) == "Slow"


@pytest.mark.parametrize(
    ("value", "text"), [(60.0, "60"), (0.12345, "0.1235"), (float("nan"), "nan"), (float("inf"), "inf"), (240, "240")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text
