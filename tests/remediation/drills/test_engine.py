"""The course of a drill, on made-up observations and a fake clock."""

from __future__ import annotations

from remediation.drills.command import EndTheInjection, Inject
from remediation.drills.disturbances import SetFault, SetLoad
from remediation.drills.engine import PATIENCE_S, TTL_MARGIN_S, Phase
from remediation.drills.report import report_of


def surge_lands(course) -> None:
    course.inject()
    course.look(samples={"arrivals / 20.0": (3.0,), "p99": (1.8,)})


def pass_up_to_the_end(course, firing, catalog) -> None:
    surge_lands(course)
    course.run(4)
    course.look(alerts=(firing,))
    course.run(1)
    course.look(services=catalog(4))
    course.run(6)
    course.look(samples={"p99": (0.2,)})
    course.run(3)
    course.look(alerts=())
    course.run(4)


def test_a_drill_whose_expectations_are_met_in_time_passes(course, firing, catalog):
    pass_up_to_the_end(course, firing, catalog)
    assert course.engine.phase is Phase.RETURNING
    course.look(services=catalog(1))
    course.run(2)
    assert course.engine.passed
    assert [type(each) for each in course.commands] == [Inject, EndTheInjection]


def test_grades_are_measured_from_the_events_they_follow(course, firing, catalog):
    pass_up_to_the_end(course, firing, catalog)
    course.look(services=catalog(1))
    course.run(2)
    report = report_of(course.engine, 1_700_000_000_000, 1000.0, course.now)
    took = {each.grade: each.took_s for each in report.grades}
    assert took == {"detect": 4.5, "act": 1.0, "recover": 7.0, "return": 4.0}
    assert report.verdict == "PASS"


def test_load_is_sized_by_the_live_capacity_and_outlives_the_drill_by_a_margin_only(course, catalog):
    course.look(services=catalog(2))
    course.inject()
    (disturbance,) = course.commands[0].disturbances
    assert disturbance == SetLoad("browse", 3 * 20.0 * 2, 100 + TTL_MARGIN_S)


def test_a_load_beyond_the_limit_is_refused_before_anything_is_injected(course, catalog):
    course.look(services=catalog(9))
    course.run(5)
    assert course.commands == []
    assert course.engine.reasons == ["a load of 540/s is above the limit of 500/s"]


def test_a_fault_is_injected_with_its_fields(make_course):
    fault = {"service": "checkout", "kind": "slow_dependency", "dependency": "payment", "latency_ms": 1500}
    course = make_course(inject=[{"fault": fault, "ttl": "30s"}])
    course.inject()
    (disturbance,) = course.commands[0].disturbances
    assert isinstance(disturbance, SetFault)
    assert disturbance.fault.latency_ms == 1500
    assert disturbance.ttl_s == 30


def test_an_unsteady_stack_is_not_touched(course):
    course.look(samples={"p99": (0.9,)})
    course.run(60)
    assert course.commands == []
    assert course.engine.reasons[0].startswith(
        'the steady state does not hold: "fast": wanted p99 below 0.5, got 0.9 after 11.'
    )


def test_an_unknown_capacity_is_an_unsteady_state(course, calm):
    course.seen = calm.__class__(alerts=(), remediations=(), services=calm.services, samples={"p99": (0.1,)})
    course.run(60)
    assert course.engine.reasons == ["the steady state does not hold: the capacity of catalog is not in telemetry"]


def test_the_steady_state_must_hold_without_a_break(course):
    course.poll()
    course.now += 0.9
    course.look(samples={"p99": (0.7,)})
    course.poll()
    course.now += 0.5
    course.look(samples={"p99": (0.1,)})
    course.poll()
    assert course.commands == []


def test_an_alert_that_never_fires_fails_the_drill_with_wanted_and_got(course):
    surge_lands(course)
    course.run(60)
    assert course.engine.done
    (reason,) = course.engine.reasons
    assert reason.startswith(
        'expectation "alert" failed: wanted Slow{service="catalog"} firing within 20s of the injection'
    )
    assert ", got inactive after 20." in reason


