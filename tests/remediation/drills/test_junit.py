"""JUnit XML, as CI reads it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from remediation.drills import junit
from remediation.drills.report import report_of


def suite_of(course):
    report = report_of(course.engine, 1_772_366_400_123, 1000.0, course.now)
    return report, ElementTree.fromstring(junit.xml(report)).find("testsuite")  # noqa: S314  (our own)


def test_each_expectation_is_a_case_and_what_failed_says_why(course):
    course.inject()
    course.run(40)
    report, suite = suite_of(course)
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert list(cases) == ["the drill's course", *(each.name for each in report.expectations)]
    counts = {key: int(suite.get(key)) for key in ("tests", "failures", "skipped", "errors")}
    assert counts == {"tests": 6, "failures": 1, "skipped": 4, "errors": 0}
    failure = cases["landed"].find("failure")
    assert failure.get("message") == "wanted arrivals / $capacity at least 2 within 10s of the injection, got 0.4"
    assert failure.text in report.reasons
    assert cases["alert"].find("skipped") is not None
    assert suite.get("timestamp") == "2026-03-01T12:00:00"
    assert "surge begins" in suite.findtext("system-out")


def test_a_stop_condition_is_a_failure_of_the_course(course):
    course.inject()
    course.look(samples={"errors": (0.9,)})
    course.run(5)
    _, suite = suite_of(course)
    failure = suite.find("testcase").find("failure")
    assert failure.get("message").startswith('stop condition "shop is down"')
    assert suite.get("failures") == "1"


def test_an_unsteady_state_is_one_failure_of_one(course):
    course.look(samples={"p99": (0.9,)})
    course.run(60)
    _, suite = suite_of(course)
    assert suite.get("failures") == "1"
    assert suite.get("skipped") == "5"


def test_what_xml_cannot_hold_is_replaced(course):
    course.inject()
    course.engine.abort("a \x00 and \x1b[31m <red> & \ud800", course.now)
    _, suite = suite_of(course)
    assert suite.find("testcase/failure").get("message") == "a \ufffd and \ufffd[31m <red> & \ufffd"
