"""
A report as JUnit XML, for CI: a suite for the drill, a case for its steady state and for each expectation.

Without a schema of its own in the field, this is what Jenkins, GitLab and the GitHub actions for it read:
testsuites/testsuite/testcase with failure or skipped, times in seconds.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime

from remediation.drills.report import Outcome, Report
from remediation.drills.tracker import Status

# XML 1.0, 2.2 Char: what a document may not hold, even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml(report: Report) -> str:
    failures = [each for each in report.expectations if each.status is Status.FAILED]
    skipped = [each for each in report.expectations if each.status is Status.SKIPPED]
    # What failed and is no expectation: the steady state, a stop condition, an interruption.
    own = [reason for reason in report.reasons if not reason.startswith('expectation "')]
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=f"drill.{report.drill}",
        tests=str(len(report.expectations) + 1),
        failures=str(len(failures) + bool(own)),
        errors="0",
        skipped=str(len(skipped)),
        time=f"{report.duration_s:.3f}",
        timestamp=datetime.fromtimestamp(report.started_at_unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    )
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"run": report.run, "service": report.service, "verdict": report.verdict}
    facts |= {f"time to {grade.grade}": f"{grade.took_s}s" for grade in report.grades if grade.took_s is not None}
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", name=name, value=value)
    course = ElementTree.SubElement(suite, "testcase", classname=f"drill.{report.drill}", name="the drill's course")
    course.set("time", f"{max(0.0, ((report.injected_at_unix_ms or 0) - report.started_at_unix_ms) / 1000):.3f}")
    if own:
        ElementTree.SubElement(course, "failure", message=_clean(own[0]), type="drill").text = _clean("\n".join(own))
    for outcome in report.expectations:
        _case(suite, report, outcome)
    lines = [f"{each.at_s:+9.1f}s  {each.kind:<12} {each.event}  {each.detail}" for each in report.timeline]
    ElementTree.SubElement(suite, "system-out").text = _clean("\n".join(lines))
    ElementTree.indent(root)
    return "<?xml version='1.0' encoding='utf-8'?>\n" + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, report: Report, outcome: Outcome) -> None:
    name = f"drill.{report.drill}.{outcome.section}"
    case = ElementTree.SubElement(suite, "testcase", classname=name, name=_clean(outcome.name))
    case.set("time", f"{outcome.took_s or 0:.3f}")
    if outcome.status is Status.FAILED:
        why = next((r for r in report.reasons if r.startswith(f'expectation "{outcome.name}"')), "not met")
        message = f"wanted {outcome.wanted}, got {outcome.got}"
        ElementTree.SubElement(case, "failure", message=_clean(message), type="expectation").text = _clean(why)
    elif outcome.status is Status.SKIPPED:
        ElementTree.SubElement(case, "skipped", message="it did not come to that")


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