def test_an_alert_that_fires_too_late_fails_the_drill(course, firing):
    surge_lands(course)
    course.run(20.5)
    course.look(alerts=(firing,))
    course.run(10)
    assert course.status("alert") == "failed"
    assert not course.engine.passed


def test_what_comes_after_a_failure_is_skipped(course):
    surge_lands(course)
    course.run(60)
    assert course.status("scaled") == "skipped"
    assert course.status("returned") == "skipped"


def test_keep_going_ends_the_injection_and_checks_the_rest(make_course):
    course = make_course(keep_going=True)
    surge_lands(course)
    course.run(60)
    assert course.engine.done
    assert [type(each) for each in course.commands] == [Inject, EndTheInjection]
    assert course.status("returned") == "met"
    assert course.status("recovered") == "skipped"
    assert not course.engine.passed


def test_an_injection_that_did_not_land_fails_the_drill(course):
    course.inject()
    course.run(30)
    assert course.engine.reasons[0].startswith('expectation "landed" failed: wanted arrivals / $capacity at least 2')


def test_a_stop_condition_ends_the_drill_once_it_has_held(course):
    surge_lands(course)
    course.look(samples={"errors": (0.9,)})
    course.run(1.5)
    assert not course.engine.done
    course.run(5)
    assert course.engine.reasons == ['stop condition "shop is down": errors above 0.5; got 0.9']


def test_a_stop_condition_that_passes_by_does_not_end_the_drill(course):
    surge_lands(course)
    course.look(samples={"errors": (0.9,)})
    course.run(1)
    course.look(samples={"errors": (0.0,)})
    course.run(5)
    assert not course.engine.done


def test_the_injection_ends_at_the_named_event(make_course, firing):
    course = make_course(end_injection={"after": "alert"})
    surge_lands(course)
    course.look(alerts=(firing,))
    course.run(1)
    assert isinstance(course.commands[-1], EndTheInjection)
    assert course.status("recovered") == "active"


def test_the_timeout_names_what_is_open(make_course, firing, catalog):
    course = make_course(timeout="12s")
    pass_up_to_the_end(course, firing, catalog)
    assert course.engine.reasons[0].startswith("the drill's timeout of 12s has passed; still open: ")
    assert '"recovered"' in course.engine.reasons[0]


def test_a_short_outage_of_the_stack_is_borne(course, firing, catalog):
    surge_lands(course)
    course.look(troubles=("Prometheus API does not answer",), alerts=None)
    course.run(5)
    course.look(troubles=(), alerts=(firing,))
    course.run(1)
    assert course.status("alert") == "met"
    assert [entry.event for entry in course.engine.timeline.entries].count("could not read") == 1


def test_an_outage_longer_than_our_patience_fails_the_drill(make_course):
    course = make_course(confirm=[{"name": "landed", "promql": "arrivals", "within": "90s"}], expect=[
        {"name": "alert", "alert_firing": {"alertname": "Slow"}, "within": "90s"}
    ])  # fmt: skip
    course.inject()
    course.look(troubles=("Prometheus API does not answer",), alerts=None)
    course.run(PATIENCE_S + 2)
    assert course.engine.reasons == ["unreadable for 30s: Prometheus API does not answer"]


def test_a_refused_query_fails_the_drill_at_once(course):
    course.look(refused={"p99": "parse error"})
    course.poll()
    assert course.engine.reasons == ["the query 'p99' was refused: parse error"]


def test_an_interruption_fails_the_drill(course):
    surge_lands(course)
    course.engine.abort("interrupted by SIGINT", course.now)
    assert course.engine.done
    assert course.engine.reasons == ["interrupted by SIGINT"]
    assert course.engine.timeline.entries[-1].detail == "interrupted by SIGINT"


