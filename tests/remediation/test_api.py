"""The HTTP seam, on a real worker: what strangers and broken peers may send."""

import json

import httpx
import pytest

URL = "/api/v1/webhook/alertmanager"
AUTHORIZED = {"Authorization": "Bearer post-alerts"}


def post(worker, content, headers=AUTHORIZED):
    return httpx.post(worker.url + URL, content=content, headers=headers, trust_env=False)


def get(worker, path):
    return httpx.get(worker.url + path, trust_env=False)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic post-alerts"}, {"Authorization": "Bearer"}],
)
def test_without_the_token_nothing_is_taken(worker, headers):
    answer = post(worker, b'{"version": "4", "alerts": []}', headers)
    assert answer.status_code == 401
    assert answer.json()["errorType"] == "unauthorized"


def changed(alert, **fields):
    return json.dumps({"version": "4", "alerts": [{**alert("catalog", name="None"), **fields}]})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"status": "pending"}, "alerts.0.status"),
        ({"startsAt": "yesterday"}, "alerts.0.startsAt"),
        ({"startsAt": "2026-01-02T03:04:05"}, "alerts.0.startsAt"),  # without a zone nobody knows when
        ({"fingerprint": "../../etc"}, "alerts.0.fingerprint"),
        ({"fingerprint": ""}, "alerts.0.fingerprint"),
        ({"labels": {"a": 1}}, "alerts.0.labels.a"),
        ({"labels": {"a": "x" * 5000}}, "alerts.0.labels.a"),
        ({"labels": None}, "alerts.0.labels"),
    ],
)
def test_wrong_alert_is_refused_by_the_name_of_its_field(worker, alert, fields, named):
    answer = post(worker, changed(alert, **fields))
    assert answer.status_code == 400
    assert answer.json()["errorType"] == "bad_data"
    assert answer.json()["error"].startswith(named)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"version": "3", "alerts": []}', b"[" * 100000]
)
def test_body_that_is_no_notification_is_refused(worker, body):
    answer = post(worker, body)
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"


def test_one_wrong_alert_leaves_nothing_half_taken(worker, orchestrator, slow_until, alert):
    slow_until("half", wanted=2.0, cured_by=2)
    body = {"version": "4", "alerts": [alert("half"), {**alert("half"), "status": "odd"}]}
    assert post(worker, json.dumps(body)).status_code == 400
    assert get(worker, "/api/v1/remediations?service=half").json() == {"remediations": []}
    assert orchestrator.changes("half") == []


def test_body_beyond_the_limit_is_refused_before_it_is_read_to_the_end(worker):
    def endless():
        for _ in range(100):
            yield b" " * 65536

    try:
        answer = post(worker, endless())
    except httpx.WriteError:
        return  # the worker hung up while we were still sending, as it may
    assert answer.status_code == 413
    assert "4194304" in answer.json()["error"]


def test_fields_that_other_senders_add_are_ignored(worker, alert):
    answer = post(worker, changed(alert, silenceURL="http://127.0.0.1/", values={"A": 1}, endsAt=None, annotations={}))
    assert answer.status_code == 200
    assert answer.json() == {"accepted": []}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/remediations?state=odd", 400),
        ("/api/v1/remediations?limit=0", 400),
        ("/api/v1/remediations?limit=100000", 400),
        ("/api/v1/remediations/none", 404),
        ("/api/v1/other", 404),
    ],
)
def test_wrong_question_is_answered_in_the_envelope(worker, path, status):
    answer = get(worker, path)
    assert answer.status_code == status
    assert answer.json()["status"] == "error"


def test_records_are_listed_newest_first_and_filtered(worker, orchestrator, slow_until, alert):
    for service in ("older", "newer"):
        slow_until(service, wanted=9.0, cured_by=9, desired=6)
        (run_id,) = worker.post(alert(service))
        worker.wait_for_state(run_id, "refused")
    refused = get(worker, "/api/v1/remediations?state=refused").json()["remediations"]
    assert [one["service"] for one in refused][:2] == ["newer", "older"]
    assert len(get(worker, "/api/v1/remediations?state=refused&limit=1").json()["remediations"]) == 1
    (record,) = get(worker, "/api/v1/remediations?service=older").json()["remediations"]
    assert record == worker.record(record["id"])
    assert set(record) == {
        "id", "service", "alertname", "state", "started_at_unix_ms", "finished_at_unix_ms", "policy", "alert",
        "actions", "timeline", "evidence", "approvals", "outcome",
    }  # fmt: skip
    assert record["alert"]["labels"]["service"] == "older"
    assert record["alert"]["fingerprint"]


def test_metrics_and_health_are_there_for_the_asking(worker):
    assert get(worker, "/-/healthy").status_code == 200
    assert get(worker, "/-/ready").status_code == 200
    text = get(worker, "/metrics").text
    for name in (
        "remediation_runs_total",
        "remediation_actions_total",
        "remediation_running",
        "process_resident_memory",
    ):
        assert name in text
    assert "post-alerts" not in text


def test_services_are_told_as_the_orchestrator_tells_them(worker, orchestrator):
    orchestrator.add("catalog", desired=2)
    told = next(each for each in get(worker, "/api/v1/services").json()["services"] if each["name"] == "catalog")
    assert told == {"name": "catalog", "desired": 2, "ready": 2, "minimum": 1, "maximum": 6}
    orchestrator.unavailable = True
    try:
        answer = get(worker, "/api/v1/services")
    finally:
        orchestrator.unavailable = False  # others have it too
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("the scaler cannot tell")
