"""
The result of one drill, and its file: DATA_DIR/drills/NAME-TIMESTAMP.json (such as latency-surge-20260301T120000.123Z).

    schema_version      1; a later version only adds keys
    run                 NAME-TIMESTAMP, which `steersman drill report` takes
    drill, title, service, description
    verdict             PASS or FAIL
    reasons             why it failed, first cause first; empty on PASS
    started_at_unix_ms  when the steady state began to be checked
    injected_at_unix_ms, injection_ended_at_unix_ms    null if it did not come to that
    duration_s          all of it, rollback included
    grades              [{grade, expectation, after, took_s, aim_s, deadline_s, status}] in the definition's order;
                        took_s is null if it was not met; aim_s may be null; status is met, failed or skipped
    expectations        [{name, section, status, wanted, got, after, began_s, took_s}]; began_s is since the injection
    charts              [{title, unit, series: [{name, points: [[seconds since the injection, value or null]…]}]}]:
                        what Prometheus says of the time of the drill; empty if it did not answer
    timeline            [{at_s, kind, event, detail}] by time; at_s counts from the injection (from the start, if there
                        was none), so what came before is negative; measured by polling, four times a second
"""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from remediation.drills.engine import Engine
from remediation.drills.errors import UnknownReportError
from remediation.drills.tracker import Status, Tracker

SCHEMA_VERSION = 1
MAX_REPORT_BYTES = 16 * 1024 * 1024  # the timeline is bounded; a larger file is no report of ours


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a report of a later version has more keys


class Grade(_Model):
    grade: str
    expectation: str
    after: list[str]
    took_s: float | None
    aim_s: float | None
    deadline_s: float
    weight: float | None = None  # in the score; by the grade's name if not given
    status: Status


class Outcome(_Model):
    name: str
    section: str
    status: Status
    wanted: str
    got: str
    after: list[str]
    began_s: float | None
    took_s: float | None


class Happening(_Model):
    at_s: float
    kind: str
    event: str
    detail: str


class Line(_Model):
    name: str
    points: list[tuple[float, float | None]]  # seconds since the injection, value


class Drawn(_Model):
    title: str
    unit: str = ""
    series: list[Line]


class Report(_Model):
    schema_version: int = SCHEMA_VERSION
    run: str
    drill: str
    title: str
    service: str
    description: str
    verdict: str
    reasons: list[str]
    started_at_unix_ms: int
    injected_at_unix_ms: int | None
    injection_ended_at_unix_ms: int | None
    duration_s: float
    grades: list[Grade]
    expectations: list[Outcome]
    timeline: list[Happening]
    charts: list[Drawn] = []

    @property
    def passed(self) -> bool:
        return self.verdict == "PASS"


def report_of(engine: Engine, started_at_unix_ms: int, started: float, now: float) -> Report:
    """`started` and `now` are on the engine's clock; `started_at_unix_ms` is the same moment as `started`."""
    definition = engine.definition
    zero = engine.timeline.zero if engine.timeline.zero is not None else started

    def unix_ms(at: float | None) -> int | None:
        return None if at is None else started_at_unix_ms + round((at - started) * 1000)

    stamp = datetime.fromtimestamp(started_at_unix_ms / 1000, UTC)
    return Report(
        run=f"{definition.name}-{stamp:%Y%m%dT%H%M%S}.{stamp.microsecond // 1000:03d}Z",
        drill=definition.name,
        title=definition.title,
        service=definition.service,
        description=definition.description.strip(),
        verdict="PASS" if engine.passed else "FAIL",
        reasons=list(engine.reasons),
        started_at_unix_ms=started_at_unix_ms,
        injected_at_unix_ms=unix_ms(engine.injected_at),
        injection_ended_at_unix_ms=unix_ms(engine.ended_at),
        duration_s=round(now - started, 3),
        grades=[_grade(tracker) for tracker in engine.trackers if tracker.expectation.grade],
        expectations=[_outcome(tracker, zero) for tracker in engine.trackers],
        timeline=[
            Happening(at_s=round(entry.at - zero, 3), kind=entry.kind, event=entry.event, detail=entry.detail)
            for entry in sorted(engine.timeline.entries, key=lambda entry: entry.at)
        ],
    )


def _took(tracker: Tracker) -> float | None:
    if tracker.met_at is None or tracker.started is None:
        return None
    return round(tracker.met_at - tracker.started, 3)


def _grade(tracker: Tracker) -> Grade:
    return Grade(
        grade=tracker.expectation.grade or "",
        expectation=tracker.name,
        after=list(tracker.after),
        took_s=_took(tracker),
        aim_s=tracker.expectation.aim,
        deadline_s=tracker.expectation.within or 0.0,
        weight=tracker.expectation.weight,
        status=tracker.status,
    )


def _outcome(tracker: Tracker, zero: float) -> Outcome:
    return Outcome(
        name=tracker.name,
        section=tracker.section,
        status=tracker.status,
        wanted=tracker.wanted,
        got=tracker.last.got,
        after=list(tracker.after),
        began_s=None if tracker.started is None else round(tracker.started - zero, 3),
        took_s=_took(tracker),
    )


def write(report: Report, path: Path) -> None:
    write_text(json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """All of it or nothing: a reader never sees half a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def path_of(report: Report, folder: Path) -> Path:
    return folder / f"{report.run}.json"


def recorded(folder: Path) -> list[Path]:
    """The reports in `folder`, oldest first. Empty if there is none."""
    return sorted(folder.glob("*.json"), key=lambda path: path.stem.rpartition("-")[2])


def find(run: str | None, folder: Path) -> Report:
    """
    The report of `run` (its name, a drill's name for its last run, or a file's path); without one, the newest.

    Raises:
        UnknownReportError: there is none, or the file is not a report.
    """
    paths = recorded(folder)
    if run is None:
        if not paths:
            raise UnknownReportError(f"no drill was run yet: {folder} holds no report")
        return read(paths[-1])
    named = {path.stem: path for path in paths}
    if run in named:
        return read(named[run])
    if run.endswith(".json"):
        return read(Path(run))
    if of_drill := [path for path in paths if path.stem.rpartition("-")[0] == run]:
        return read(of_drill[-1])
    last = ", ".join(path.stem for path in paths[-5:])
    raise UnknownReportError(f"no report {run!r} in {folder}; the last are: {last or 'none'}")


def read(path: Path) -> Report:
    """
    Raises:
        UnknownReportError: not readable, or not a report.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_REPORT_BYTES + 1)
        if len(raw) > MAX_REPORT_BYTES:
            raise UnknownReportError(f"{path}: larger than the limit of {MAX_REPORT_BYTES} bytes")
        return Report.model_validate_json(raw)
    except OSError as error:
        raise UnknownReportError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnknownReportError(f"{path}: not a drill report: {where}: {first['msg']}") from error