def test_only_needed_queries_are_asked(course, firing, catalog):
    assert "arrivals / 20.0" not in course.engine.queries()
    surge_lands(course)
    assert course.engine.queries() == ["errors", "arrivals / 20.0", "p99"]
    course.run(1)
    assert course.engine.queries() == ["errors", "p99"]


def test_the_timeline_counts_from_the_injection_and_tells_what_changed(course, firing, catalog, remediation):
    surge_lands(course)
    course.run(1)
    course.look(alerts=(firing,), remediations=(remediation("acting", actions=1),), services=catalog(2, 1))
    course.run(1)
    report = report_of(course.engine, 0, 1000.0, course.now)
    told = {(each.kind, each.event): each for each in report.timeline}
    assert told["drill", "surge begins"].at_s == -1.0
    assert told["inject", "injection"].at_s == 0
    assert told["alert", "Slow firing"].detail == "catalog, value 1.8"
    assert told["action", "scale catalog"].detail == "1 → 2: p99 1.8"
    assert told["replicas", "catalog desired"].detail == "1 → 2"
    assert told["remediation", "catalog acting"].at_s == 1.5


NO_RETRY = {
    "name": "no retry",
    "no_new_action": {"service": "catalog"},
    "after": "escalated",
    "stays": "5s",
}
ESCALATED = {
    "name": "escalated",
    "remediation": {"service": "catalog", "state": "escalated", "evidence": True},
    "within": "20s",
}


def test_an_action_after_the_escalation_fails_what_must_stay_quiet(make_course, catalog, remediation):
    course = make_course(expect=[ESCALATED, NO_RETRY])
    surge_lands(course)
    course.run(1)
    course.look(remediations=(remediation("escalated", actions=2, evidence=True),))
    course.run(2)
    course.look(services=catalog(2))
    course.run(2)
    (reason,) = course.engine.reasons
    assert reason.startswith('expectation "no retry" failed: wanted no further action on catalog for 5s')
    assert "got 0 more; desired 1 → 2" in reason


def test_quiet_after_the_escalation_is_met_when_its_time_is_over(make_course, remediation):
    course = make_course(expect=[ESCALATED, NO_RETRY])
    surge_lands(course)
    course.look(remediations=(remediation("escalated", actions=2, evidence=True),))
    course.run(4)
    assert course.status("no retry") == "active"
    course.run(4)
    assert course.status("no retry") == "met"


def test_an_escalation_without_evidence_is_not_enough(make_course, remediation):
    course = make_course(expect=[ESCALATED])
    surge_lands(course)
    course.look(remediations=(remediation("escalated"),))
    course.run(30)
    assert "got escalated without evidence after" in course.engine.reasons[0]


def test_scale_outs_are_counted_since_the_injection(make_course, catalog):
    once = {"name": "once", "scale_outs": {"service": "catalog", "at_most": 1}, "stays": "5s"}
    course = make_course(expect=[once])
    surge_lands(course)
    for desired in (2, 1, 2):
        course.look(services=catalog(desired))
        course.run(1)
    assert course.status("once") == "failed"
    assert "got 2 after" in course.engine.reasons[0]


def test_remediations_from_before_the_injection_do_not_count(make_course, remediation):
    count = {"name": "one", "remediations_count": {"service": "catalog", "at_most": 1}, "stays": "2s"}
    course = make_course(expect=[count])
    course.look(remediations=(remediation("escalated", 1, evidence=True),))
    surge_lands(course)
    course.look(remediations=(remediation("acting", 2), remediation("escalated", 1)))
    course.run(4)
    assert course.status("one") == "met"


def test_recovery_that_does_not_last_does_not_count(course, firing, catalog):
    surge_lands(course)
    course.look(alerts=(firing,), services=catalog(4))
    course.run(2)
    course.look(samples={"p99": (0.2,)})
    course.run(2)
    course.look(samples={"p99": (1.2,)})
    course.run(5)
    assert course.status("recovered") == "active"
    course.run(90)
    assert 'expectation "recovered" failed' in course.engine.reasons[0]
    assert "got 1.2 after" in course.engine.reasons[0]
