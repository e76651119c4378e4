"""What changed from one observation to the next, as the timeline tells it."""

from __future__ import annotations

import pytest

from remediation.drills.changes import Changes
from remediation.drills.observation import Alert, Observation, Service

CALM = Observation(alerts=(), remediations=(), services={"catalog": Service("catalog", 1, 1, 1, 6)})


def seen(**changes):
    return Observation(**{"alerts": (), "remediations": (), "services": CALM.services} | changes)


def told(labels):
    log = Changes(frozenset())
    assert log.note(CALM, counting=True) == []
    (change,) = log.note(seen(alerts=(Alert(labels, "firing", 50.949),)), counting=True)
    return change.event, change.detail


@pytest.mark.parametrize(
    ("labels", "detail"),
    [
        ({"service": "catalog", "instance": "catalog-1", "job": "catalog"}, "catalog, catalog-1, value 50.95"),
        ({"job": "catalog", "slo": "latency"}, "catalog, latency, value 50.95"),
        ({}, "value 50.95"),
    ],
)
def test_an_alert_says_what_it_is_about(labels, detail):
    assert told({"alertname": "Slow", **labels}) == ("Slow firing", detail)


def test_only_what_comes_after_the_injection_counts_as_a_scale_out():
    log = Changes(frozenset())
    for desired, counting in ((1, False), (2, False), (4, True), (1, True), (3, True)):
        log.note(seen(services={"catalog": Service("catalog", desired, 1, 1, 6)}), counting=counting)
    assert log.scale_outs == {"catalog": 2}


def test_what_could_not_be_read_for_a_moment_is_compared_with_what_was_known_before():
    log = Changes(frozenset())
    log.note(CALM, counting=True)
    assert log.note(seen(services=None, alerts=None), counting=True) == []
    (change,) = log.note(seen(services={"catalog": Service("catalog", 2, 1, 1, 6)}), counting=True)
    assert (change.event, change.detail, change.raised) == ("catalog desired", "1 → 2", "catalog")
