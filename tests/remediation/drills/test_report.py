"""The report's file: whole or not there, and found again."""

from __future__ import annotations

import json

import pytest

from remediation.drills import report as reports
from remediation.drills.errors import UnknownReportError
from remediation.drills.report import report_of


@pytest.fixture
def failed(course):
    course.inject()
    course.run(40)
    return report_of(course.engine, 1_772_366_400_123, 1000.0, course.now)


def test_a_report_reads_back_as_it_was_written(failed, tmp_path):
    path = reports.path_of(failed, tmp_path / "drills")
    reports.write(failed, path)
    assert path.name == "surge-20260301T120000.123Z.json"
    assert reports.read(path) == failed
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_file_holds_what_the_schema_says(failed, tmp_path):
    reports.write(failed, tmp_path / "r.json")
    document = json.loads((tmp_path / "r.json").read_text())
    assert set(document) == {
        "schema_version", "run", "drill", "title", "service", "description", "verdict", "reasons", "started_at_unix_ms",
        "injected_at_unix_ms", "injection_ended_at_unix_ms", "duration_s", "grades", "expectations", "timeline",
        "charts",
    }  # fmt: skip
    assert document["verdict"] == "FAIL"
    assert document["injected_at_unix_ms"] == 1_772_366_401_123
    assert document["grades"][0] == {
        "grade": "detect", "expectation": "alert", "after": ["injection"], "took_s": None, "aim_s": 10.0,
        "deadline_s": 20.0, "weight": None, "status": "skipped",
    }  # fmt: skip
    assert document["expectations"][0]["got"] == "0.4"


def test_the_timeline_is_in_order_of_time(failed):
    times = [each.at_s for each in failed.timeline]
    assert times == sorted(times)


def test_the_newest_run_is_found_whatever_its_drill(failed, tmp_path):
    for run in ("zebra-20260301T120000.000Z", "alpha-20260302T120000.000Z"):
        reports.write(failed.model_copy(update={"run": run}), tmp_path / f"{run}.json")
    assert reports.find(None, tmp_path).run == "alpha-20260302T120000.000Z"
    assert reports.find("alpha", tmp_path).run == "alpha-20260302T120000.000Z"
    assert reports.find("zebra-20260301T120000.000Z", tmp_path).run == "zebra-20260301T120000.000Z"
    assert reports.find(str(tmp_path / "zebra-20260301T120000.000Z.json"), tmp_path / "x").drill == "surge"


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(UnknownReportError, match="no drill was run yet"):
        reports.find(None, tmp_path)
    with pytest.raises(UnknownReportError, match="no report 'x'"):
        reports.find("x", tmp_path)
    with pytest.raises(UnknownReportError, match="No such file"):
        reports.find(str(tmp_path / "x.json"), tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"run": 5}'])
def test_what_is_no_report_is_said(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UnknownReportError, match="not a drill report"):
        reports.read(tmp_path / "x.json")
