"""Injections: what the YAML allows, when each is carried out, and what it is."""

from __future__ import annotations

import pytest
import yaml

from remediation.drills.command import Inject
from remediation.drills.definition import parse
from remediation.drills.disturbances import Freeze, Kill, Send, SetLoad
from remediation.drills.engine import TTL_MARGIN_S
from remediation.drills.errors import DefinitionError

BROWSE = {"load": {"journey": "browse", "rate": 60}}


@pytest.mark.parametrize(
    ("injection", "problem"),
    [
        ({}, "give exactly one of load, fault, kill, freeze, block, exhaust, deploy, flag, message, alerts; got none"),
        ({"exhaust": {}}, "give either cpu or memory"),
        ({"exhaust": {"memory": True}}, "give either service (one of its replicas) or process"),
        ({"exhaust": {"cpu": 1, "service": "catalog"}}, "cpu is the machine's"),
        ({"flag": {"flag": "no name", "value": True}}, "flag"),
        ({"kill": {"service": "catalog"}, "freeze": {"service": "catalog"}}, "got kill, freeze"),
        ({"kill": {}}, "give either service (one of its replicas) or process"),
        ({"kill": {"process": "supervisor"}}, "nobody would bring it back"),
        ({"kill": {"process": "worker"}, "ttl": "5s"}, "ttl does not go with kill"),
        ({"message": {"subject": "order placed", "body": ""}}, "subject"),
        ({"message": {"subject": "a.b", "body": "", "count": 100_000}}, "less than or equal to 1000, got 100000"),
        ({**BROWSE, "after": "nothing of the kind"}, "no earlier event"),
        ({**BROWSE, "after": "returned"}, "no earlier event"),
        ({"load": {"journey": "browse", "rate": 60, "alternate": {"every": "0s", "rate": 8}}}, "every"),
    ],
)
def test_what_cannot_be_injected_is_refused_by_name(surge_document, injection, problem):
    with pytest.raises(DefinitionError) as error:
        parse(yaml.safe_dump({**surge_document, "inject": [BROWSE, injection]}), "surge.yaml")
    assert problem in str(error.value)
    assert "inject" in str(error.value)


def test_an_injection_comes_without_after(surge_document):
    surge_document["inject"] = [{"kill": {"service": "catalog"}, "after": "alert"}]
    with pytest.raises(DefinitionError, match="one injection at least comes without `after`"):
        parse(yaml.safe_dump(surge_document), "surge.yaml")


def test_a_deadline_that_ends_before_its_event_is_met_is_refused(surge_document):
    late = {"name": "late", "promql": "p99", "after": "recovered", "within": "3s"}
    surge_document["expect"].append(late)
    with pytest.raises(DefinitionError, match="'late': within 3s is over before 'recovered' is met"):
        parse(yaml.safe_dump(surge_document), "surge.yaml")


def test_a_kill_a_freeze_and_a_message_become_steps(make_course):
    inject = [
        {"kill": {"process": "worker"}},
        {"freeze": {"service": "catalog"}},
        {"message": {"subject": "order.placed", "body": "no order", "count": 3}},
    ]
    course = make_course(inject=inject)
    course.inject()
    kill, freeze, message = course.commands[0].disturbances
    assert isinstance(kill, Kill)
    assert isinstance(freeze, Freeze)
    assert freeze.ttl_s == 100 + TTL_MARGIN_S
    assert isinstance(message, Send)
    assert message.words == "message: 8 characters to order.placed, 3 times"


def test_what_is_exhausted_deployed_and_flagged_becomes_steps_with_a_time_to_live(make_course):
    inject = [
        {"exhaust": {"cpu": 2}},
        {"exhaust": {"memory": True, "service": "catalog"}, "ttl": "5s"},
        {"block": {"process": "nats"}},
        {"deploy": {"service": "cart", "version": "1.1.0"}},
        {"flag": {"flag": "cart.new", "value": True}},
    ]
    course = make_course(inject=inject)
    course.inject()
    assert [disturbance.words for disturbance in course.commands[0].disturbances] == [
        "exhaust: 2 processors of this machine are kept busy, for 115s at most",
        "exhaust: no more memory for a replica of catalog, for 5s at most",
        "exhaust: no new connections to nats, for 115s at most",
        "deploy: 1.1.0 of cart, for 115s at most",
        "flag: cart.new is set to True, for 115s at most",
    ]


def test_an_injection_with_after_waits_for_its_event(make_course, firing):
    course = make_course(inject=[BROWSE, {"kill": {"process": "worker"}, "after": "alert"}])
    course.inject()
    course.look(samples={"arrivals / 20.0": (3.0,)})
    course.run(5)
    assert [len(each.disturbances) for each in course.commands] == [1]
    injected_at = course.engine.injected_at
    course.look(alerts=(firing,))
    course.run(5)
    assert [type(each.disturbances[0]) for each in course.commands] == [SetLoad, Kill]
    assert course.engine.injected_at == injected_at


