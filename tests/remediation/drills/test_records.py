"""The stack's JSON, as docs/architecture.md gives it, and as Prometheus's API gives it."""

from __future__ import annotations

import pytest

from remediation.drills import records

RECORD = {
    "id": "r1",
    "service": "catalog",
    "alertname": "HighRequestLatency",
    "state": "acting",
    "started_at_unix_ms": 1_700_000_000_000,
    "finished_at_unix_ms": None,
    "policy": "latency",
    "alert": {"labels": {}},
    "actions": [{"action": "scale", "target": "catalog", "from": 1, "to": 4, "at_unix_ms": 1, "reason": "p99 1.8 s"}],
    "timeline": [],
    "evidence": [{"name": "p99", "query": "…", "value": 1.23456, "at_unix_ms": 1}],
    "outcome": None,
}


def test_a_remediation_is_read_with_its_actions_and_evidence():
    (read,) = records.remediations({"remediations": [RECORD]})
    assert (read.id, read.state, read.open, read.outcome) == ("r1", "acting", True, "")
    assert (read.actions[0].before, read.actions[0].after, read.actions[0].reason) == ("1", "4", "p99 1.8 s")
    assert read.evidence == ("p99 = 1.235",)


@pytest.mark.parametrize("state", ["refused", "resolved", "escalated", "failed"])
def test_final_states_are_not_open(state):
    (read,) = records.remediations({"remediations": [{**RECORD, "state": state}]})
    assert not read.open


def test_a_query_that_gave_no_sample_has_no_value():
    evidence = [{"name": "the alert's expression", "query": "up == 0", "value": None, "at_unix_ms": 1}]
    (read,) = records.remediations({"remediations": [{**RECORD, "evidence": evidence}]})
    assert read.evidence == ("the alert's expression = no value",)


def test_long_evidence_is_shortened():
    evidence = [{"name": "trace", "query": "", "value": "x" * 500, "at_unix_ms": 1}]
    (read,) = records.remediations({"remediations": [{**RECORD, "evidence": evidence}]})
    assert len(read.evidence[0]) < 80


def test_scalars_and_vectors_are_read_and_ranges_refused():
    scalar = {"data": {"resultType": "scalar", "result": [1.0, "2.5"]}}
    vector = {"data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, "NaN"]}]}}
    assert records.samples(scalar) == (2.5,)
    assert len(records.samples(vector)) == 1
    with pytest.raises(ValueError, match="got a matrix"):
        records.samples({"data": {"resultType": "matrix", "result": []}})


def test_an_alert_without_a_value_is_still_an_alert():
    body = {"data": {"alerts": [{"labels": {"alertname": "X"}, "state": "pending", "value": ""}]}}
    assert records.alerts(body)[0].value is None


def test_rates_are_only_those_of_journeys():
    assert records.rates({"browse": 8, "ttl_s": 30, "status": "success"}) == {"browse": 8.0}


def test_replicas_without_a_process_have_no_id():
    instances = [{"id": "catalog-1", "state": "ready", "pid": 7}, {"id": "catalog-2", "state": "stopped", "pid": None}]
    assert records.replicas({"services": [{"name": "catalog", "instances": instances}]}) == {"catalog-1": 7}
