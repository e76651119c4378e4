import math

import httpx
import pytest

from remediation.errors import PermanentTelemetryError, TemporaryTelemetryError
from remediation.prometheus import AlertCondition, Prometheus, Sample, holds, single


@pytest.fixture
def answering():
    """A client whose answers the test gives, with the transport replaced below the HTTP client."""
    clients = []

    def make(status, body):
        client = Prometheus("http://127.0.0.1:1")
        client.close()
        response = {"json": body} if isinstance(body, (dict, list)) else {"text": body}
        transport = httpx.MockTransport(lambda request: httpx.Response(status, **response))
        client._client = httpx.Client(base_url="http://127.0.0.1:1", transport=transport)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


def success(kind, result):
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def test_vector_and_scalar_become_samples(answering):
    vector = [{"metric": {"__name__": "up", "job": "cart"}, "value": [1.5, "NaN"]}]
    (sample,) = answering(200, success("vector", vector)).query("up")
    assert sample.labels == {"job": "cart"}
    assert math.isnan(sample.value)
    assert answering(200, success("scalar", [1.5, "+Inf"])).query("1/0") == [Sample({}, math.inf)]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"status": "error", "errorType": "bad_data", "error": "parse error"}, PermanentTelemetryError),
        (422, {"status": "error", "errorType": "execution", "error": "many-to-many"}, PermanentTelemetryError),
        (503, {"status": "error", "errorType": "unavailable", "error": "starting"}, TemporaryTelemetryError),
        (429, {"status": "error", "error": "slow down"}, TemporaryTelemetryError),
        (502, "<html>", TemporaryTelemetryError),
        (200, success("matrix", []), PermanentTelemetryError),
        (200, success("vector", [{"metric": {}}]), PermanentTelemetryError),
        (200, {"status": "success"}, PermanentTelemetryError),
        (200, [], PermanentTelemetryError),
    ],
)
def test_answer_that_is_none_is_an_error_of_its_kind(answering, status, body, error):
    with pytest.raises(error):
        answering(status, body).query("up")


def test_prometheus_that_is_not_there_is_a_temporary_error():
    absent = Prometheus("http://127.0.0.1:1", timeout_s=1.0)
    with pytest.raises(TemporaryTelemetryError):
        absent.query("up")
    assert absent.exemplar_traces("x", start_s=0, end_s=1) == []  # they explain, they decide nothing
    absent.close()


def test_exemplars_are_the_traces_of_the_slowest_first(answering):
    data = [
        {"seriesLabels": {}, "exemplars": [{"labels": {"trace_id": "a"}, "value": "0.1", "timestamp": 1}]},
        {"exemplars": [{"labels": {"traceID": "b"}, "value": "2.5"}, {"labels": {"trace_id": "a"}, "value": "3"}]},
        {"exemplars": [{"labels": {}, "value": "9"}]},
    ]
    client = answering(200, {"status": "success", "data": data})
    assert client.exemplar_traces("x", start_s=0, end_s=1) == ["a", "b"]
    assert client.exemplar_traces("x", start_s=0, end_s=1, limit=1) == ["a"]


def test_critical_path_tells_what_a_trace_s_time_went_into(answering):
    took = {"GET /items": 0.1, "wait": 1.2, "query": 0.0}
    spans = [{"service": "catalog", "name": name, "critical_nano": round(s * 1e9)} for name, s in took.items()]
    again = {"service": "catalog", "name": "GET /items", "critical_nano": 50_000_000}
    client = answering(200, {"status": "success", "data": {"spans": [*spans, again]}})
    assert client.critical_path("ab" * 16) == {"catalog: wait": 1.2, "catalog: GET /items": 0.15}
    assert list(client.critical_path("ab" * 16, limit=1)) == ["catalog: wait"]
    assert client.critical_path("../../rules") == {}  # ids come from whoever sends telemetry


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"status": "error", "error": "no trace"}),
        (200, {"status": "success", "data": []}),
        (200, {"status": "success", "data": {"spans": [{"service": "cart"}]}}),
    ],
)
def test_without_such_a_trace_or_such_an_api_there_is_no_critical_path(answering, status, body):
    assert answering(status, body).critical_path("ab" * 16) == {}


def test_rules_of_one_name_are_told_apart_by_their_labels(answering):
    rules = [
        {"type": "alerting", "name": "Slow", "query": "a > 1", "labels": {"service": "cart", "severity": "critical"}},
        {"type": "alerting", "name": "Slow", "query": "b > 1", "labels": {"service": "{{ $labels.job }}"}},
        {"type": "recording", "name": "Slow", "query": "c"},
        {"type": "alerting", "name": "Other", "query": "d > 1"},
    ]
    client = answering(200, {"status": "success", "data": {"groups": [{"rules": rules}]}})
    found = client.conditions("Slow")
    assert [one.expression for one in found] == ["a > 1", "b > 1"]
    catalog = {"alertname": "Slow", "service": "catalog", "severity": "critical", "job": "catalog"}
    assert [one.applies_to(catalog) for one in found] == [False, True]


def test_condition_returns_an_alert_when_all_its_own_labels_agree():
    condition = AlertCondition("x > 1", {"severity": "critical"})
    alert = {"alertname": "Slow", "service": "cart", "severity": "critical"}
    assert condition.returns([Sample({"service": "cart"}, 2.0)], alert)
    assert condition.returns([Sample({"service": "cart", "severity": "overridden by the rule"}, 2.0)], alert)
    assert not condition.returns([Sample({"service": "catalog"}, 2.0)], alert)
    assert not condition.returns([Sample({"service": "cart", "zone": "a"}, 2.0)], alert)
    assert not condition.returns([], alert)


def test_only_one_finite_number_is_a_basis_to_act_on():
    assert single([Sample({}, 2.5)]) == 2.5
    assert single([]) is None
    assert single([Sample({}, 1.0), Sample({}, 1.0)]) is None
    assert single([Sample({}, math.nan)]) is None
    assert single([Sample({}, math.inf)]) is None


def test_condition_holds_when_something_comes_back_that_is_a_number():
    assert holds([Sample({}, 0.0)])
    assert not holds([])
    assert not holds([Sample({}, 1.0), Sample({}, math.nan)])
