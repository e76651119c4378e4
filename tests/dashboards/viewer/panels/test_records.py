import re

import pytest

from dashboards.viewer.panels.records import Edge, LogQueryError, depths, log_parameters, logs_html
from dashboards.viewer.panels.service_graph import Service, drawn, key, of_calls


@pytest.mark.parametrize(
    ("expr", "parameters"),
    [
        ('{service_name="cart"}', {"service": "cart"}),
        ('{job="cart", level="error"} |= "time\\"out"', {"service": "cart", "severity": "error", "text": 'time"out'}),
        ('{service_name=~".+"} |= `late`', {"text": "late"}),
        ("{}", {}),
    ],
)
def test_logql_becomes_parameters_of_the_log_api(expr, parameters):
    assert log_parameters(expr) == parameters


@pytest.mark.parametrize(
    "expr", ['{pod="x"}', '{job!="cart"}', '{job=~"a|b"}', '{job="a"} | json', '{job="a"} |= "x" |= "y"']
)
def test_what_the_log_api_cannot_be_asked_is_refused(expr):
    with pytest.raises(LogQueryError):
        log_parameters(expr)


def test_log_bodies_are_escaped():
    record = {"time_unix_nano": "1000000000", "severity_number": 17, "severity_text": "ERROR", "body": "<script>"}
    assert "<script>" not in logs_html([record])
    assert 'class="bad"' in logs_html([record])


CALLS = [Edge("gateway", "cart", 50), Edge("gateway", "checkout", 10), Edge("checkout", "gateway", 30)]


def test_depth_counts_from_who_is_called_by_nobody_or_from_the_busiest_of_a_circle():
    assert depths([Edge("a", "b", 1), Edge("b", "c", 1), Edge("a", "c", 1)]) == {"a": 0, "b": 1, "c": 1}
    assert depths(CALLS) == {"gateway": 0, "cart": 1, "checkout": 1}


@pytest.mark.parametrize(
    ("service", "health"),
    [
        (Service("a"), "soft"),
        (Service("a", rate=1.0, errors=0.0, p99_s=0.1, ready=1, desired=1), "good"),
        (Service("a", rate=1.0, errors=0.02), "warn"),
        (Service("a", rate=1.0, ready=1, desired=2), "warn"),
        (Service("a", rate=1.0, errors=0.2), "bad"),
        (Service("a", rate=1.0, alerts=("HighRequestLatency",), critical=True), "bad"),
    ],
)
def test_health_of_a_service_is_the_worst_of_what_is_known(service, health):
    assert service.health == health


@pytest.mark.parametrize("tall", [True, False])
def test_map_shows_every_service_and_every_call(tall):
    services = {name: Service(name, rate=1.0, ready=1, desired=1) for name in ("gateway", "cart", "checkout", "alone&")}
    svg = drawn(services, CALLS, 10, tall=tall)
    assert svg.count('<g class="card-of good">') == 4
    assert svg.count("<title>gateway calls cart: 50 calls, 5 req/s</title>") == 1
    assert "alone&amp;" in svg


def test_services_are_made_of_their_calls_alone():
    assert {name: one.rate for name, one in of_calls(CALLS, 10).items()} == {"gateway": 3, "cart": 5, "checkout": 1}


@pytest.mark.parametrize("tall", [True, False])
def test_health_is_told_by_a_shape_too_and_an_alert_stays_within_its_card(tall):
    long = "AnAlertWithANameThatIsMuchLongerThanAnyCardIsWide"
    services = {
        "a": Service("a", rate=1.0, p99_s=0.7),
        "b": Service("b", rate=1.0, errors=0.5, alerts=(long, "Other")),
        "c": Service("c", rate=1.0),
    }
    cards = drawn(services, [Edge("a", "b", 1)], 10, tall=tall).split('<g class="card-of ')[1:]
    looks = {card.partition('"')[0]: re.findall(r'translate\([^)]+\)" d="([^"]+)"', card) for card in cards}
    marks = [looks["warn"], looks["bad"]]
    assert looks["good"] == []
    assert len(marks[0]) == len(marks[1]) == 1
    assert marks[0] != marks[1]
    assert all(f'd="{mark[0]}"' in key() for mark in marks)
    told = re.search(r'<tspan class="bad">([^<]+)</tspan>', cards[1])[1]
    assert told.startswith("⚠ AnAlert")
    assert told.endswith("… +1")
    assert len(told) <= (20 if tall else 27)