def test_an_injection_whose_event_never_comes_is_never_carried_out(make_course):
    course = make_course(inject=[BROWSE, {"kill": {"process": "worker"}, "after": "alert"}])
    course.inject()
    course.look(samples={"arrivals / 20.0": (3.0,)})
    course.run(200)
    kinds = [
        type(disturbance) for each in course.commands if isinstance(each, Inject) for disturbance in each.disturbances
    ]
    assert kinds == [SetLoad]
    assert not course.engine.passed


def test_a_load_that_alternates_changes_at_each_turn(make_course):
    load = {"journey": "browse", "service": "catalog", "times_capacity": 3, "alternate": {"every": "4s", "rate": 8}}
    course = make_course(inject=[{"load": load}])
    course.inject()
    course.look(samples={"arrivals / 20.0": (3.0,)})
    course.run(13)
    disturbances = [
        disturbance for each in course.commands if isinstance(each, Inject) for disturbance in each.disturbances
    ]
    assert [disturbance.rate for disturbance in disturbances] == [60.0, 8.0, 60.0, 8.0]


@pytest.mark.parametrize(("value", "status"), [(5.0, "waiting"), (7.0, "waiting"), (8.0, "met")])
def test_a_change_counts_from_just_before_the_injection(make_course, value, status):
    change = {"promql": "dead", "at_least": 3}
    course = make_course(confirm=[{"name": "counted", "change_of": change, "within": "10s"}])
    course.look(samples={"dead": (5.0,)})
    course.inject()
    course.look(samples={"dead": (value,)})
    course.run(3)
    assert course.status("counted") == {"waiting": "active"}.get(status, status)


def test_what_there_was_not_before_the_injection_has_counted_nothing(make_course):
    course = make_course(confirm=[{"name": "c", "change_of": {"promql": "dead", "equals": 2}, "within": "10s"}])
    course.look(samples={"dead": ()})
    course.inject()
    course.look(samples={"dead": (2.0,)})
    course.run(2)
    assert course.status("c") == "met"


def test_a_process_was_started_again_if_its_id_is_another(make_course):
    course = make_course(confirm=[{"name": "again", "restarted": {"process": "worker"}, "within": "10s"}])
    course.look(pids={"worker": 7})
    course.inject()
    assert course.engine.needs_pids
    course.run(2)
    assert course.status("again") == "active"
    course.look(pids={})
    course.run(2)
    assert course.status("again") == "active"
    course.look(pids={"worker": 8})
    course.run(1)
    assert course.status("again") == "met"
    assert not course.engine.needs_pids


def test_actions_are_counted_over_all_remediations_of_the_service(make_course, remediation):
    check = [{"name": "few", "actions": {"service": "catalog", "at_most": 2}, "stays": "20s"}]
    course = make_course(expect=check, confirm=[{"name": "landed", "promql": "p99", "within": "5s"}], then=[])
    course.inject()
    course.look(remediations=(remediation(number=2, actions=1), remediation(number=1, actions=1)))
    course.run(3)
    assert course.status("few") == "active"
    course.look(remediations=(remediation(number=2, actions=2), remediation(number=1, actions=1)))
    course.run(1)
    assert course.status("few") == "failed"


def test_what_earlier_drills_left_in_the_records_stops_no_drill(make_course, remediation):
    stop = [{"name": "gave up", "remediation": {"service": "catalog", "state": "escalated"}}]
    course = make_course(stop_conditions=stop)
    course.look(remediations=(remediation("escalated"),))
    course.inject()
    course.run(1)
    assert not course.engine.done
    course.look(remediations=(remediation("escalated", 2), remediation("escalated")))
    course.run(1)
    assert course.engine.reasons[0].startswith('stop condition "gave up"')


def test_a_change_is_not_counted_from_what_could_not_be_read(make_course):
    course = make_course(confirm=[{"name": "c", "change_of": {"promql": "dead", "equals": 2}, "within": "10s"}])
    course.run(5)
    assert course.commands == []
    course.look(samples={"dead": (5.0,)})
    course.inject()
    course.look(samples={"dead": (7.0,)})
    course.run(2)
    assert course.status("c") == "met"


def test_a_later_load_beyond_the_limit_is_refused_before_anything_is_injected(make_course, catalog):
    later = {"load": {"journey": "browse", "service": "catalog", "times_capacity": 3}, "after": "alert"}
    course = make_course(inject=[BROWSE, later])
    course.look(services=catalog(9))
    course.run(5)
    assert course.commands == []
    assert course.engine.reasons == ["a load of 540/s is above the limit of 500/s"]
